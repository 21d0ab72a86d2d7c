/// Flags on how tokens are chosen.
extension LlamaFlag {
    private static let missing = "kvcpu samples by penalties, top-k, top-p, min-p and temperature"
    private static let grammar = "kvcpu does not constrain answers to a grammar or schema"

    static let samplingFlags: [LlamaFlag] = [
        LlamaFlag("--samplers", .one, .option("--samplers"), "those that kvcpu has, in llama.cpp's order: \(missing)"),
        LlamaFlag(
            "--sampler-seq --sampling-seq", .one,
            .value { name, value throws(Failure) in ["--samplers", try samplers(name, value)] },
            "`--samplers` by their letters"),
        LlamaFlag("-s --seed", .one, .option("--seed")),
        LlamaFlag("--ignore-eos", .none, .arguments(["--ignore-eos"])),
        LlamaFlag("--temp --temperature", .one, .option("--temp")),
        LlamaFlag("--top-k", .one, .option("--top-k")),
        LlamaFlag("--top-p", .one, .option("--top-p")),
        LlamaFlag("--min-p", .one, .option("--min-p")),
        LlamaFlag("--repeat-last-n", .one, .option("--repeat-last-n")),
        LlamaFlag("--repeat-penalty", .one, .option("--repeat-penalty")),
        LlamaFlag("--presence-penalty", .one, .option("--presence-penalty")),
        LlamaFlag("--frequency-penalty", .one, .option("--frequency-penalty")),
        LlamaFlag("--top-nsigma --top-n-sigma", .one, .only(["-1"]), missing),
        LlamaFlag("--xtc-probability", .one, .only(["0"]), missing),
        LlamaFlag("--xtc-threshold", .one, .ignored, "there is no XTC sampling"),
        LlamaFlag("--typical --typical-p", .one, .only(["1"]), missing),
        LlamaFlag("--dry-multiplier", .one, .only(["0"]), missing),
        LlamaFlag(
            "--dry-base --dry-allowed-length --dry-penalty-last-n --dry-sequence-breaker", .one, .ignored,
            "there is no DRY sampling"),
        LlamaFlag("--adaptive-target", .one, .only(["-1"]), missing),
        LlamaFlag("--adaptive-decay", .one, .ignored, "there is no adaptive-p sampling"),
        LlamaFlag("--dynatemp-range", .one, .only(["0"]), missing),
        LlamaFlag("--dynatemp-exp", .one, .ignored, "there is no dynamic temperature"),
        LlamaFlag("--mirostat", .one, .only(["0"]), missing),
        LlamaFlag("--mirostat-lr --mirostat-ent", .one, .ignored, "there is no Mirostat sampling"),
        LlamaFlag("-l --logit-bias", .one, .refused, missing),
        LlamaFlag("--grammar --grammar-file -j --json-schema -jf --json-schema-file", .one, .refused, grammar),
        LlamaFlag("-bs --backend-sampling", .none, .ignored, "tokens are chosen on the CPU"),
    ]

    /// Names of llama.cpp's letters.
    private static func samplers(_ name: String, _ sequence: String) throws(Failure) -> String {
        let names: [Character: String] = [
            "e": "penalties", "d": "dry", "s": "top_n_sigma", "k": "top_k", "y": "typ_p", "p": "top_p", "m": "min_p", "x": "xtc",
            "t": "temperature", "a": "adaptive_p",
        ]
        var list: [String] = []
        for letter in sequence {
            guard let sampler = names[letter] else {
                throw .usage(
                    "\(name) is \"\(sequence)\": \"\(letter)\" is no sampler; they are \(names.keys.sorted().map(String.init).joined())"
                )
            }
            list.append(sampler)
        }
        return list.joined(separator: ";")
    }
}
