/// The sizes that buffers, cache and plans are made from, and what attention does alike for all strategies.
package struct Geometry: Sendable, Equatable {
    /// Feed-forward blocks of which each token uses a few.
    package struct Experts: Sendable, Equatable {
        package var count: Int
        /// Of each token.
        package var used: Int
        /// Of one expert.
        package var feedForward: Int

        package init(count: Int, used: Int, feedForward: Int) {
            self.count = count
            self.used = used
            self.feedForward = feedForward
        }
    }

    package var layers: Int
    package var embedding: Int
    package var heads: Int
    package var keyValueHeads: Int
    package var headDimension: Int
    /// Of the blocks that every token goes through; the experts' where there are no such.
    package var feedForward: Int
    package var vocabulary: Int
    /// Tokens the model was trained for.
    package var contextLength: Int
    /// The rotary embeddings that layers choose from; the first is the model's own. All have the same pairing.
    package var rotaries: [Rotary]
    /// Elements of a key are another order of Hugging Face's: adjacent pairs where that has halves.
    package var interleavesKeys: Bool
    /// Of the scores.
    package var attentionScale: Float
    /// Scores s become softcap · tanh(s / softcap); 0: they stay.
    package var attentionSoftcap: Float = 0
    /// The most keys that a token sees, by layer, 0 for all; empty: no layer has a window.
    package var windows: [Int] = []
    package var experts: Experts?

    package var rotary: Rotary { rotaries[0] }
    /// Query heads that share one key/value head.
    package var group: Int { heads / keyValueHeads }
    package var queryWidth: Int { heads * headDimension }
    /// Elements of one position's keys (or values) in one layer.
    package var keyValueWidth: Int { keyValueHeads * headDimension }

    package func window(_ layer: Int) -> Int { windows.isEmpty ? 0 : windows[layer] }

    /// Rows of the feed-forward matrices that a token meets in a layer, as far as all layers are alike: for estimates.
    package var activeFeedForward: Int { experts.map { $0.used * $0.feedForward } ?? feedForward }
}
