#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Rotary position embedding: which angle each pair of a head is turned by at each position.
package struct Rotary: Sendable, Equatable {
    package enum Scaling: Sendable, Equatable {
        case none
        /// All angles divided by the factor.
        case linear(factor: Double)
        /// YaRN (Peng et al. 2023): low frequencies interpolated, high ones kept, a ramp between, and a larger magnitude, 1 + 0.1 ln(factor).
        case yarn(factor: Double, original: Int, betaFast: Double, betaSlow: Double)
    }
    package enum Pairing: Sendable, Equatable {
        /// Elements 2i and 2i+1 (llama's GGUF order).
        case adjacent
        /// Elements i and i + dimension/2 (Hugging Face's order).
        case halves
    }
    /// Elements of a head that are turned (the rest stay).
    package var dimension: Int
    package var base: Double
    package var scaling: Scaling
    package var pairing: Pairing
    /// Divisors of the frequencies (`rope_freqs.weight`, `rope_factors_short.weight`), empty for none.
    package var factors: [Float]
    /// The same for contexts above `original` positions (LongRoPE, `rope_factors_long.weight`); empty where all contexts are alike.
    package var longFactors: [Float] = []
    package var original = 0
    /// Of all sines and cosines, beside what the scaling brings.
    package var magnitude = 1.0

    package init(dimension: Int, base: Double, scaling: Scaling, pairing: Pairing, factors: [Float]) {
        self.dimension = dimension
        self.base = base
        self.scaling = scaling
        self.pairing = pairing
        self.factors = factors
    }

    package var pairs: Int { dimension / 2 }

    /// Cosine and sine, alternating: [positions, pairs, 2], `positions` being the context. Frequencies are rounded to float32 as the
    /// reference implementations do; the rest is double. Cost: two trigonometric calls per position and pair.
    package func angles(positions: Int, into out: UnsafeMutablePointer<Float>) {
        let (frequencies, scale) = frequencies(positions)
        let magnitude = magnitude * scale
        for position in 0..<positions {
            let row = out + position * pairs * 2
            for pair in 0..<pairs {
                let angle = Double(position) * frequencies[pair]
                row[2 * pair] = Float(cos(angle) * magnitude)
                row[2 * pair + 1] = Float(sin(angle) * magnitude)
            }
        }
    }

    /// Whether the factors for long contexts are those of this one; nil where all contexts are alike.
    package func isLong(_ context: Int) -> Bool? { longFactors.isEmpty ? nil : context > original }

    /// Everything that the angles of a context are computed from, as bits.
    package func parameters(_ context: Int) -> [UInt64] {
        let (frequencies, scale) = frequencies(context)
        return [UInt64(dimension), pairing == .adjacent ? 0 : 1, (magnitude * scale).bitPattern] + frequencies.map(\.bitPattern)
    }

    /// What YaRN multiplies sines and cosines by.
    static func yarnMagnitude(_ factor: Double) -> Double { 1 + 0.1 * max(0, log(factor)) }

    /// The turn per position of each pair, and the factor of all sines and cosines.
    private func frequencies(_ context: Int) -> ([Double], Double) {
        let factors = !longFactors.isEmpty && context > original ? longFactors : factors
        let plain = (0..<pairs).map { pair -> Double in
            let frequency = Double(Float(1.0 / pow(base, Double(2 * pair) / Double(dimension))))
            return factors.isEmpty ? frequency : Double(Float(frequency) / factors[pair])
        }
        switch scaling {
        case .none:
            return (plain, 1)
        case .linear(let factor):
            return (plain.map { $0 / factor }, 1)
        case .yarn(let factor, let original, let betaFast, let betaSlow):
            // The pair that turns `beta` times over the original context.
            func boundary(_ beta: Double) -> Double {
                Double(dimension) * log(Double(original) / (beta * 2 * Double.pi)) / (2 * log(base))
            }
            let low = max(0, floor(boundary(betaFast)))
            let high = min(Double(dimension - 1), ceil(boundary(betaSlow)))
            let scaled = plain.enumerated().map { pair, frequency -> Double in
                let ramp = min(1, max(0, (Double(pair) - low) / max(0.001, high - low)))
                return frequency * (1 - ramp) + frequency / factor * ramp
            }
            return (scaled, Self.yarnMagnitude(factor))
        }
    }
}
