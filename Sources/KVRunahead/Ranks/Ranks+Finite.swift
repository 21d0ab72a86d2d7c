import KVGGUF
import KVModel

/// Logits that are no numbers: nothing can be sampled from them, and nothing that is computed on would be one.
extension Ranks {
    /// - Parameter logits: of the sequence at hand, of one token or several.
    /// - Throws: `EngineError` (numbers) for NaN or infinite ones; with `Configuration.locatesNonFinite` it names the first layer behind which
    ///   there are such values, which takes another prompt phase. The sequence is lost, the ranks stay usable.
    func refuseNonFinite(_ logits: UnsafeBufferPointer<Float>) throws(EngineError) {
        guard !logits.isFinite else { return }
        let width = model.geometry.vocabulary
        let rows = 0..<logits.count / width
        let row = rows.first { !UnsafeBufferPointer(rebasing: logits[$0 * width..<($0 + 1) * width]).isFinite } ?? 0
        let position = logits.count > width ? row : length - 1
        let text = "\(model.file.path): the logits of position \(position) are not finite (NaN or infinite)"
        guard configuration.locatesNonFinite else {
            try forget()
            throw EngineError(.numbers, "\(text); -v names the first layer where that appears")
        }
        let found = try locate()
        try forget()
        throw EngineError(.numbers, "\(text); \(found.text)", layer: found.layer)
    }

    /// Computes the sequence once more and looks behind every layer.
    private func locate() throws(EngineError) -> (text: String, layer: Int?) {
        if isOnDevices { return ("on devices the layer where that appears is not looked for", nil) }
        isLocating = true
        defer { isLocating = false }
        _ = try prefill(sequence)
        switch (ranks + [station.together].compactMap(\.self)).compactMap({ $0.arena.faultyLayer }).min() {
        case nil: return ("they are so behind the last layer only: in the output norm or matrix", nil)
        case .some(-1): return ("so are the embeddings of its tokens, before the first layer", nil)
        case let layer?: return ("values that are no numbers first appear in layer \(layer) of \(model.geometry.layers)", layer)
        }
    }
}
