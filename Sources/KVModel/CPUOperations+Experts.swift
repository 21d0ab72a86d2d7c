import CKVKernels

/// Mixtures of experts. Every worker knows all tokens' experts and computes some rows of each expert's matrices, whose weights are thus read
/// once for a piece, by one worker. A token's sum goes by the order of its experts' scores.
extension CPUOperations {
    package func multiply(_ input: Activation, by experts: Experts) throws(Stopped) {
        guard let routes = arena.routes[worker] else { return }
        if piece.count == 1 {
            // A single token's experts are found by every worker for itself, and get its row where it is.
            try enter(.whole, reads: .init(.router), writes: [])
            choose(experts, piece, into: ownChoices)
            routes.sort(ownChoices, tokens: 1)
        } else {
            try enter(.tokens, reads: .init(.router), writes: .choices)
            let share = share(piece.count)
            choose(experts, piece.lowerBound + share.lowerBound..<piece.lowerBound + share.upperBound, into: arena.choices)
            try enter(reads: [.choices, .init(input)], .whole, writes: .init(.expertInput), .whole)
            routes.sort(arena.choices, tokens: piece.count)
            gather(input, routes, experts)
        }
        let source = piece.count == 1 ? input : .expertInput
        try enter(.whole, reads: shared(source), writes: [.init(.expertGate), .init(.expertUp)])
        let work = piece.count * experts.used
        let groups = experts.gate[0].groups
        let blockGroups = Int(CKV_BLOCK / CKV_GROUP)
        let blocks = (groups + blockGroups - 1) / blockGroups
        // Blocks of rows, each as many times as its expert has tokens, one expert after another: this worker's part of them.
        let share = share(work * blocks)
        var start = 0
        for expert in 0..<experts.count {
            let rows = routes.rows(of: expert)
            if rows.isEmpty { continue }
            // Those blocks whose first row of all is in the share.
            let begin = max(0, (share.lowerBound - start + rows.count - 1) / rows.count)
            let end = min(blocks, max(0, (share.upperBound - start + rows.count - 1) / rows.count))
            start += rows.count * blocks
            if share.lowerBound >= start || begin >= end { continue }
            gated(experts, expert, rows, from: source, begin * blockGroups..<min(end * blockGroups, groups))
        }
    }

    /// Some groups of rows of an expert's gated half, for its tokens' rows.
    private func gated(_ experts: Experts, _ expert: Int, _ rows: Range<Int>, from source: Activation, _ groups: Range<Int>) {
        let from = source == .expertInput ? rows : 0..<rows.count
        // Some rows at a time, which are still in the cache when they are activated.
        for first in stride(from: groups.lowerBound, to: groups.upperBound, by: rows.count == 1 ? max(1, groups.count) : 8) {
            let part = first..<min(rows.count == 1 ? groups.upperBound : first + 8, groups.upperBound)
            product(source, from, experts.gate[expert], part, into: .expertGate, rows.lowerBound)
            product(source, from, experts.up[expert], part, into: .expertUp, rows.lowerBound)
            let columns = self.rows(experts.gate[expert], part)
            for row in rows {
                let gate = self.row(.expertGate, piece.lowerBound + row) + columns.lowerBound
                let up = self.row(.expertUp, piece.lowerBound + row) + columns.lowerBound
                table.pointee.silu_product(gate, up, columns.count, gate)
                quantise(.expertGate, piece.lowerBound + row, columns: columns)
            }
        }
    }

    package func addExperts(_ experts: Experts, scaledBy scale: Float, to output: Activation) throws(Stopped) {
        guard let routes = arena.routes[worker] else { return }
        let choices = piece.count == 1 ? ownChoices : arena.choices
        try enter(reads: [.init(.expertGate), .choices], .whole, writes: [.init(.expertOutput), .init(output)], .rows)
        let groups = share(experts.down[0].groups)
        let columns = rows(experts.down[0], groups)
        if columns.isEmpty { return }
        for expert in 0..<experts.count {
            let rows = routes.rows(of: expert)
            if !rows.isEmpty { product(.expertGate, rows, experts.down[expert], groups, into: .expertOutput, rows.lowerBound) }
        }
        for token in 0..<piece.count {
            let first = token * experts.used
            func part(_ choice: Int) -> UnsafeMutablePointer<Float> {
                row(.expertOutput, piece.lowerBound + Int(routes.row[choice])) + columns.lowerBound
            }
            // The sum is made in the first expert's row.
            let sum = part(first)
            self.scale(sum, 0..<columns.count, by: choices[first].weight)
            for choice in first + 1..<first + experts.used {
                table.pointee.add_scaled(part(choice), choices[choice].weight, columns.count, sum)
            }
            let target = row(output, piece.lowerBound + token) + columns.lowerBound
            table.pointee.add_scaled(sum, scale * experts.scale, columns.count, target)
        }
    }

    /// The choices of the piece's only token, which every worker makes for itself.
    private var ownChoices: UnsafeMutablePointer<ExpertChoice> { arena.ownChoices[worker] }

    /// The experts of some of the piece's tokens.
    private func choose(_ experts: Experts, _ tokens: Range<Int>, into choices: UnsafeMutablePointer<ExpertChoice>) {
        for token in tokens {
            ExpertRoutes.choose(
                row(.router, token), of: experts.count, used: experts.used, renormalises: experts.renormalises,
                into: choices + (token - piece.lowerBound) * experts.used)
        }
    }

    /// This worker's share of the rows that experts get, in the forms that their matrices take.
    private func gather(_ input: Activation, _ routes: ExpertRoutes, _ experts: Experts) {
        let target = arena[.expertInput]
        let source = buffer(input)
        let width = target.width
        let blocks = width / Int(CKV_BLOCK)
        for row in share(piece.count * experts.used) {
            let token = Int(routes.token[row])
            if experts.takesFloat { (target.floats + row * width).update(from: source.floats + token * width, count: width) }
            guard let values = target.values, let scales = target.scales, let sums = target.sums, let offsets = target.offsets,
                let sourceValues = source.values, let sourceScales = source.scales, let sourceSums = source.sums,
                let sourceOffsets = source.offsets
            else { continue }
            (values + row * width).update(from: sourceValues + token * width, count: width)
            (scales + row * blocks).update(from: sourceScales + token * blocks, count: blocks)
            (sums + row * blocks).update(from: sourceSums + token * blocks, count: blocks)
            (offsets + row * blocks).update(from: sourceOffsets + token * blocks, count: blocks)
        }
    }
}
