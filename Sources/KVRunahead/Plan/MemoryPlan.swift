import Foundation
import KVModel

/// What a configuration takes in memory, known before anything is loaded.
public struct MemoryPlan: Sendable {
    /// Where the weights lie: never `auto`.
    public let mode: Configuration.Memory
    /// Bytes of the repacked weights, of all copies.
    public let weights: Int
    /// Bytes of all ranks' KV-caches.
    public let caches: Int
    /// Bytes of all ranks' and decode's scratch.
    public let arenas: Int
    /// Bytes of the rings between ranks.
    public let rings: Int
    /// Bytes that the machine (and the control group) can still give; nil when unknown.
    public let available: Int?
    /// The same for each node that ranks are on; empty where no node is chosen.
    public let nodes: [Node]
    /// Bytes that earlier prompts' keys and values may take, beside the rest.
    public internal(set) var prompts = 0

    /// What a node is to hold.
    public struct Node: Sendable {
        public let id: Int
        public let weights: Int
        public let caches: Int
        public let arenas: Int
        public let rings: Int
        /// Bytes that are free on it, or hold pages of files that the kernel gives up.
        public let available: Int

        public var total: Int { weights + caches + arenas + rings }
        package var fits: Bool { total <= available }
        var text: String { "node \(id) needs \(MemoryPlan.text(total)) and has \(MemoryPlan.text(available)) free" }
    }

    public var total: Int { weights + caches + arenas + rings }

    package var fits: Bool { total <= available ?? .max && nodes.allSatisfy(\.fits) }

    /// The nodes that lack memory, in words.
    package var shortage: String { nodes.filter { !$0.fits }.map(\.text).joined(separator: ", ") }

    /// - Throws: `EngineError` (memory) saying what is needed and what there is, on which node.
    package func check() throws(EngineError) {
        let parts =
            "weights \(Self.text(weights)), KV-cache \(Self.text(caches)), scratch \(Self.text(arenas)), rings \(Self.text(rings))"
        if let available, total > available {
            throw EngineError(
                .memory,
                "needs \(Self.text(total)) (\(parts)), has \(Self.text(available))" + (shortage.isEmpty ? "" : "; \(shortage)")
                    + "; a smaller context (-c), fewer ranks or an f16 cache takes less")
        }
        // One copy's pages may come from elsewhere; a copy that is asked for on each node may not.
        guard mode == .mirror, !shortage.isEmpty else { return }
        throw EngineError(
            .memory,
            "a copy of the weights on every node (--memory mirror) does not fit: \(shortage); --memory interleave takes less")
    }

    /// "1.5 GiB".
    public static func text(_ bytes: Int) -> String {
        var value = Double(bytes)
        for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
            if value < 1024 { return unit == "B" ? "\(bytes) B" : String(format: "%.1f %@", value, unit) }
            value /= 1024
        }
        return String(format: "%.1f PiB", value)
    }

    // MARK: Earlier prompts

    /// What earlier prompts may take unless told otherwise.
    package static let usualPromptMemory = 1 << 30
    /// What the program takes beside the plan: tokenizer, texts, the pages of its code that it needs all the time.
    package static let programMemory = 32 << 20

    /// Bytes that earlier prompts' keys and values may take, of what the rest leaves.
    /// - Parameter asked: nil: as much as is usual or left; `Int.max`: all that is left.
    /// - Returns: the bytes, and what the user should know of them.
    /// - Throws: `EngineError`: request for a negative number, memory for one that does not fit.
    func prompts(_ asked: Int?) throws(EngineError) -> (bytes: Int, notice: String?) {
        guard (asked ?? 0) >= 0 else {
            throw EngineError(.request, "the memory for earlier prompts is \(asked ?? 0) bytes; it must be 0 or more")
        }
        guard let available else { return (asked ?? Self.usualPromptMemory, nil) }
        let left = max(0, available - total - Self.programMemory)
        if let asked, asked < .max {
            guard asked <= left else {
                throw EngineError(
                    .memory,
                    "\(Self.text(asked)) for earlier prompts (--cache-ram) do not fit: of \(Self.text(available)) the model takes "
                        + "\(Self.text(total)), which leaves \(Self.text(left))")
            }
            return (asked, nil)
        }
        let wish = asked ?? Self.usualPromptMemory
        guard left < wish else { return (wish, nil) }
        let notice =
            "earlier prompts are kept in \(Self.text(left)), which is what is left of \(Self.text(available)) (--cache-ram)"
        return (left, asked == nil ? notice : nil)
    }
}
