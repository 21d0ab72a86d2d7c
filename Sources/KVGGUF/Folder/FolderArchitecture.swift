/// How a model class of Hugging Face's is laid out, and under which names and in which order of rows a GGUF file holds the same.
struct FolderArchitecture: Sendable {
    /// The class in `config.json`.
    let modelClass: String
    /// `general.architecture`.
    let name: String
    /// The further keys' values.
    let keys: @Sendable (inout FolderKeys) throws(GGUFError) -> Void
    /// A tensor's name without its ending (weight, bias), `*` for numbers (the layer's, the expert's), to GGUF's. Where GGUF's name has a
    /// number less, the tensors with that number are the rows of one.
    let tensors: [String: String]
    /// Tensors (GGUF's names) whose rows a GGUF file has in another order.
    var rows: @Sendable (ModelConfiguration) throws(GGUFError) -> [String: RowLayout] = { _ in [:] }
    /// Norms' weights are kept less 1.
    var addsOneToNorms = false
    /// What transformers takes for fields that `config.json` leaves out.
    var defaults: [String: JSONValue] = [:]
    /// Where `config.json` does not say (`tie_word_embeddings`): the output matrix is the embedding.
    var isTied = false
    /// Biases and norms that `config.json` asks for by a field.
    var optional: [OptionalTensors] = []
    /// The model reads images, too: its text part is what counts, with a configuration of its own, `text_config`.
    var isTextPart = false

    /// Tensors (GGUF's names, `*` for the layer's number) that a class has where a field is true.
    struct OptionalTensors {
        /// Nil: the class always has them.
        let field: String?
        /// Without the field.
        let isDefault: Bool
        let names: [String]
    }

    /// How rows lie in the folder's tensor.
    enum RowLayout {
        /// Each head's pairs to be rotated lie apart by half a head, GGUF's side by side.
        case halves(heads: Int)
        /// Each group of so many query heads is followed by its key's and its value's head; GGUF has all queries, all keys, all values.
        case groups(Int, queries: Int)

        /// The folder's row for each of GGUF's `count`; nil where they are not whole heads.
        func order(of count: Int) -> [Int32]? {
            guard count < Int(Int32.max) else { return nil }
            switch self {
            case .halves(let heads):
                guard heads > 0, count % (2 * heads) == 0 else { return nil }
                let head = count / heads
                return (0..<count).map { Int32($0 / head * head + $0 % head / 2 + $0 % 2 * (head / 2)) }
            case .groups(let groups, let queries):
                guard groups > 0, queries > 0, count % (groups * (queries + 2)) == 0 else { return nil }
                let head = count / (groups * (queries + 2))
                func rows(_ first: Int, _ heads: Int) -> [Int32] {
                    (0..<groups).flatMap { group in
                        let start = (group * (queries + 2) + first) * head
                        return (start..<start + heads * head).map { Int32($0) }
                    }
                }
                return rows(0, queries) + rows(queries, 1) + rows(queries + 1, 1)
            }
        }
    }

    /// Every class known: one row each.
    static let all: [FolderArchitecture] = [
        FolderArchitecture(
            modelClass: "LlamaForCausalLM", name: "llama", keys: llamaKeys, tensors: decoder, rows: rotatedPairs,
            optional: attentionBiases + gatedBiases),
        FolderArchitecture(
            modelClass: "MistralForCausalLM", name: "llama", keys: llamaKeys, tensors: decoder, rows: rotatedPairs),
        FolderArchitecture(
            modelClass: "MixtralForCausalLM", name: "llama", keys: llamaKeys, tensors: decoder + experts + mixtralExperts,
            rows: rotatedPairs),
        FolderArchitecture(modelClass: "Qwen2ForCausalLM", name: "qwen2", keys: qwenKeys, tensors: decoder, optional: qwen2Biases),
        FolderArchitecture(
            modelClass: "Qwen2MoeForCausalLM", name: "qwen2moe", keys: qwenKeys, tensors: decoder + experts,
            optional: qwen2MoEBiases),
        FolderArchitecture(
            modelClass: "Qwen3ForCausalLM", name: "qwen3", keys: qwenKeys, tensors: decoder, optional: attentionBiases),
        FolderArchitecture(
            modelClass: "Qwen3MoeForCausalLM", name: "qwen3moe", keys: qwenKeys, tensors: decoder + experts,
            optional: attentionBiases),
        FolderArchitecture(
            modelClass: "Olmo2ForCausalLM", name: "olmo2", keys: olmoKeys, tensors: decoder + postNorms, optional: attentionBiases),
        FolderArchitecture(
            modelClass: "Olmo3ForCausalLM", name: "olmo2", keys: olmoKeys, tensors: decoder + postNorms, optional: attentionBiases),
        FolderArchitecture(modelClass: "Phi3ForCausalLM", name: "phi3", keys: phi3Keys, tensors: decoder + fusedProjections),
        FolderArchitecture(
            modelClass: "GemmaForCausalLM", name: "gemma", keys: gemmaKeys, tensors: decoder, addsOneToNorms: true, isTied: true,
            optional: attentionBiases),
        FolderArchitecture(
            modelClass: "Gemma2ForCausalLM", name: "gemma2", keys: gemma2Keys, tensors: decoder + gemmaNorms, addsOneToNorms: true,
            isTied: true, optional: attentionBiases),
        FolderArchitecture(
            modelClass: "Gemma3ForCausalLM", name: "gemma3", keys: gemma3Keys, tensors: decoder + gemmaNorms, addsOneToNorms: true,
            defaults: gemma3Defaults, isTied: true, optional: attentionBiases),
        FolderArchitecture(
            modelClass: "Gemma3ForConditionalGeneration", name: "gemma3", keys: gemma3Keys, tensors: decoder + gemmaNorms,
            addsOneToNorms: true, defaults: gemma3Defaults, isTied: true, optional: attentionBiases, isTextPart: true),
        FolderArchitecture(
            modelClass: "GraniteForCausalLM", name: "granite", keys: graniteKeys, tensors: decoder, rows: rotatedPairs,
            optional: attentionBiases + gatedBiases),
        FolderArchitecture(
            modelClass: "GraniteMoeForCausalLM", name: "granitemoe", keys: graniteKeys, tensors: decoder + graniteExperts,
            rows: rotatedPairs, optional: attentionBiases),
        FolderArchitecture(
            modelClass: "GraniteMoeSharedForCausalLM", name: "granitemoe", keys: graniteKeys, tensors: decoder + graniteExperts,
            rows: rotatedPairs, optional: attentionBiases),
        FolderArchitecture(
            modelClass: "GraniteMoeHybridForCausalLM", name: "granite", keys: graniteHybridKeys,
            tensors: decoder + graniteFeedForward, rows: rotatedPairs, optional: attentionBiases),
        FolderArchitecture(
            modelClass: "SmolLM3ForCausalLM", name: "smollm3", keys: smolLM3Keys, tensors: decoder, rows: rotatedPairs,
            isTied: true, optional: attentionBiases + gatedBiases),
        FolderArchitecture(
            modelClass: "CohereForCausalLM", name: "command-r", keys: cohereKeys, tensors: decoder, isTied: true,
            optional: attentionBiases + headNormsWhereAsked),
        FolderArchitecture(
            modelClass: "Cohere2ForCausalLM", name: "cohere2", keys: cohere2Keys, tensors: decoder, isTied: true,
            optional: attentionBiases + headNormsWhereAsked),
        FolderArchitecture(
            modelClass: "Starcoder2ForCausalLM", name: "starcoder2", keys: starCoder2Keys, tensors: decoder + plainFeedForward,
            isTied: true, optional: starCoderBiases),
        FolderArchitecture(
            modelClass: "StableLmForCausalLM", name: "stablelm", keys: stableLMKeys, tensors: decoder + headNorms,
            optional: stableLMParts),
        FolderArchitecture(
            modelClass: "FalconForCausalLM", name: "falcon", keys: falconKeys, tensors: falcon, rows: falconRows, isTied: true,
            optional: falconBiases),
        FolderArchitecture(
            modelClass: "GPTNeoXForCausalLM", name: "gptneox", keys: neoxKeys, tensors: neox,
            rows: { config throws(GGUFError) in
                ["blk.*.attn_qkv": .groups(try config.integer("num_attention_heads"), queries: 1)]
            }, optional: neoxBiases),
    ]
}
