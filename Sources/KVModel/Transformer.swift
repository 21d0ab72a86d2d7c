/// A decoder-only transformer as data: what an architecture's file says about it, and the one way through its layers.
package struct Transformer: Sendable {
    struct Layer: Sendable {
        /// What goes into the block; `identity` where the norm comes behind it.
        let attentionNorm: Norm
        let query, keyValue, queryKeyValue: [Projection]
        let queryNorm, keyNorm: HeadNorm?
        /// Of the geometry's rotaries; nil: positions do not count in this layer.
        let rotary: Int?
        let output: Matrix
        /// Of what attention adds, where it is normalised before it is added.
        let attentionOutputNorm: Norm?
        let feedForwardNorm: Norm
        let feedForward: FeedForward
        let feedForwardOutputNorm: Norm?
    }

    /// A norm of queries or keys.
    enum HeadNorm: Sendable {
        /// Of each head by itself.
        case heads(Norm)
        /// Of all heads together.
        case row(Norm)
    }

    enum FeedForward: Sendable {
        case gated(Gate, gate: Matrix, up: Matrix, down: Matrix)
        case plain(Nonlinearity, up: Matrix, down: Matrix)
        case experts(Experts, shared: SharedExpert?)
    }

    /// A block that every token goes through beside its experts.
    struct SharedExpert: Sendable {
        let gate, up, down: Matrix
        /// It is weighed by the sigmoid of `sharedWeight`, which the router computes.
        let isWeighed: Bool
    }

    /// How a layer's two blocks follow each other.
    enum Arrangement: Sendable {
        /// Feed-forward on top of attention.
        case sequential
        /// Both on what comes into the layer.
        case parallel
    }

    let geometry: Geometry
    let arrangement: Arrangement
    let embedding: Table
    /// Of the embeddings.
    let embeddingScale: Float
    let layers: [Layer]
    /// Of what each block adds.
    let residualScale: Float
    let outputNorm: Norm
    let output: Matrix
    let logits: LogitShape

    func forward(on operations: any Operations, attention: any Attention) throws(Stopped) {
        try operations.embed(embedding, scaledBy: embeddingScale)
        for index in layers.indices {
            let pruned = index == layers.count - 1 && operations.prunesLastLayer
            operations.mark(.begin, layer: index)
            for piece in 0..<operations.pieces {
                operations.begin(piece: piece)
                try project(layers[index], query: !pruned, keyValue: true, on: operations)
                try operations.append(layer: index)
            }
            operations.mark(.projected, layer: index)
            try attention.exchange(layer: index, on: operations)
            if pruned { operations.keepLogitsTokens() }
            for piece in 0..<operations.pieces {
                operations.begin(piece: piece)
                if pruned { try project(layers[index], query: true, keyValue: false, on: operations) }
                switch arrangement {
                case .sequential: try sequential(index, attention, on: operations)
                case .parallel: try parallel(index, attention, on: operations)
                }
            }
            operations.mark(.end, layer: index)
        }
        operations.keepLogitsTokens()
        for piece in 0..<operations.pieces {
            operations.begin(piece: piece)
            try operations.normalise(.hidden, by: outputNorm, into: .normed)
            try operations.project(.normed, by: output, shape: logits)
        }
    }

    /// hidden → normed → query, key, value, rotated.
    private func project(_ layer: Layer, query: Bool, keyValue: Bool, on operations: any Operations) throws(Stopped) {
        try operations.normalise(.hidden, by: layer.attentionNorm, into: .normed)
        try operations.multiply(
            .normed, by: query && keyValue ? layer.queryKeyValue : query ? layer.query : layer.keyValue)
        if keyValue { try turn(.key, layer.keyNorm, layer.rotary, on: operations) }
        if query { try turn(.query, layer.queryNorm, layer.rotary, on: operations) }
    }

    private func turn(
        _ activation: Activation, _ norm: HeadNorm?, _ rotary: Int?, on operations: any Operations
    ) throws(Stopped) {
        switch norm {
        case nil: break
        case .row(let norm): try operations.normalise(activation, by: norm, into: activation)
        case .heads(let norm): try operations.normaliseHeads(of: activation, by: norm)
        }
        if let rotary { try operations.rotate(activation, by: rotary) }
    }

    private func sequential(_ index: Int, _ attention: any Attention, on operations: any Operations) throws(Stopped) {
        let layer = layers[index]
        try attention.attend(layer: index, on: operations)
        try add(.attended, layer.output, layer.attentionOutputNorm, on: operations)
        try operations.normalise(.hidden, by: layer.feedForwardNorm, into: .normed)
        try widen(layer.feedForward, on: operations)
        try narrow(layer, on: operations)
    }

    /// hidden += attention + feed-forward, both of the hidden before. Neither is added until both are computed: the workers then wait for
    /// each other twice, not four times as where one follows the other.
    private func parallel(_ index: Int, _ attention: any Attention, on operations: any Operations) throws(Stopped) {
        let layer = layers[index]
        // Again, which costs less than keeping the chunk's.
        try operations.normalise(.hidden, by: layer.feedForwardNorm, into: .normed)
        try widen(layer.feedForward, on: operations)
        try attention.attend(layer: index, on: operations)
        try add(.attended, layer.output, layer.attentionOutputNorm, on: operations)
        try narrow(layer, on: operations)
    }

    /// The feed-forward block up to its last matrix: normed → gate (or the experts').
    private func widen(_ block: FeedForward, on operations: any Operations) throws(Stopped) {
        switch block {
        case .gated(let form, let gate, let up, _): try operations.multiplyGated(.normed, gate: gate, up: up, form)
        case .plain(let form, let up, _): try operations.multiplyActivated(.normed, up: up, form)
        case .experts(let experts, let shared):
            try operations.multiply(.normed, by: experts.router)
            if let shared { try operations.multiplyGated(.normed, gate: shared.gate, up: shared.up, .silu) }
            try operations.multiply(.normed, by: experts)
        }
    }

    /// Its last matrix: gate → hidden.
    private func narrow(_ layer: Layer, on operations: any Operations) throws(Stopped) {
        switch layer.feedForward {
        case .gated(_, _, _, let down), .plain(_, _, let down):
            try add(.gate, down, layer.feedForwardOutputNorm, on: operations)
        case .experts(let experts, let shared):
            if let shared {
                let weight: Weighting = shared.isWeighed ? .sigmoid(residualScale) : .constant(residualScale)
                try operations.multiply(.gate, by: shared.down, weighted: weight, addingTo: .hidden)
            }
            try operations.addExperts(experts, scaledBy: residualScale, to: .hidden)
        }
    }

    /// hidden += matrix · input, normalised where there is a norm.
    private func add(_ input: Activation, _ matrix: Matrix, _ norm: Norm?, on operations: any Operations) throws(Stopped) {
        guard let norm else {
            return try operations.multiply(input, by: matrix, weighted: .constant(residualScale), addingTo: .hidden)
        }
        try operations.multiply(input, by: matrix, into: .update)
        try operations.normalise(.update, by: norm, addingTo: .hidden)
    }
}

/// An architecture that is a transformer of the usual parts.
package protocol TransformerArchitecture: Architecture {
    var transformer: Transformer { get }
}

extension TransformerArchitecture {
    package var geometry: Geometry { transformer.geometry }

    package func forward(on operations: any Operations, attention: any Attention) throws(Stopped) {
        try transformer.forward(on: operations, attention: attention)
    }
}
