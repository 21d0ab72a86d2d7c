import Dispatch
import KVModel

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// How well a model predicts a text: exp of the mean negative log-likelihood, in the chunks of llama.cpp's `llama-perplexity`.
///
/// The text's tokens are cut into windows of `context` tokens, each computed on its own; the second half of a window is scored
/// (every token from there on has at least half a window before it). A model that wants a BOS finds it in the place of each window's
/// first token.
package struct Perplexity: Sendable {
    package let context: Int
    /// Negative log-likelihoods' sum and sum of squares, in nats, over `count` tokens.
    package private(set) var sum = 0.0
    package private(set) var squares = 0.0
    package private(set) var count = 0

    /// - Throws: `EngineError` (request) for windows that have no half.
    package init(context: Int) throws(EngineError) {
        guard context >= 4 else { throw EngineError(.request, "the context is \(context); perplexity needs 4 or more") }
        self.context = context
    }

    package var value: Double { exp(sum / Double(count)) }

    /// Standard error of `value`, to first order.
    package var error: Double {
        let mean = sum / Double(count)
        let variance = squares / Double(count) - mean * mean
        return count > 1 && variance > 0 ? value * (variance / Double(count - 1)).squareRoot() : 0
    }

    /// The windows of a text.
    /// - Throws: `EngineError` (request) for a text of less than two windows, as `llama-perplexity`.
    package func windows(of tokens: [Int32], beginning: Int32?, limit: Int?) throws(EngineError) -> [[Int32]] {
        guard tokens.count >= 2 * context else {
            throw EngineError(
                .request, "the text has \(tokens.count) tokens; perplexity with a context of \(context) needs \(2 * context)")
        }
        return (0..<min(tokens.count / context, limit ?? .max)).map { index in
            var window = Array(tokens[index * context..<(index + 1) * context])
            if let beginning { window[0] = beginning }
            return window
        }
    }

    /// Scores one window.
    /// - Parameter logits: [context, vocabulary], of every token of the window.
    package mutating func add(_ window: [Int32], _ logits: UnsafeBufferPointer<Float>) {
        let vocabulary = logits.count / context
        let first = context / 2
        let scored = context - 1 - first
        var terms = [Double](repeating: 0, count: scored)
        terms.withUnsafeMutableBufferPointer { terms in
            // Every iteration writes its own place.
            nonisolated(unsafe) let terms = terms
            nonisolated(unsafe) let logits = logits
            DispatchQueue.concurrentPerform(iterations: scored) { index in
                let row = logits[(first + index) * vocabulary..<(first + index + 1) * vocabulary]
                terms[index] = Self.negativeLogLikelihood(of: window[first + index + 1], UnsafeBufferPointer(rebasing: row))
            }
        }
        for term in terms {
            sum += term
            squares += term * term
        }
        count += scored
    }

    /// −ln softmax(logits)[token].
    package static func negativeLogLikelihood(of token: Int32, _ logits: UnsafeBufferPointer<Float>) -> Double {
        let largest = logits.reduce(-Float.infinity) { max($0, $1) }
        var total = 0.0
        for logit in logits { total += Double(exp(logit - largest)) }
        return Double(largest) + log(total) - Double(logits[Int(token)])
    }
}

extension Ranks {
    /// Computes and scores windows one after the other.
    /// - Parameter progress: told of the windows done and the estimate so far; what it throws ends the measurement.
    /// - Throws: `EngineError`, and what `progress` throws.
    package func perplexity(
        _ windows: [[Int32]], into perplexity: inout Perplexity, progress: (Int, Perplexity) throws -> Void
    ) throws {
        let vocabulary = model.geometry.vocabulary
        let logits = UnsafeMutableBufferPointer<Float>.allocate(capacity: perplexity.context * vocabulary)
        defer { logits.deallocate() }
        for (index, window) in windows.enumerated() {
            _ = try prefill(window, allLogits: logits.baseAddress)
            try refuseNonFinite(UnsafeBufferPointer(logits))
            perplexity.add(window, UnsafeBufferPointer(logits))
            try progress(index + 1, perplexity)
        }
    }
}
