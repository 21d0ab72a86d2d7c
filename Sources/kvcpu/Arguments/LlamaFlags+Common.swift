/// Flags that llama.cpp's programs share: the machine, prompts, logs.
extension LlamaFlag {
    private static let onOffAuto = ["on", "off", "auto", "1", "0", "true", "false", "enabled", "disabled", "-1"]
    private static let placement = "threads are pinned and wait as --numa, --cpus and the engine have it"
    private static let noTimings = "--stats none"

    static let commonFlags: [LlamaFlag] = [
        LlamaFlag("-h --help", .none, .arguments(["--help"])),
        LlamaFlag("--usage", .none, .arguments(["--help"])),
        LlamaFlag("--version", .none, .arguments(["--version"])),
        LlamaFlag("-cl --cache-list", .none, .refused, "kvcpu keeps no store of downloaded models; -m names a file or folder"),
        LlamaFlag(
            "--completion-bash", .none, .refused, "kvcpu --generate-completion-script bash prints one"),
        LlamaFlag("-t --threads", .one, .option("--threads-per-rank"), "threads of each rank"),
        LlamaFlag("-tb --threads-batch", .one, .ignored, "prompts and answers are computed by the same threads, -t of each rank"),
        LlamaFlag(
            "-C --cpu-mask", .one, .value { name, value throws(Failure) in ["--cpus", try cpus(name, mask: value)] },
            "`--cpus` with the mask's CPUs"),
        LlamaFlag("-Cr --cpu-range", .one, .option("--cpus")),
        LlamaFlag("--cpu-strict --cpu-strict-batch", .one, .ignored, placement),
        LlamaFlag("--prio --prio-batch", .one, .ignored, "the priority is that of the process: nice, chrt"),
        LlamaFlag("--poll --poll-batch", .one, .ignored, placement),
        LlamaFlag(
            "-Cb --cpu-mask-batch -Crb --cpu-range-batch", .one, .ignored, "prompts and answers are computed by the same threads"),
        LlamaFlag("-c --ctx-size", .one, .option("--ctx-size")),
        LlamaFlag("-n --predict --n-predict", .one, .option("--n-predict")),
        LlamaFlag("-b --batch-size -ub --ubatch-size", .one, .ignored, "each rank computes its chunk of a prompt as one batch"),
        LlamaFlag("--keep", .one, .ignored, "a full context ends the answer, nothing is shifted out of it"),
        LlamaFlag("--context-shift", .none, .refused, "a full context ends the answer; -c sets its size"),
        LlamaFlag("--no-context-shift", .none, .fulfilled, "a full context ends the answer"),
        LlamaFlag("--swa-full", .none, .fulfilled, "the KV-cache keeps all positions"),
        LlamaFlag(
            "-fa --flash-attn", .optional(onOffAuto), .value { name, value throws(Failure) in try attention(name, value) },
            "`on`, `auto`: in any case so, attention keeps no matrix of scores; `off`: no effect, which is said"),
        LlamaFlag("-p --prompt", .one, .option("--prompt"), "escapes are read as by `-e`"),
        LlamaFlag("--perf", .none, .fulfilled, "`--stats` says how"),
        LlamaFlag("--no-perf", .none, .arguments(["--stats", "none"])),
        LlamaFlag("-f --file", .one, .option("--file"), "the prompt byte by byte: escapes are read with `-e` alone"),
        LlamaFlag("-bf --binary-file", .one, .option("--file"), "the file must be text"),
        LlamaFlag("-e --escape", .none, .arguments(["--escape"]), "by default for `-p` and `-r`; given, for files too"),
        LlamaFlag("--no-escape", .none, .arguments(["--no-escape"])),
        LlamaFlag("--numa", .one, .option("--numa"), "as in llama.cpp, by default `auto`"),
        LlamaFlag("--list-devices", .none, .refused, "kvcpu inspect lists the machine and its devices"),
        LlamaFlag("--log-disable", .none, .arguments(["--no-progress", "--stats", "none"])),
        LlamaFlag("--log-file", .one, .refused, "logs go to standard error: 2> FILE"),
        LlamaFlag("--log-jsonl", .none, .arguments(["--log-format", "json"])),
        LlamaFlag("--no-log-jsonl", .none, .arguments(["--log-format", "text"])),
        LlamaFlag("--log-colors", .optional(onOffAuto), .ignored, "logs have no colours"),
        LlamaFlag(
            "--log-prefix --no-log-prefix --log-timestamps --no-log-timestamps", .none, .ignored, "--log-format has text and json"),
        LlamaFlag("--log-prompts-dir", .one, .refused, "kvcpu writes no prompts down"),
        LlamaFlag("-v --verbose --log-verbose", .none, .arguments(["--verbose"])),
        LlamaFlag(
            "-lv --verbosity --log-verbosity", .one, .value { name, value throws(Failure) in try verbosity(name, value) },
            "`--log-level`: 0, 1 `error`, 2 `warning`, 3 `notice`, 4 `debug`, 5 `trace`"),
    ]

    /// The CPUs of a hexadecimal mask, as "0,2,3".
    private static func cpus(_ name: String, mask: String) throws(Failure) -> String {
        let digits = mask.hasPrefix("0x") || mask.hasPrefix("0X") ? mask.dropFirst(2) : Substring(mask)
        var cpus: [Int] = []
        for (place, digit) in digits.reversed().enumerated() {
            guard digit.isASCII, let value = digit.hexDigitValue, digits.count <= 256 else {
                throw .usage("\(name) is \"\(mask)\"; it must be a hexadecimal mask of CPUs, as 0xF0")
            }
            cpus += (0..<4).filter { value >> $0 & 1 == 1 }.map { place * 4 + $0 }
        }
        guard !cpus.isEmpty else { throw .usage("\(name) is \"\(mask)\": no CPU is in it") }
        return cpus.map(String.init).joined(separator: ",")
    }

    private static func attention(_ name: String, _ value: String) throws(Failure) -> [String] {
        switch value {
        case "", "on", "auto", "1", "true", "enabled", "-1": return []
        case "off", "0", "false", "disabled":
            Terminal.note("\(name) \(value) has no effect: attention keeps no matrix of scores, there is no other kind")
            return []
        default: throw .usage("\(name) is \"\(value)\"; it must be on, off or auto")
        }
    }

    private static func verbosity(_ name: String, _ value: String) throws(Failure) -> [String] {
        let levels = ["error", "error", "warning", "notice", "debug", "trace"]
        guard let number = Int(value), levels.indices.contains(number) else {
            throw .usage("\(name) is \"\(value)\"; it must be 0 to \(levels.count - 1)")
        }
        return ["--log-level", levels[number]]
    }
}
