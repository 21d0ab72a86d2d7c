package import KVGGUF

/// Llama and what has its shape (SmolLM2, TinyLlama, Mistral without a window): RMSNorm, rotary pairs, grouped-query attention, SwiGLU.
package struct Llama: Architecture {
    package static let names = ["llama"]

    struct Layer {
        let attentionNorm: Norm
        let query, keyValue, queryKeyValue: [Projection]
        let output: Matrix
        let feedForwardNorm: Norm
        let gate, up, down: Matrix
    }

    package let geometry: Geometry
    let embedding: Table
    let layers: [Layer]
    let outputNorm: Norm
    let output: Matrix

    package func forward(on operations: any Operations, attention: any Attention) throws(Stopped) {
        try operations.embed(embedding)
        for index in layers.indices {
            let pruned = index == layers.count - 1 && operations.prunesLastLayer
            operations.mark(.begin, layer: index)
            for piece in 0..<operations.pieces {
                operations.begin(piece: piece)
                try project(index, query: !pruned, keyValue: true, on: operations)
                try operations.append(layer: index)
            }
            operations.mark(.projected, layer: index)
            try attention.exchange(layer: index, on: operations)
            if pruned { operations.keepLogitsTokens() }
            for piece in 0..<operations.pieces {
                operations.begin(piece: piece)
                if pruned { try project(index, query: true, keyValue: false, on: operations) }
                try attention.attend(layer: index, on: operations)
                try feedForward(layers[index], on: operations)
            }
            operations.mark(.end, layer: index)
        }
        operations.keepLogitsTokens()
        for piece in 0..<operations.pieces {
            operations.begin(piece: piece)
            try operations.normalise(.hidden, by: outputNorm, into: .normed)
            try operations.project(.normed, by: output)
        }
    }

    /// hidden → normed → query, key, value, rotated.
    private func project(_ index: Int, query: Bool, keyValue: Bool, on operations: any Operations) throws(Stopped) {
        let layer = layers[index]
        try operations.normalise(.hidden, by: layer.attentionNorm, into: .normed)
        try operations.multiply(
            .normed, by: query && keyValue ? layer.queryKeyValue : query ? layer.query : layer.keyValue)
        if keyValue { try operations.rotate(.key) }
        if query { try operations.rotate(.query) }
    }

    /// attended → hidden, and the feed-forward block on top.
    private func feedForward(_ layer: Layer, on operations: any Operations) throws(Stopped) {
        try operations.multiply(.attended, by: layer.output, addingTo: .hidden)
        try operations.normalise(.hidden, by: layer.feedForwardNorm, into: .normed)
        try operations.multiplyGated(.normed, gate: layer.gate, up: layer.up)
        try operations.multiply(.gate, by: layer.down, addingTo: .hidden)
    }

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        let reader = try HyperparameterReader(file, prefix: "llama")
        try reader.refuse("expert_count", otherThan: 0, because: "mixtures of experts are not supported yet")
        try reader.refuse("attention.sliding_window", otherThan: 0, because: "sliding windows are not supported yet")
        let geometry = try reader.geometry(pairing: .adjacent)
        self.geometry = geometry
        let epsilon = try reader.float("attention.layer_norm_rms_epsilon")
        let width = geometry.embedding
        func norm(_ name: String) throws(ModelError) -> Norm {
            .rootMeanSquare(weight: try weights.vector(name, count: width), epsilon: epsilon)
        }
        embedding = try weights.table("token_embd.weight", columns: width, rows: geometry.vocabulary)
        var layers: [Layer] = []
        for index in 0..<geometry.layers {
            func name(_ part: String) -> String { "blk.\(index).\(part).weight" }
            func matrix(_ part: String, _ columns: Int, _ rows: Int) throws(ModelError) -> Matrix {
                try weights.refuse("blk.\(index).\(part).bias", because: "biases are not supported for llama yet")
                return try weights.matrix(name(part), columns: columns, rows: rows)
            }
            let query = [Projection(try matrix("attn_q", width, geometry.queryWidth), .query)]
            let keyValue = [
                Projection(try matrix("attn_k", width, geometry.keyValueWidth), .key),
                Projection(try matrix("attn_v", width, geometry.keyValueWidth), .value),
            ]
            layers.append(
                Layer(
                    attentionNorm: try norm(name("attn_norm")),
                    query: query, keyValue: keyValue, queryKeyValue: query + keyValue,
                    output: try matrix("attn_output", geometry.queryWidth, width),
                    feedForwardNorm: try norm(name("ffn_norm")),
                    gate: try matrix("ffn_gate", width, geometry.feedForward),
                    up: try matrix("ffn_up", width, geometry.feedForward),
                    down: try matrix("ffn_down", geometry.feedForward, width)))
        }
        self.layers = layers
        outputNorm = try norm("output_norm.weight")
        // Tied embeddings: the file has no output matrix of its own.
        let outputName = weights.has("output.weight") ? "output.weight" : "token_embd.weight"
        output = try weights.matrix(outputName, columns: width, rows: geometry.vocabulary)
    }
}
