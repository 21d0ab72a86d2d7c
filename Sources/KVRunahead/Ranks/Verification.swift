package import KVModel

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// What a prompt computed by all ranks was found to have in common with the same prompt computed by one: everything.
public struct Verification: Sendable, Equatable {
    public let positions: Int
    public let layers: Int

    package init(positions: Int, layers: Int) {
        self.positions = positions
        self.layers = layers
    }

    /// The first place where two computations of a prompt part, in the order layer, keys, values, position, element; logits come last.
    package enum Difference: Sendable, Equatable, CustomStringConvertible {
        /// An element of a position's row of keys or values, as it is stored.
        case cache(layer: Int, position: Int, isValue: Bool, element: Int, found: Float, expected: Float)
        case logit(Int, found: Float, expected: Float)

        package var description: String {
            func text(_ value: Float) -> String { "\(value) (0x\(String(value.bitPattern, radix: 16)))" }
            switch self {
            case .cache(let layer, let position, let isValue, let element, let found, let expected):
                return "layer \(layer), position \(position), \(isValue ? "value" : "key") \(element): \(text(found)), "
                    + "alone \(text(expected))"
            case .logit(let index, let found, let expected): return "logit \(index): \(text(found)), alone \(text(expected))"
            }
        }
    }

    /// Compares bits: caches' first `positions` positions, then logits.
    /// - Returns: nil where all are equal. Caches of another geometry or element type are not to be compared.
    package static func difference(
        _ found: KVCache, _ expected: KVCache, positions: Int, logits: UnsafeBufferPointer<Float>,
        expectedLogits: UnsafeBufferPointer<Float>
    ) -> Difference? {
        for layer in 0..<found.geometry.layers {
            for isValue in [false, true] {
                let mine = isValue ? found.values(layer, 0..<positions) : found.keys(layer, 0..<positions)
                let theirs = isValue ? expected.values(layer, 0..<positions) : expected.keys(layer, 0..<positions)
                guard let offset = firstDifference(UnsafeRawBufferPointer(mine), UnsafeRawBufferPointer(theirs)) else { continue }
                let element = offset / found.type.bytes
                return .cache(
                    layer: layer, position: element / found.geometry.keyValueWidth, isValue: isValue,
                    element: element % found.geometry.keyValueWidth, found: found.type.float(mine, element),
                    expected: found.type.float(theirs, element))
            }
        }
        guard let offset = firstDifference(UnsafeRawBufferPointer(logits), UnsafeRawBufferPointer(expectedLogits)) else {
            return nil
        }
        let index = offset / MemoryLayout<Float>.size
        return .logit(index, found: logits[index], expected: expectedLogits[index])
    }

    /// Offset of the first byte that differs; both have the same size.
    private static func firstDifference(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int? {
        guard let first = a.baseAddress, let second = b.baseAddress, memcmp(first, second, min(a.count, b.count)) != 0 else {
            return nil
        }
        return a.indices.first { a[$0] != b[$0] }
    }
}

extension CacheType {
    fileprivate func float(_ elements: UnsafeMutableRawBufferPointer, _ index: Int) -> Float {
        switch self {
        case .f16: Float(halfBits: elements.load(fromByteOffset: 2 * index, as: UInt16.self))
        case .f32: elements.load(fromByteOffset: 4 * index, as: Float.self)
        }
    }
}

extension Ranks {
    /// Computes the prompt of the last prefill once more, by rank 0 alone, and compares every bit of the KV-cache and of the last token's
    /// logits. The sequence stays as it was; nothing may have been decoded since.
    ///
    /// Takes the time of a prompt on one rank, and memory for a KV-cache of the prompt.
    /// - Throws: `EngineError`: verification naming the first difference; memory; rank; cancelled.
    package func verify(_ tokens: [Int32], progress: () -> Void = {}) throws(EngineError) -> Verification {
        guard tokens.count == length else {
            throw EngineError(.request, "\(tokens.count) tokens to verify, \(length) computed")
        }
        guard !isOnDevices else {
            throw EngineError(.request, "--verify compares bits, which products of CUDA devices do not promise")
        }
        // Both may lie in rank 0's own memory, which it is to write to.
        let found = Array(logits)
        let computed = try cache
        let kept: KVCache
        do { kept = try KVCache(model.geometry, type: computed.type, capacity: length) } catch {
            throw EngineError(.memory, error.description)
        }
        kept.copy(computed, positions: length)
        let alone = [length] + [Int](repeating: 0, count: ranks.count - 1)
        _ = try prefill(tokens, strategy: .runahead, partition: .tokens(alone)) { _ in progress() }
        let expected = try cache
        let difference = found.withUnsafeBufferPointer {
            Verification.difference(kept, expected, positions: length, logits: $0, expectedLogits: logits)
        }
        if let difference { throw EngineError(.verification, "not what one rank computes: \(difference)") }
        return Verification(positions: length, layers: model.geometry.layers)
    }
}
