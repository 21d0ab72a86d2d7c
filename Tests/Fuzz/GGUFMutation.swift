/// Makes one field of a GGUF file wrong: metadata, tensor descriptions, data.
struct GGUFMutation {
    private let others: [GGUFDocument]
    private let metadata: [GGUFDocument.Pair]

    init(learning documents: [GGUFDocument]) {
        others = documents
        metadata = documents.flatMap(\.pairs)
    }

    private static let architectures = [
        "llama", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "phi3", "gemma", "gemma2", "gemma3", "falcon", "gptneox", "olmo2",
        "starcoder2",
        "stablelm", "command-r", "cohere2", "granite", "granitemoe", "smollm3", "mamba", "bert", "",
    ]

    /// Keys that readers look for, behind the architecture's name or alone.
    private static let keys = [
        "block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon",
        "attention.sliding_window", "attention.sliding_window_pattern", "attention.scale", "attention.clamp_kqv",
        "attn_logit_softcapping",
        "final_logit_softcapping", "rope.dimension_count", "rope.freq_base", "rope.scaling.type", "rope.scaling.factor",
        "rope.scaling.original_context_length", "rope.scaling.yarn_log_multiplier", "rope.scaling.attn_factor", "expert_count",
        "expert_used_count", "expert_shared_count", "expert_feed_forward_length", "expert_weights_scale", "expert_weights_norm",
        "leading_dense_block_count", "vocab_size", "logit_scale", "residual_scale", "embedding_scale", "use_parallel_residual",
    ]
    private static let plainKeys = [
        "general.alignment", "general.architecture", "general.quantization_version", "split.count", "split.no",
        "split.tensors.count",
        "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_space_prefix",
        "tokenizer.ggml.remove_extra_whitespaces", "tokenizer.ggml.precompiled_charsmap", "tokenizer.ggml.unknown_token_id",
        "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eog_token_ids", "tokenizer.chat_template",
    ]

    func apply(to file: inout GGUFDocument, _ random: inout RandomSource) {
        switch random.below(20) {
        case 0...7: pair(&file, &random)
        case 8: addPair(&file, &random)
        case 9...14: tensor(&file, &random)
        case 15: data(&file, &random)
        case 16: requantise(&file, &random)
        case 17: token(&file, &random)
        case 18: rename(&file, &random)
        default:
            switch random.below(5) {
            case 0: file.version = UInt32(truncatingIfNeeded: random.pick(ExtremeValues.integers))
            case 1: file.tensorCount = UInt64(bitPattern: random.pick(ExtremeValues.integers))
            case 2: file.pairCount = UInt64(bitPattern: random.pick(ExtremeValues.integers))
            case 3: file.magic = random.pick([Array("FUGG".utf8), Array("ggml".utf8), [0, 0, 0, 0]])
            default: file.data.removeLast(random.below(file.data.count))
            }
        }
    }

    // MARK: Metadata

    private func pair(_ file: inout GGUFDocument, _ random: inout RandomSource) {
        guard !file.pairs.isEmpty else { return }
        let index = random.below(file.pairs.count)
        switch random.below(12) {
        case 0: file.pairs.remove(at: index)
        case 1: file.pairs.append(file.pairs[index])
        case 2: file.pairs[index].key = ExtremeValues.text(&random)
        case 3:
            let other = random.pick(file.pairs)
            (file.pairs[index].type, file.pairs[index].value) = (other.type, other.value)
        case 4: file.pairs[index].type = UInt32(random.below(14))
        case 5: (file.pairs[index].type, file.pairs[index].value) = Self.value(&random)
        default: file.pairs[index].value = changed(file.pairs[index].value, file.pairs[index].type, &random)
        }
    }

    private func addPair(_ file: inout GGUFDocument, _ random: inout RandomSource) {
        let architecture = file.pairs.first { $0.name == "general.architecture" }.flatMap { pair -> String? in
            guard case .string(let text, _) = pair.value else { return nil }
            return String(decoding: text, as: UTF8.self)
        }
        let key = random.oneIn(2) ? random.pick(Self.plainKeys) : (architecture ?? "llama") + "." + random.pick(Self.keys)
        file.pairs.removeAll { $0.name == key }
        let (type, value): (UInt32, GGUFDocument.Value)
        if random.oneIn(3),
            let same = metadata.first(where: { $0.name.split(separator: ".").last == key.split(separator: ".").last })
        {
            (type, value) = (same.type, same.value)
        } else if key == "general.architecture" {
            (type, value) = (GGUFDocument.stringType, GGUFDocument.string(random.pick(Self.architectures)))
        } else {
            (type, value) = Self.value(&random)
        }
        file.pairs.append(GGUFDocument.Pair(key: Array(key.utf8), type: type, value: value))
    }

    private static func value(_ random: inout RandomSource) -> (UInt32, GGUFDocument.Value) {
        let type = UInt32(random.below(13))
        switch type {
        case GGUFDocument.stringType: return (type, .string(ExtremeValues.text(&random), length: nil))
        case GGUFDocument.arrayType:
            if random.oneIn(6) {
                var nested = GGUFDocument.Value.array(type: 4, count: nil, elements: [GGUFDocument.scalar(4, Int64(1))])
                for _ in 0..<(1 << random.below(14)) {
                    nested = .array(type: GGUFDocument.arrayType, count: nil, elements: [nested])
                }
                return (type, nested)
            }
            let element = random.pick([0, 4, 5, 6, 7, 8, 10, 11, 12] as [UInt32])
            let count = random.pick([0, 1, 2, 3, 8, 100, 3000])
            let elements = (0..<count).map { _ -> GGUFDocument.Value in
                element == 8 ? .string(ExtremeValues.text(&random), length: nil) : scalar(element, &random)
            }
            return (type, .array(type: element, count: nil, elements: elements))
        default: return (type, scalar(type, &random))
        }
    }

    private static func scalar(_ type: UInt32, _ random: inout RandomSource) -> GGUFDocument.Value {
        if type == 6 || type == 12 { return GGUFDocument.scalar(type, random.pick(ExtremeValues.floats)) }
        if type == 7 { return .scalar([UInt8(random.pick([0, 1, 1, 0, 2, 255]))]) }
        return GGUFDocument.scalar(type, random.pick(ExtremeValues.integers))
    }

    private func changed(_ value: GGUFDocument.Value, _ type: UInt32, _ random: inout RandomSource) -> GGUFDocument.Value {
        switch value {
        case .scalar: return Self.scalar(type, &random)
        case .string(let text, _):
            if random.oneIn(8) { return .string(text, length: UInt64(bitPattern: random.pick(ExtremeValues.integers))) }
            if random.oneIn(3), text.count < 24 { return GGUFDocument.string(random.pick(Self.architectures)) }
            return .string(ExtremeValues.text(&random), length: nil)
        case .array(let element, let count, var elements):
            switch random.below(8) {
            case 0: return .array(type: element, count: UInt64(bitPattern: random.pick(ExtremeValues.integers)), elements: elements)
            case 1: return .array(type: UInt32(random.below(14)), count: count, elements: elements)
            case 2: return .array(type: element, count: nil, elements: Array(elements.prefix(random.below(elements.count + 1))))
            case 3: return .array(type: element, count: nil, elements: elements + elements)
            default:
                guard !elements.isEmpty else { return Self.value(&random).1 }
                for _ in 0...random.below(4) {
                    let index = random.below(elements.count)
                    elements[index] = changed(elements[index], element, &random)
                }
                return .array(type: element, count: count, elements: elements)
            }
        }
    }

    /// One of the vocabulary's texts: tokens, merges.
    private func token(_ file: inout GGUFDocument, _ random: inout RandomSource) {
        let names = ["tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"]
        let name = random.pick(names)
        guard let index = file.pairs.firstIndex(where: { $0.name == name }),
            case .array(let type, let count, var elements) = file.pairs[index].value, !elements.isEmpty
        else { return }
        for _ in 0...random.below(8) {
            let at = random.below(elements.count)
            elements[at] = random.oneIn(3) ? random.pick(elements) : changed(elements[at], type, &random)
        }
        file.pairs[index].value = .array(type: type, count: count, elements: elements)
    }

    /// Another architecture with the same figures.
    private func rename(_ file: inout GGUFDocument, _ random: inout RandomSource) {
        guard let index = file.pairs.firstIndex(where: { $0.name == "general.architecture" }),
            case .string(let old, _) = file.pairs[index].value
        else { return }
        let new = Array(random.pick(Self.architectures).utf8)
        file.pairs[index].value = .string(new, length: nil)
        for at in file.pairs.indices where file.pairs[at].key.starts(with: old + [UInt8(ascii: ".")]) {
            file.pairs[at].key = new + file.pairs[at].key.dropFirst(old.count)
        }
    }

    // MARK: Tensors

    private func tensor(_ file: inout GGUFDocument, _ random: inout RandomSource) {
        guard !file.tensors.isEmpty else { return }
        let index = random.below(file.tensors.count)
        let dimension = random.below(file.tensors[index].dimensions.count)
        switch random.below(14) {
        case 0: file.tensors.remove(at: index)
        case 1: file.tensors.append(file.tensors[index])
        case 2: file.tensors[index].name = ExtremeValues.text(&random)
        case 3: file.tensors[index].name = random.pick(random.pick(others).tensors).name
        case 4: file.tensors[index].dimensions[dimension] = UInt64(bitPattern: random.pick(ExtremeValues.integers))
        case 5: file.tensors[index].dimensions.reverse()
        case 6: file.tensors[index].dimensions.append(random.pick([0, 1, 2, 1 << 32]))
        case 7: file.tensors[index].dimensions.removeLast()
        case 8: file.tensors[index].type = UInt32(random.below(random.oneIn(4) ? 256 : 42))
        case 9: file.tensors[index].offset = UInt64(bitPattern: random.pick(ExtremeValues.integers))
        case 10: file.tensors[index].offset = random.pick(file.tensors).offset
        case 11:
            let other = random.below(file.tensors.count)
            let name = file.tensors[index].name
            file.tensors[index].name = file.tensors[other].name
            file.tensors[other].name = name
        case 12:
            // The same size, other sides.
            if file.tensors[index].dimensions[dimension] % 2 == 0 {
                file.tensors[index].dimensions[dimension] /= 2
                file.tensors[index].dimensions[random.below(file.tensors[index].dimensions.count)] *= 2
            }
        default:
            var tensor = random.pick(random.pick(others).tensors)
            tensor.offset = random.pick(file.tensors).offset
            file.tensors.append(tensor)
        }
    }

    private func data(_ file: inout GGUFDocument, _ random: inout RandomSource) {
        guard file.data.count > 64 else { return }
        let start = random.below(file.data.count - 64) & ~3
        let pattern: [UInt8] = random.pick([
            [0, 0, 0xC0, 0x7F], [0, 0, 0x80, 0x7F], [0xFF, 0xFF, 0x7F, 0x7F], [1, 0, 0, 0], [0xFF, 0xFF, 0xFF, 0xFF],
            [0, 0x7C, 0, 0x7C],
        ])
        for at in start..<min(file.data.count, start + 4 * (1 << random.below(12))) { file.data[at] = pattern[at % 4] }
    }

    /// One tensor in another format, valid: files mix formats, also among a layer's experts.
    private func requantise(_ file: inout GGUFDocument, _ random: inout RandomSource) {
        guard !file.tensors.isEmpty else { return }
        let index = random.below(file.tensors.count)
        // Number, elements and bytes of a block, and where the scale lies.
        let formats: [(type: UInt32, block: Int, bytes: Int, scales: [Int])] = [
            (0, 1, 4, []), (1, 1, 2, []), (30, 1, 2, []), (2, 32, 18, [0]), (3, 32, 20, [0, 2]), (8, 32, 34, [0]), (6, 32, 22, [0]),
            (12, 256, 144, [0, 2]), (14, 256, 210, [208]), (20, 32, 18, [0]), (39, 32, 17, []), (10, 256, 84, [80, 82]),
        ]
        let format = random.pick(formats)
        let dimensions = file.tensors[index].dimensions
        guard let columns = dimensions.first, columns % UInt64(format.block) == 0 else { return }
        let elements = dimensions.reduce(UInt64(1)) { $0 &* $1 }
        guard elements > 0, elements < 1 << 20 else { return }
        let blocks = Int(elements) / format.block
        var bytes = (0..<blocks * format.bytes).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        for block in 0..<blocks {
            let start = block * format.bytes
            switch format.type {
            // Exponents of small numbers.
            case 0: bytes[start + 3] = 0x3C
            case 1: bytes[start + 1] = 0x24
            case 30: bytes[start + 1] = 0x3C
            case 39: bytes[start] = 120
            default: for scale in format.scales { bytes[start + scale + 1] = 0x14 }
            }
        }
        file.tensors[index].type = format.type
        file.tensors[index].offset = file.append(bytes)
    }
}
