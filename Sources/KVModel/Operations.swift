/// The buffers of a forward pass. `hidden` and `query` hold a rank's whole chunk, the others one piece of it.
package enum Activation: Int, Sendable, CaseIterable {
    case hidden, normed, query, key, value, attended, gate, up, logits
}

/// A matrix and where its products go.
package struct Projection: Sendable {
    package let matrix: Matrix
    package let output: Activation

    package init(_ matrix: Matrix, _ output: Activation) {
        self.matrix = matrix
        self.output = output
    }
}

/// How tokens' rows are brought to one size.
package enum Norm: Sendable {
    /// x / √(mean of x²) · weight.
    case rootMeanSquare(weight: Vector, epsilon: Float)
    /// (x − mean) / √variance · weight + bias.
    case layer(weight: Vector, bias: Vector, epsilon: Float)
}

/// What an architecture may ask for. A rank's tokens (its chunk) are handled in pieces, so that scratch stays in the cache whatever the chunk.
/// Every worker of a team makes the same calls in the same order; the implementation splits each one's work and orders them.
package protocol Operations: AnyObject {
    /// Pieces that the chunk is handled in; 0 when no token is left (see `keepLogitsTokens`).
    var pieces: Int { get }
    /// True when only the prompt's last token needs more than keys and values in the last layer (last-layer pruning).
    var prunesLastLayer: Bool { get }
    /// Makes piece `index` the one that the following operations work on.
    func begin(piece index: Int)
    /// hidden = the tokens' rows of `table`.
    func embed(_ table: Table) throws(Stopped)
    /// output = norm(input).
    func normalise(_ input: Activation, by norm: Norm, into output: Activation) throws(Stopped)
    /// Each projection's output = its matrix · input. Wherever a matrix has a bias, its products have it too.
    func multiply(_ input: Activation, by projections: [Projection]) throws(Stopped)
    /// output += matrix · input.
    func multiply(_ input: Activation, by matrix: Matrix, addingTo output: Activation) throws(Stopped)
    /// Rotary embedding of every head of `query` or `key`, in place.
    func rotate(_ activation: Activation) throws(Stopped)
    /// Writes key and value of the piece to the cache's rows of `layer`.
    func append(layer: Int) throws(Stopped)
    /// attended = causal attention of `query` over the cache's rows of `layer`.
    func attend(layer: Int) throws(Stopped)
    /// gate = silu(gate · input) · (up · input), the feed-forward block's SwiGLU; both matrices have the same shape.
    func multiplyGated(_ input: Activation, gate: Matrix, up: Matrix) throws(Stopped)
    /// gate = gelu(up · input), the feed-forward block's without a gate.
    func multiplyActivated(_ input: Activation, up: Matrix) throws(Stopped)
    /// Drops all tokens whose logits nobody asked for.
    func keepLogitsTokens()
    /// The tokens' logits = matrix · input.
    func project(_ input: Activation, by matrix: Matrix) throws(Stopped)
    /// Waits until all of the team's workers have come here, with all that they wrote.
    func synchronise() throws(Stopped)
    /// The worker that this instance stands for, 0 being the one that speaks with other ranks.
    var worker: Int { get }
    /// The layer's span begins or ends (for progress and timeline).
    func mark(_ mark: LayerMark, layer: Int)
}

/// A moment in a layer, for progress and timeline.
package enum LayerMark: Sendable {
    case begin, projected, received, sent, end
}

/// The seam between a model and the ranks: how keys and values of other tokens get here. It sits between "own keys and values are in the
/// cache" and "attend": that is where KV-Runahead (paper section 3) hands segments on.
package protocol Attention: AnyObject {
    /// Makes every earlier token's keys and values of `layer` visible to the whole team, and hands the chunk's on.
    func exchange(layer: Int, on operations: any Operations) throws(Stopped)
    /// Attention of the piece's queries.
    func attend(layer: Int, on operations: any Operations) throws(Stopped)
}

extension Attention {
    package func attend(layer: Int, on operations: any Operations) throws(Stopped) {
        try operations.attend(layer: layer)
    }
}

/// All keys are the team's own: one rank, or decode.
package final class LocalAttention: Attention, Sendable {
    package init() {}
    package func exchange(layer: Int, on operations: any Operations) throws(Stopped) {}
}

/// One member of a team of workers that run the same operations.
package protocol Team: AnyObject, Sendable {
    var count: Int { get }
    /// Barrier of the whole team; throws when the run was interrupted or the wait's deadline passed.
    func synchronise(worker: Int) throws(Stopped)
}
