import KVModel

extension Ranks {
    /// Positions that a prompt has in common with what was computed before.
    struct Beginning {
        /// Fewer than the prompt's tokens: the last one's logits are to be computed.
        let count: Int
        /// Where they are; nil: in the sequence at hand.
        let entry: PromptStore.Entry?
    }

    /// The longest beginning of a prompt that the sequence at hand or an earlier prompt has; nil where there is none.
    func beginning(of tokens: [Int32]) -> Beginning? {
        let live = min(PromptStore.common(sequence, tokens), tokens.count - 1)
        if let stored = prompts.longest(of: tokens), min(stored.common, tokens.count - 1) > live {
            return Beginning(count: min(stored.common, tokens.count - 1), entry: stored.entry)
        }
        return live > 0 ? Beginning(count: live, entry: nil) : nil
    }

    /// Keeps the sequence at hand where the next prompt will leave less than half of it, and brings the prompt's beginning into the cache of the
    /// rank that computes first: along the chain it goes on to the others. Between runs.
    /// - Complexity: at most two copies of rows, and what devices' ones take.
    func bring(_ beginning: Beginning?, from holder: Rank, into target: Rank) throws(EngineError) {
        let stays = beginning?.entry == nil ? beginning?.count ?? 0 : 0
        // A few tokens that are lost cost less than a copy of all would.
        if 2 * stays < length, prompts.hasRoom(for: length, of: holder.cache) { prompts.keep(sequence, of: try cache) }
        guard let beginning else { return }
        if let entry = beginning.entry {
            prompts.restore(entry, count: beginning.count, into: target.cache)
        } else if !target.sharesCache(with: holder) {
            let source = try cache
            if target.cache !== source { target.cache.copy(source, positions: beginning.count) }
        } else {
            return
        }
        try target.device?.upload(0..<beginning.count)
    }

    // MARK: Files

    private func file(_ path: String) -> PromptFile {
        PromptFile(path: path, origin: promptOrigin)
    }

    /// Takes up the prompt of a file.
    /// - Returns: how many tokens it has; 0 where there is no file.
    /// - Throws: `EngineError` (request) saying why the file is not used.
    package func restorePrompt(from path: String) throws(EngineError) -> Int {
        let entry: PromptStore.Entry?
        do {
            entry = try file(path).load(limit: contextLength)
        } catch { throw EngineError(.request, error.description) }
        guard let entry else { return 0 }
        if length == 0 {
            // Now, so that the first prompt need not wait for it.
            prompts.restore(entry, count: entry.tokens.count, into: ranks[0].cache)
            try ranks[0].device?.upload(0..<entry.tokens.count)
            try adopt(entry.tokens)
        } else {
            prompts.add(entry)
        }
        return entry.tokens.count
    }

    /// Writes the sequence at hand to a file; nothing where there is none.
    /// - Throws: `EngineError` (system) where it cannot be written.
    package func savePrompt(to path: String) throws(EngineError) {
        guard length > 0 else { return }
        let cache = try cache
        do { try file(path).save(sequence, of: cache) } catch { throw EngineError(.system, error.description) }
    }
}
