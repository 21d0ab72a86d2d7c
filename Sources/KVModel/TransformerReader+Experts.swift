import KVGGUF

/// Mixtures of experts: how many, how large, and their tensors.
extension TransformerReader {
    /// Completes the geometry where the file has experts.
    mutating func readExperts() throws(ModelError) {
        let count = try keys.count("expert_count", limit: 1 << 12)
        guard count > 0 else { return }
        let used = try keys.integer("expert_used_count", limit: count)
        guard case .gated(.silu) = feedForward, normPlaces == .before else {
            throw unsupported("expert_count is \(count): no experts are known for \(keys.prefix)")
        }
        // 1: a softmax over all experts' scores; 0: not said.
        let gating = try keys.count("expert_gating_func")
        guard gating < 2 else { throw unsupported("expert_gating_func is \(gating); only the softmax, 1, is supported") }
        let blocks = (0..<geometry.layers).map { "blk.\($0)" }
        let mixed = blocks.filter { weights.has("\($0).ffn_gate_inp.weight") }
        guard let first = mixed.first else {
            throw ModelError(.missingTensor, "\(keys.file.path): tensor blk.0.ffn_gate_inp.weight is missing")
        }
        let inner =
            rows("\(first).ffn_gate_exps.weight") ?? rows("\(first).ffn_gate_up_exps.weight").map { $0 / 2 }
            ?? rows("\(first).ffn_gate.0.weight") ?? geometry.feedForward
        let told = try keys.count("expert_feed_forward_length")
        guard told == 0 || told == inner else {
            throw ModelError(
                .badShape, "\(keys.file.path): \(keys.prefix).expert_feed_forward_length is \(told), the experts have \(inner)")
        }
        geometry.experts = Geometry.Experts(count: count, used: used, feedForward: inner)
        let sharedRows = rows("\(first).ffn_up_shexp.weight")
        let shared = weights.has("\(first).ffn_gate_shexp.weight") ? sharedRows : sharedRows.map { $0 / 2 }
        let toldShared = try keys.count("expert_shared_feed_forward_length")
        guard toldShared == 0 || shared == nil || toldShared == shared else {
            throw ModelError(
                .badShape,
                "\(keys.file.path): \(keys.prefix).expert_shared_feed_forward_length is \(toldShared), "
                    + "\(first).ffn_up_shexp.weight has \(sharedRows ?? 0) rows")
        }
        if mixed.count == blocks.count {
            geometry.feedForward = shared ?? inner
        } else if let shared, shared != geometry.feedForward {
            throw unsupported("\(shared) rows of the shared expert beside layers of \(geometry.feedForward) rows are not supported")
        }
        renormalises = try keys.bool("expert_weights_norm", default: renormalises)
    }

    private func unsupported(_ reason: String) -> ModelError { ModelError(.unsupported, "\(keys.file.path): \(reason)") }

    private func rows(_ name: String) -> Int? {
        guard let tensor = keys.file.tensor(name), tensor.dimensions.count > 1 else { return nil }
        return tensor.dimensions[1]
    }

    func experts(_ block: String) throws(ModelError) -> Transformer.FeedForward {
        guard let sizes = geometry.experts else { throw unsupported("tensor \(block).ffn_gate_inp.weight without experts") }
        let width = geometry.embedding
        func all(_ name: String, _ columns: Int, _ rows: Int) throws(ModelError) -> [Matrix] {
            // Older files, and folders, have each expert's matrix apart.
            guard weights.has("\(block).\(name).0.weight") else {
                return try weights.matrices("\(block).\(name)_exps.weight", columns: columns, rows: rows, count: sizes.count)
            }
            var matrices: [Matrix] = []
            for index in 0..<sizes.count {
                matrices.append(try weights.matrix("\(block).\(name).\(index).weight", columns: columns, rows: rows))
            }
            return matrices
        }
        // Gate's rows, then up's, where one tensor has both.
        func widening(_ name: String, part: Int) throws(ModelError) -> [Matrix] {
            let both = "\(block).ffn_gate_up_exps.weight"
            guard weights.has(both) else { return try all(name, width, sizes.feedForward) }
            let rows = sizes.feedForward
            return try weights.matrices(
                both, columns: width, of: 2 * rows, rows: part * rows..<(part + 1) * rows, count: sizes.count)
        }
        func matrix(_ name: String, _ columns: Int, _ rows: Int, float: Bool = false) throws(ModelError) -> Matrix {
            try weights.matrix("\(block).\(name).weight", columns: columns, rows: rows, float: float)
        }
        var router = [Projection(try matrix("ffn_gate_inp", width, sizes.count, float: true), .router)]
        var shared: Transformer.SharedExpert?
        if weights.has("\(block).ffn_up_shexp.weight") {
            let inner = geometry.feedForward
            let weighs = weights.has("\(block).ffn_gate_inp_shexp.weight")
            if weighs {
                router.append(Projection(try matrix("ffn_gate_inp_shexp", width, 1, float: true), .sharedWeight))
            }
            let (gate, up) = try sharedWidening(block, inner)
            shared = Transformer.SharedExpert(
                gate: gate, up: up, down: try matrix("ffn_down_shexp", inner, width), isWeighed: weighs)
        }
        return .experts(
            Experts(
                router: router, gate: try widening("ffn_gate", part: 0), up: try widening("ffn_up", part: 1),
                down: try all("ffn_down", sizes.feedForward, width),
                used: sizes.used, renormalises: renormalises, scale: try keys.float("expert_weights_scale", orZero: 1)),
            shared: shared)
    }
    /// The shared expert's gate and up: each apart, or in one tensor, gate's rows first.
    private func sharedWidening(_ block: String, _ inner: Int) throws(ModelError) -> (gate: Matrix, up: Matrix) {
        let (width, name) = (geometry.embedding, "\(block).ffn_up_shexp.weight")
        if weights.has("\(block).ffn_gate_shexp.weight") {
            return (
                try weights.matrix("\(block).ffn_gate_shexp.weight", columns: width, rows: inner),
                try weights.matrix(name, columns: width, rows: inner)
            )
        }
        return (
            try weights.matrix(name, columns: width, of: 2 * inner, rows: 0..<inner),
            try weights.matrix(name, columns: width, of: 2 * inner, rows: inner..<2 * inner)
        )
    }
}
