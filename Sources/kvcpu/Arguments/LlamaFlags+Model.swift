/// Flags on where a model comes from, how it is loaded, and which devices have it.
extension LlamaFlag {
    private static let download =
        "kvcpu downloads nothing: fetch the GGUF file or folder first (huggingface-cli download), then -m PATH"
    private static let offload = "devices compute whole ranks: --device cuda, or cpu,cuda:0"
    private static let rope = "RoPE is as the model's metadata says"
    private static let adapters = "kvcpu applies no adapters: merge them into the model"
    private static let draftless = "kvcpu does no speculative decoding; answers are the same"

    static let modelFlags: [LlamaFlag] = [
        LlamaFlag("-m --model", .one, .option("--model"), "a GGUF file or a folder of safetensors"),
        LlamaFlag("-mu --model-url -dr --docker-repo -hf -hfr --hf-repo -hff --hf-file -hft --hf-token", .one, .refused, download),
        LlamaFlag(
            "--gpt-oss-20b-default --gpt-oss-120b-default --vision-gemma-4b-default --vision-gemma-12b-default", .none, .refused,
            download),
        LlamaFlag("--offline", .none, .fulfilled, "kvcpu uses no network"),
        LlamaFlag(
            "--mlock", .none, .arguments(["--mlock"]),
            "all memory is locked once the model is loaded; where the system refuses, that is said"),
        LlamaFlag("--mmap", .none, .fulfilled),
        LlamaFlag("--no-mmap", .none, .ignored, "weights are packed into memory of their own while the file is read"),
        LlamaFlag("-dio --direct-io -ndio --no-direct-io", .none, .ignored, "files are mapped while they are loaded"),
        LlamaFlag(
            "-lm --load-mode", .one, .value { name, value throws(Failure) in try loading(name, value) },
            "`mlock`, `mmap+mlock`: `--mlock`; `auto`, `mmap`: in any case so; `none`, `dio`: no effect, which is said"),
        LlamaFlag("-lzm --lazy-mode", .one, .ignored, "weights are packed while they are loaded"),
        LlamaFlag(
            "-ctk --cache-type-k", .one, .option("--cache-type-k"),
            "f16 or f32; keys and values have the same type, so that one flag is enough"),
        LlamaFlag("-ctv --cache-type-v", .one, .option("--cache-type-v"), "f16 or f32, as the keys"),
        LlamaFlag("--rope-scaling", .one, .refused, rope),
        LlamaFlag("--rope-scale --rope-freq-scale", .one, .only(["1"]), rope),
        LlamaFlag("--rope-freq-base --yarn-orig-ctx", .one, .only(["0"]), rope),
        LlamaFlag("--yarn-ext-factor --yarn-attn-factor --yarn-beta-slow --yarn-beta-fast", .one, .only(["-1"]), rope),
        LlamaFlag("-dev --device", .one, .option("--device"), "`none`: `cpu`; `CUDA0,CUDA1`: `cuda:0,1`"),
        LlamaFlag(
            "-ngl --gpu-layers --n-gpu-layers", .one, .value { name, value throws(Failure) in try layers(name, value) },
            "0: in any case so, unless `--device` says otherwise; else no effect, which is said: \(offload)"),
        LlamaFlag("-sm --split-mode -ts --tensor-split -mg --main-gpu", .one, .ignored, offload),
        LlamaFlag(
            "-kvo --kv-offload -nkvo --no-kv-offload --op-offload --no-op-offload", .none, .ignored,
            "each rank's cache and work are where the rank is"),
        LlamaFlag("--repack -nr --no-repack", .none, .ignored, "weights are always packed for the kernels"),
        LlamaFlag("--no-host", .none, .ignored, "weights are always packed for the kernels"),
        LlamaFlag("-cmoe --cpu-moe", .none, .ignored, offload),
        LlamaFlag("-ncmoe --n-cpu-moe -ncffn --n-cpu-ffn", .one, .ignored, offload),
        LlamaFlag("-ot --override-tensor", .one, .refused, offload),
        LlamaFlag(
            "-fit --fit", .optional(["on", "off"]), .ignored, "a plan that does not fit the memory is refused with its numbers"),
        LlamaFlag(
            "-fitt --fit-target -fitc --fit-ctx", .one, .ignored, "a plan that does not fit the memory is refused with its numbers"),
        LlamaFlag("--check-tensors", .none, .ignored, "logits that are not finite are found while a model runs"),
        LlamaFlag("--override-kv", .one, .refused, "metadata is as the file has it: gguf-py's gguf-set-metadata changes it"),
        LlamaFlag("-dt --defrag-thold", .one, .ignored, "the KV-cache has no gaps"),
        LlamaFlag("-np --parallel", .one, .only(["1", "-1"]), "kvcpu answers one request at a time"),
        LlamaFlag("-cb --cont-batching -nocb --no-cont-batching", .none, .ignored, "kvcpu answers one request at a time"),
        LlamaFlag("-rpc --rpc", .one, .refused, "ranks are threads or processes of one machine: --ranks, --rank-mode process"),
        LlamaFlag("--lora --lora-scaled --control-vector --control-vector-scaled", .one, .refused, adapters),
        LlamaFlag("--control-vector-layer-range", .two, .refused, adapters),
        LlamaFlag("--server-base", .one, .refused, "kvcpu runs the model itself and connects to no server"),
    ]

    /// Speculative decoding, which would change nothing but speed.
    static let draftFlags: [LlamaFlag] = [
        LlamaFlag("--spec-draft-hf -hfd -hfrd --hf-repo-draft", .one, .refused, download),
        LlamaFlag(
            """
            --spec-draft-type-k -ctkd --cache-type-k-draft --spec-draft-type-v -ctvd --cache-type-v-draft --spec-draft-threads -td \
            --threads-draft --spec-draft-threads-batch -tbd --threads-batch-draft --spec-draft-cpu-mask -Cd --cpu-mask-draft \
            --spec-draft-cpu-range -Crd --cpu-range-draft --spec-draft-cpu-strict --cpu-strict-draft --spec-draft-prio --prio-draft \
            --spec-draft-poll --poll-draft --spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft --spec-draft-cpu-strict-batch \
            --cpu-strict-batch-draft --spec-draft-prio-batch --prio-batch-draft --spec-draft-poll-batch --poll-batch-draft \
            --spec-draft-override-tensor -otd --override-tensor-draft --spec-draft-n-cpu-moe --spec-draft-ncmoe -ncmoed \
            --n-cpu-moe-draft --spec-draft-n-max --spec-draft-n-min --spec-draft-p-split --draft-p-split --spec-draft-p-min \
            --draft-p-min --spec-draft-device -devd --device-draft --spec-draft-ngl -ngld --gpu-layers-draft --n-gpu-layers-draft
            """, .one, .ignored, draftless),
        LlamaFlag("--spec-synth-len --spec-synth-rates", .one, .refused, "kvcpu does no speculative decoding"),
        LlamaFlag(
            """
            --spec-draft-cpu-moe -cmoed --cpu-moe-draft --spec-draft-backend-sampling --no-spec-draft-backend-sampling --spec-default
            """, .none, .ignored, draftless),
        LlamaFlag("--spec-draft-model -md --model-draft", .one, .ignored, draftless),
        LlamaFlag("--spec-type", .one, .ignored, draftless),
        LlamaFlag(
            """
            --spec-ngram-mod-n-min --spec-ngram-mod-n-max --spec-ngram-mod-n-match --spec-ngram-simple-size-n \
            --spec-ngram-simple-size-m --spec-ngram-simple-min-hits --spec-ngram-map-k-size-n --spec-ngram-map-k-size-m \
            --spec-ngram-map-k-min-hits --spec-ngram-map-k4v-size-n --spec-ngram-map-k4v-size-m --spec-ngram-map-k4v-min-hits \
            --draft --draft-n --draft-max --draft-min --draft-n-min
            """, .one, .ignored, draftless),
    ]

    private static func loading(_ name: String, _ value: String) throws(Failure) -> [String] {
        switch value {
        case "auto", "mmap": return []
        case "mlock", "mmap+mlock": return ["--mlock"]
        case "none", "dio":
            Terminal.note("\(name) \(value) has no effect: weights are packed into memory of their own while the file is read")
            return []
        default: throw .usage("\(name) is \"\(value)\"; it must be auto, none, mmap, mlock, mmap+mlock or dio")
        }
    }

    private static func layers(_ name: String, _ value: String) throws(Failure) -> [String] {
        guard ["auto", "all"].contains(value) || Int(value) != nil else {
            throw .usage("\(name) is \"\(value)\"; it must be a number of layers, auto or all")
        }
        if !["0", "auto"].contains(value) { Terminal.note("\(name) \(value) has no effect: \(offload)") }
        return []
    }
}
