import CKVKernels

/// One of a token's experts, and what its block counts.
package struct ExpertChoice: Equatable {
    package var expert: Int32
    package var weight: Float

    package init(expert: Int32, weight: Float) {
        self.expert = expert
        self.weight = weight
    }
}

/// A piece's tokens by expert, as one worker sees them: rows of `expertInput` and what follows from it. An expert's rows are one run, its
/// tokens ascending, so that its matrices are read once for all of them.
package struct ExpertRoutes {
    typealias Offsets = (first: Int, token: Int, row: Int)

    let experts: Int
    let used: Int
    /// [experts + 1]: where each expert's rows begin.
    let first: UnsafeMutablePointer<Int32>
    /// [rows]: whose row it is, as a token of the piece.
    let token: UnsafeMutablePointer<Int32>
    /// [tokens, used]: where a token's rows are, in the order of its experts' scores.
    let row: UnsafeMutablePointer<Int32>

    static func reserve(_ experts: Geometry.Experts, tokens: Int, in layout: inout Layout) -> (Geometry.Experts, Offsets) {
        let rows = tokens * experts.used * MemoryLayout<Int32>.stride
        let first = layout.reserve((experts.count + 1) * MemoryLayout<Int32>.stride)
        return (experts, (first, layout.reserve(rows), layout.reserve(rows)))
    }

    init(_ base: UnsafeMutableRawPointer, _ place: (experts: Geometry.Experts, offsets: Offsets)) {
        experts = place.experts.count
        used = place.experts.used
        first = (base + place.offsets.first).assumingMemoryBound(to: Int32.self)
        token = (base + place.offsets.token).assumingMemoryBound(to: Int32.self)
        row = (base + place.offsets.row).assumingMemoryBound(to: Int32.self)
    }

    func rows(of expert: Int) -> Range<Int> { Int(first[expert])..<Int(first[expert + 1]) }

    /// Sorts the tokens' choices, [tokens, used], by expert.
    func sort(_ choices: UnsafePointer<ExpertChoice>, tokens: Int) {
        for expert in 0...experts { first[expert] = 0 }
        for choice in 0..<tokens * used { first[Int(choices[choice].expert) + 1] += 1 }
        for expert in 0..<experts { first[expert + 1] += first[expert] }
        // `first` runs ahead while rows are given out, and is set back at the end.
        for choice in 0..<tokens * used {
            let expert = Int(choices[choice].expert)
            row[choice] = first[expert]
            token[Int(first[expert])] = Int32(choice / used)
            first[expert] += 1
        }
        for expert in stride(from: experts, to: 0, by: -1) { first[expert] = first[expert - 1] }
        first[0] = 0
    }

    /// The experts of highest score, with their softmax; of equals the first. Sums go by rank, or by the expert's number: the same bits
    /// whoever computes it.
    /// - Parameters:
    ///   - scores: [count].
    ///   - renormalises: the weights of the chosen sum to 1; otherwise those of all do.
    ///   - chosen: [used].
    package static func choose(
        _ scores: UnsafePointer<Float>, of count: Int, used: Int, renormalises: Bool,
        into chosen: UnsafeMutablePointer<ExpertChoice>
    ) {
        for rank in 0..<used {
            var best = -1
            for expert in 0..<count {
                let isTaken = (0..<rank).contains { chosen[$0].expert == Int32(expert) }
                if !isTaken, best < 0 || scores[expert] > scores[best] { best = expert }
            }
            chosen[rank] = ExpertChoice(expert: Int32(best), weight: 0)
        }
        // No score is above the first chosen one's.
        let largest = scores[Int(chosen[0].expert)]
        var sum: Float = 0
        if renormalises {
            for rank in 0..<used { sum += ckv_exp(scores[Int(chosen[rank].expert)] - largest) }
        } else {
            for expert in 0..<count { sum += ckv_exp(scores[expert] - largest) }
        }
        for rank in 0..<used { chosen[rank].weight = ckv_exp(scores[Int(chosen[rank].expert)] - largest) / sum }
    }
}
