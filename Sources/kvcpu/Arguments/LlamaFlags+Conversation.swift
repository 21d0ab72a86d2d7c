/// Flags of `llama-cli` alone: conversations, what is shown, media.
extension LlamaFlag {
    private static let media = "kvcpu reads text alone"
    private static let template = "the chat template writes a message's beginning and end: --chat-template"
    private static let shown = "answers are the model's text alone"

    static let conversationFlags: [LlamaFlag] = [
        LlamaFlag("--verbose-prompt", .none, .ignored, "kvcpu tokenize and kvcpu template show what the model reads"),
        LlamaFlag("--display-prompt", .none, .ignored, "the prompt is not printed"),
        LlamaFlag("--no-display-prompt", .none, .fulfilled, "the prompt is not printed"),
        LlamaFlag("-co --color", .optional(["on", "off", "auto"]), .ignored, "there are no colours"),
        LlamaFlag("-ctxcp --ctx-checkpoints --swa-checkpoints", .one, .ignored, "the KV-cache keeps all positions"),
        LlamaFlag("-cram --cache-ram", .one, .option("--cache-ram"), "as in llama.cpp, by default 1024"),
        LlamaFlag("--prompt-cache", .one, .option("--prompt-cache")),
        LlamaFlag("--prompt-cache-ro", .none, .arguments(["--prompt-cache-ro"])),
        LlamaFlag(
            "--prompt-cache-all", .none, .ignored, "the file keeps the prompt and its answer's positions as the engine has them"),
        LlamaFlag("-sys --system-prompt", .one, .option("--system"), "with `--chat`, or in `kvcpu chat`"),
        LlamaFlag(
            "-sysf --system-prompt-file", .one,
            .value { _, value throws(Failure) in ["--system", try TextInput.text(ofFile: value)] },
            "`--system` with the file's text"),
        LlamaFlag("--show-timings", .none, .fulfilled, "`--stats` says how"),
        LlamaFlag("--no-show-timings", .none, .arguments(["--stats", "none"])),
        LlamaFlag(
            "-r --reverse-prompt", .one, .option("--reverse-prompt"),
            "ends the answer before this text, which is not printed; can be given several times"),
        LlamaFlag("-sp --special", .none, .refused, shown),
        LlamaFlag("-cnv --conversation", .none, .arguments(["--conversation"]), "`kvcpu chat`; with `-st` `--chat`"),
        LlamaFlag(
            "-no-cnv --no-conversation", .none, .arguments(["--no-conversation"]), "the prompt as it is, as without `--chat`"),
        LlamaFlag("-st --single-turn", .none, .arguments(["--single-turn"]), "`--chat`: one message, one answer"),
        LlamaFlag("-i --interactive -if --interactive-first", .none, .refused, "kvcpu chat talks with the model"),
        LlamaFlag("--in-prefix --in-suffix", .one, .refused, template),
        LlamaFlag("--in-prefix-bos", .none, .refused, template),
        LlamaFlag(
            "-mli --multiline-input", .none, .ignored,
            "in kvcpu chat a line that ends in \\ goes on, and \"\"\" begins and ends several"),
        LlamaFlag("--warmup", .none, .ignored, "only kvcpu bench warms up"),
        LlamaFlag("--no-warmup", .none, .fulfilled, "only `kvcpu bench` warms up"),
        LlamaFlag("-mm --mmproj -mmu --mmproj-url -mmdev --mmproj-device --image --audio --video", .one, .refused, media),
        LlamaFlag(
            "--image-min-tokens --image-max-tokens --video-fps --video-timestamp-interval --video-ffmpeg-dir", .one, .refused, media
        ),
        LlamaFlag("--mmproj-auto --no-mmproj --no-mmproj-auto --mmproj-offload --no-mmproj-offload", .none, .fulfilled, media),
        LlamaFlag("-o --output --output-file", .one, .refused, "the answer is what standard output has: > FILE"),
        LlamaFlag("-ptc --print-token-count", .one, .ignored, "--stats has the numbers of tokens"),
        LlamaFlag("-gan --grp-attn-n -gaw --grp-attn-w", .one, .refused, "kvcpu does no self-extend"),
        LlamaFlag("--chat-template", .one, .option("--chat-template")),
        LlamaFlag("--chat-template-file", .one, .option("--chat-template-file")),
        LlamaFlag("--chat-template-kwargs", .one, .option("--chat-template-kwargs")),
        LlamaFlag("--jinja", .none, .fulfilled, "templates are always run"),
        LlamaFlag("--no-jinja", .none, .refused, "templates are always run; --chat-template names a built-in one"),
        LlamaFlag("--reasoning-format", .one, .only(["auto", "none"]), "answers are shown as the model writes them, thoughts too"),
        LlamaFlag(
            "-rea --reasoning", .optional(["on", "off", "auto"]),
            .value { name, value throws(Failure) in try reasoning(name, value) },
            "`on`: `--enable-thinking`; `off`: `--no-enable-thinking`; `auto`: the template's own"),
        LlamaFlag(
            "--reasoning-effort", .one, .value { name, value throws(Failure) in try effort(name, value) },
            "`--chat-template-kwargs` with `reasoning_effort`; `default`: the template's own"),
        LlamaFlag(
            "--reasoning-budget", .one, .value { name, value throws(Failure) in try budget(name, value) },
            "-1: in any case so; 0: `--no-enable-thinking`; else refused"),
        LlamaFlag("--reasoning-budget-message", .one, .refused, "thoughts have no budget"),
        LlamaFlag(
            "--reasoning-preserve --no-reasoning-preserve", .none, .ignored,
            "the template decides what of earlier thoughts it keeps"),
        LlamaFlag("--skip-chat-parsing", .none, .fulfilled, shown),
        LlamaFlag("--no-skip-chat-parsing", .none, .refused, shown),
        LlamaFlag("--simple-io", .none, .ignored, "lines are edited at a terminal alone"),
    ]

    private static func reasoning(_ name: String, _ value: String) throws(Failure) -> [String] {
        switch value {
        case "on", "": ["--enable-thinking"]
        case "off": ["--no-enable-thinking"]
        case "auto": []
        default: throw .usage("\(name) is \"\(value)\"; it must be on, off or auto")
        }
    }

    private static func effort(_ name: String, _ value: String) throws(Failure) -> [String] {
        if value == "default" { return [] }
        guard !value.isEmpty, value.utf8.allSatisfy({ (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }) else {
            throw .usage("\(name) is \"\(value)\"; it must be default or a level as low, medium or high")
        }
        return ["--chat-template-kwargs", "{\"reasoning_effort\": \"\(value)\"}"]
    }

    private static func budget(_ name: String, _ value: String) throws(Failure) -> [String] {
        switch value {
        case "-1": []
        case "0": ["--no-enable-thinking"]
        default: throw .usage("\(name) is \"\(value)\"; it must be -1 (no limit) or 0 (no thinking): thoughts have no other budget")
        }
    }
}
