import Foundation

/// Something that can be repeated and timed.
struct Work {
    /// Billions of multiply-accumulates or bytes of one repetition.
    let amount: Double
    /// Repeats and returns the seconds that took.
    let seconds: (Int) throws -> Double

    /// Work of the calling thread alone, by its CPU time: other programs' turns do not count.
    static func ofThread(_ amount: Double, _ body: @escaping () -> Void) -> Work {
        Work(amount: amount) { count in
            let start = threadTime()
            for _ in 0..<count { body() }
            return threadTime() - start
        }
    }

    static func threadTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
    }
}

/// Medians over the rounds; rates in billions a second.
struct Rates {
    let kernel: Double
    let ceiling: Double?
    let share: Double?
}

/// How long and how often is measured.
struct Sampling {
    let rounds: Int
    /// What one sample takes at least.
    let seconds: Double

    /// The kernel between two samples of its ceiling in each round: the share is of the ceiling of that moment.
    func rates(_ kernel: Work, ceiling: Work?) throws -> Rates {
        let kernelCount = try repetitions(kernel)
        guard let ceiling else {
            let rates = try (0..<rounds).map { _ in try rate(kernel, kernelCount) }
            return Rates(kernel: Self.median(rates), ceiling: nil, share: nil)
        }
        let ceilingCount = try repetitions(ceiling)
        var before = try rate(ceiling, ceilingCount)
        var rates = [Double](), ceilings = [before], shares = [Double]()
        for _ in 0..<rounds {
            let rate = try rate(kernel, kernelCount)
            let after = try self.rate(ceiling, ceilingCount)
            rates.append(rate)
            ceilings.append(after)
            shares.append(rate / ((before + after) / 2))
            before = after
        }
        return Rates(kernel: Self.median(rates), ceiling: Self.median(ceilings), share: Self.median(shares))
    }

    private func rate(_ work: Work, _ count: Int) throws -> Double {
        work.amount * Double(count) / max(try work.seconds(count), 1e-9)
    }

    /// Repetitions that take long enough; they warm caches and branch predictors up, too.
    private func repetitions(_ work: Work) throws -> Int {
        var count = 1
        while true {
            let taken = try work.seconds(count)
            if taken >= seconds { return count }
            // Not at once to what one short sample promises: it may be wrong by far.
            count = max(count + 1, Int(Double(count) * min(16, 1.1 * seconds / max(taken, 1e-9))))
        }
    }

    static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}
