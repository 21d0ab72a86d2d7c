import KVGGUF

extension Synthetic {
    /// A real model's geometry, with its files' names for keys and tensors.
    package struct Preset: Sendable, Equatable {
        package let name: String
        package let architecture: String
        /// Its size as in `general.size_label`.
        package let label: String
        package let sizes: Sizes
        let epsilon: Double
        let base: Double
        /// The embedding is the output matrix too.
        var tied = false
        /// Falcon 40B normalises for attention and feed-forward apart.
        var twoNorms = false
        /// Where it is not width / heads.
        var headDimension: Int?
        /// Experts of each layer (`sizes.feedForward` is one's), and those of a token.
        var experts: Experts?
        /// Norms that a layer has beside Llama's: of each head of queries and keys, and behind its blocks.
        var headNorms = false
        var postNorms = false
        var window: Int?

        struct Experts: Sendable, Equatable {
            let count, used: Int
        }

        package static let all: [Preset] = [
            llama("llama-7b", "7B", sizes(32, 4096, heads: 32, ffn: 11008, vocab: 32000, context: 2048)),
            llama("llama-13b", "13B", sizes(40, 5120, heads: 40, ffn: 13824, vocab: 32000, context: 2048)),
            llama("llama-30b", "30B", sizes(60, 6656, heads: 52, ffn: 17920, vocab: 32000, context: 2048)),
            llama(
                "llama3-8b", "8B", sizes(32, 4096, heads: 32, kv: 8, ffn: 14336, vocab: 128_256, context: 8192),
                epsilon: 1e-5, base: 500_000),
            llama(
                "smollm2-135m", "135M", sizes(30, 576, heads: 9, kv: 3, ffn: 1536, vocab: 49152, context: 8192),
                epsilon: 1e-5, base: 100_000, tied: true),
            // Falcon-RW-1B's geometry as the falcon architecture computes it: rotary where the real one has ALiBi, and no biases.
            falcon("falcon-1b", "1B", sizes(24, 2048, heads: 32, ffn: 8192, vocab: 50304, context: 2048), tied: true),
            falcon("falcon-7b", "7B", sizes(32, 4544, heads: 71, kv: 1, ffn: 18176, vocab: 65024, context: 2048)),
            variant(
                of: llama(
                    "mixtral-8x7b", "8x7B", sizes(32, 4096, heads: 32, kv: 8, ffn: 14336, vocab: 32000, context: 32768),
                    epsilon: 1e-5, base: 1_000_000), "llama", experts: Experts(count: 8, used: 2)),
            variant(
                of: llama(
                    "qwen3-8b", "8B", sizes(36, 4096, heads: 32, kv: 8, ffn: 12288, vocab: 151_936, context: 40960),
                    base: 1_000_000), "qwen3", head: 128, headNorms: true),
            variant(
                of: llama(
                    "qwen3-30b-a3b", "30B-A3B", sizes(48, 2048, heads: 32, kv: 4, ffn: 768, vocab: 151_936, context: 40960),
                    base: 1_000_000), "qwen3moe", head: 128, experts: Experts(count: 128, used: 8), headNorms: true),
            variant(
                of: llama(
                    "gemma2-2b", "2B", sizes(26, 2304, heads: 8, kv: 4, ffn: 9216, vocab: 256_000, context: 8192), tied: true),
                "gemma2", head: 256, postNorms: true, window: 4096),
            falcon(
                "falcon-40b", "40B", sizes(60, 8192, heads: 128, kv: 8, ffn: 32768, vocab: 65024, context: 2048), twoNorms: true),
        ]

        private static func sizes(
            _ layers: Int, _ width: Int, heads: Int, kv: Int? = nil, ffn: Int, vocab: Int, context: Int
        ) -> Sizes {
            Sizes(
                layers: layers, width: width, heads: heads, keyValueHeads: kv ?? heads, feedForward: ffn, vocabulary: vocab,
                context: context)
        }

        private static func llama(
            _ name: String, _ label: String, _ sizes: Sizes, epsilon: Double = 1e-6, base: Double = 10_000, tied: Bool = false
        ) -> Preset {
            Preset(
                name: name, architecture: "llama", label: label, sizes: sizes, epsilon: epsilon, base: base, tied: tied)
        }

        private static func falcon(
            _ name: String, _ label: String, _ sizes: Sizes, tied: Bool = false, twoNorms: Bool = false
        ) -> Preset {
            Preset(
                name: name, architecture: "falcon", label: label, sizes: sizes, epsilon: 1e-5, base: 10_000, tied: tied,
                twoNorms: twoNorms)
        }

        /// A preset of Llama's shape, as another architecture has it.
        private static func variant(
            of preset: Preset, _ architecture: String, head: Int? = nil, experts: Experts? = nil, headNorms: Bool = false,
            postNorms: Bool = false, window: Int? = nil
        ) -> Preset {
            Preset(
                name: preset.name, architecture: architecture, label: preset.label, sizes: preset.sizes, epsilon: preset.epsilon,
                base: preset.base, tied: preset.tied, headDimension: head, experts: experts, headNorms: headNorms,
                postNorms: postNorms, window: window)
        }

        /// Feed-forward blocks that a token goes through in a layer.
        package var blocksOfAToken: Int { experts?.used ?? 1 }

        func head(_ sizes: Sizes) -> Int { headDimension ?? sizes.width / sizes.heads }

        func metadata(_ sizes: Sizes) -> [(key: String, value: MetadataValue)] {
            let head = head(sizes)
            var numbers = [
                ("context_length", sizes.context), ("embedding_length", sizes.width), ("block_count", sizes.layers),
                ("feed_forward_length", sizes.feedForward), ("attention.head_count", sizes.heads),
                ("attention.head_count_kv", sizes.keyValueHeads), ("attention.key_length", head),
                ("attention.value_length", head), ("rope.dimension_count", head), ("vocab_size", sizes.vocabulary),
            ]
            if let window { numbers.append(("attention.sliding_window", window)) }
            if let experts { numbers += [("expert_count", experts.count), ("expert_used_count", experts.used)] }
            let norm = architecture == "falcon" ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon"
            var metadata = numbers.map { (key: "\(architecture).\($0)", value: MetadataValue.unsigned(UInt64($1))) }
            metadata.append(("\(architecture).\(norm)", .float(epsilon)))
            metadata.append(("\(architecture).rope.freq_base", .float(base)))
            // The order of query, key and value rows in falcon files.
            if architecture == "falcon" { metadata.append(("falcon.tensor_data_layout", .string("jploski"))) }
            return metadata
        }

        /// In a file's order; dimensions columns first.
        func tensors(_ sizes: Sizes) -> [(name: String, dimensions: [Int])] {
            let width = sizes.width
            let all = [width, sizes.vocabulary]
            let norms = architecture == "falcon" ? ["weight", "bias"] : ["weight"]
            var tensors: [(name: String, dimensions: [Int])] = [("token_embd.weight", all)]
            for index in 0..<sizes.layers {
                for tensor in architecture == "falcon" ? falconLayer(sizes) : llamaLayer(sizes) {
                    tensors.append(("blk.\(index).\(tensor.name)", tensor.dimensions))
                }
            }
            tensors += norms.map { ("output_norm.\($0)", [width]) }
            if !tied { tensors.append(("output.weight", all)) }
            return tensors
        }

        private func llamaLayer(_ sizes: Sizes) -> [(name: String, dimensions: [Int])] {
            let width = sizes.width
            let head = head(sizes)
            let (query, keyValue) = (head * sizes.heads, head * sizes.keyValueHeads)
            let suffix = experts == nil ? "weight" : "exps.weight"
            let separator = experts == nil ? "." : "_"
            func block(_ name: String, _ columns: Int, _ rows: Int) -> (name: String, dimensions: [Int]) {
                (name + separator + suffix, [columns, rows] + (experts.map { [$0.count] } ?? []))
            }
            var norms: [(String, [Int])] = []
            if headNorms { norms += [("attn_q_norm.weight", [head]), ("attn_k_norm.weight", [head])] }
            if postNorms { norms += [("post_attention_norm.weight", [width]), ("post_ffw_norm.weight", [width])] }
            let router = experts.map { [(name: "ffn_gate_inp.weight", dimensions: [width, $0.count])] } ?? []
            return [
                ("attn_norm.weight", [width]), ("attn_q.weight", [width, query]), ("attn_k.weight", [width, keyValue]),
                ("attn_v.weight", [width, keyValue]), ("attn_output.weight", [query, width]), ("ffn_norm.weight", [width]),
                block("ffn_gate", width, sizes.feedForward), block("ffn_up", width, sizes.feedForward),
                block("ffn_down", sizes.feedForward, width),
            ] + router + norms.map { (name: $0, dimensions: $1) }
        }

        private func falconLayer(_ sizes: Sizes) -> [(name: String, dimensions: [Int])] {
            let width = sizes.width
            let keyValue = width / sizes.heads * sizes.keyValueHeads
            var norms = [("attn_norm.weight", [width]), ("attn_norm.bias", [width])]
            if twoNorms { norms += [("attn_norm_2.weight", [width]), ("attn_norm_2.bias", [width])] }
            return norms.map { (name: $0, dimensions: $1) } + [
                ("attn_qkv.weight", [width, width + 2 * keyValue]), ("attn_output.weight", [width, width]),
                ("ffn_up.weight", [width, sizes.feedForward]), ("ffn_down.weight", [sizes.feedForward, width]),
            ]
        }
    }
}
