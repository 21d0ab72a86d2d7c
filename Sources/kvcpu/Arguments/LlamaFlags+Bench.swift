/// Flags of `llama-bench` that are not those of `llama-cli`, or take other values there. They go before the common ones.
extension LlamaFlag {
    private static let packed = "weights are always packed for the kernels"
    private static let where_ = "each rank's cache and work are where the rank is"

    static let benchFlags: [LlamaFlag] = [
        LlamaFlag("-p --n-prompt", .one, .option("--n-prompt")),
        LlamaFlag("-n --n-gen", .one, .option("--n-gen")),
        LlamaFlag("-pg", .one, .option("-pg")),
        LlamaFlag("-d --n-depth", .one, .option("--n-depth")),
        LlamaFlag("-r --repetitions", .one, .option("--repetitions")),
        LlamaFlag("-t --threads", .one, .option("--threads-per-rank"), "threads of each rank"),
        LlamaFlag("--delay", .one, .option("--delay")),
        LlamaFlag("-o --output", .one, .option("--output"), "md, json, jsonl or csv"),
        LlamaFlag("-oe --output-err", .one, .only(["none"]), "results go to standard output: -o FORMAT >&2"),
        LlamaFlag("-v --verbose --progress", .none, .ignored, "a bar shows on a terminal what is done"),
        LlamaFlag("--no-warmup", .none, .arguments(["--no-warmup"])),
        LlamaFlag("-ctk --cache-type-k", .one, .option("--cache-type"), "f16 or f32, of keys and values alike"),
        LlamaFlag("-ctv --cache-type-v", .one, .option("--cache-type-v"), "must be as the keys'"),
        LlamaFlag("-nkvo --no-kv-offload -nopo --no-op-offload", .one, .ignored, where_),
        LlamaFlag("--no-host --repack", .one, .ignored, packed),
        LlamaFlag("-embd --embeddings", .one, .only(["0"]), "kvcpu computes no embeddings"),
        LlamaFlag("-mmp --mmap", .one, .ignored, packed),
    ]
}
