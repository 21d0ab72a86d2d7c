/// The buffers of a forward pass. `hidden` and `query` hold a rank's whole chunk, the others one piece of it.
package enum Activation: Int, Sendable, CaseIterable {
    case hidden, normed, query, key, value, attended, gate, up, logits
    /// What a block adds to hidden, where that is normalised or weighed first.
    case update
    /// Scores of the experts, and of the one that all tokens share.
    case router, sharedWeight
    /// Rows of tokens by expert: what an expert gets, its feed-forward block's inner rows, and what comes out.
    case expertInput, expertGate, expertUp, expertOutput
}

extension Activation {
    /// It holds a rank's whole chunk, not a piece of it.
    package var isChunkWide: Bool { self == .hidden || self == .query }

    /// Rows and columns of a buffer for chunks and pieces of so many tokens.
    package func extent(_ geometry: Geometry, chunk: Int, piece: Int) -> (rows: Int, width: Int) {
        // Each token's row once for each of its experts.
        let rows = piece * (geometry.experts?.used ?? 0)
        return switch self {
        case .hidden: (chunk, geometry.embedding)
        case .query: (chunk, geometry.queryWidth)
        case .normed: (piece, geometry.embedding)
        case .key, .value: (piece, geometry.keyValueWidth)
        case .attended: (piece, geometry.queryWidth)
        case .gate, .up: (piece, geometry.feedForward)
        // Two rows: see CPUOperations.project.
        case .logits: (2, geometry.vocabulary)
        case .update: (piece, geometry.embedding)
        case .router: (piece, geometry.experts?.count ?? 0)
        case .sharedWeight: (piece, 1)
        case .expertInput: (rows, geometry.embedding)
        case .expertGate, .expertUp: (rows, geometry.experts?.feedForward ?? 0)
        case .expertOutput: (rows, geometry.embedding)
        }
    }
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
    /// x as it is.
    case identity
}

/// What a feed-forward block's gate goes through before it is multiplied.
package enum Gate: Sendable {
    case silu
    /// GELU in its tanh form.
    case geluTanh
}

/// What a feed-forward block without a gate goes through.
package enum Nonlinearity: Sendable {
    /// The exact one.
    case gelu
    case geluTanh
}

/// What a product is multiplied by before it is added.
package enum Weighting: Sendable {
    case constant(Float)
    /// The constant times the sigmoid of the token's `sharedWeight`.
    case sigmoid(Float)
}

/// What logits go through at last: multiplied, then capped.
package struct LogitShape: Sendable {
    package var scale: Float = 1
    /// softcap · tanh(x / softcap); 0: they stay.
    package var softcap: Float = 0

    package init() {}
}

/// The experts of a layer: feed-forward blocks of which each token uses those few that its router scores highest, weighed by the softmax of
/// the scores.
package struct Experts: Sendable {
    /// Normed rows to `router` and, where the shared expert is weighed, `sharedWeight`; in float whatever the activations.
    package let router: [Projection]
    package let gate, up, down: [Matrix]
    /// Some expert's gate or up takes float activations: each expert has types of its own.
    package let takesFloat: Bool
    /// Of each token.
    package let used: Int
    /// The weights of the chosen sum to 1; otherwise those of all experts do.
    package let renormalises: Bool
    /// Of all weights.
    package let scale: Float

    package init(
        router: [Projection], gate: [Matrix], up: [Matrix], down: [Matrix], used: Int, renormalises: Bool, scale: Float
    ) {
        self.router = router
        self.gate = gate
        self.up = up
        self.down = down
        takesFloat = (gate + up).contains { !$0.quantised }
        self.used = used
        self.renormalises = renormalises
        self.scale = scale
    }

    package var count: Int { gate.count }
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
    /// hidden = scale · the tokens' rows of `table`.
    func embed(_ table: Table, scaledBy scale: Float) throws(Stopped)
    /// output = norm(input).
    func normalise(_ input: Activation, by norm: Norm, into output: Activation) throws(Stopped)
    /// output += norm(input); the input is lost.
    func normalise(_ input: Activation, by norm: Norm, addingTo output: Activation) throws(Stopped)
    /// Each head of `query` or `key` = norm(head), in place. The norm's weights are one head's, or each head's own.
    func normaliseHeads(of activation: Activation, by norm: Norm) throws(Stopped)
    /// Each projection's output = its matrix · input. Wherever a matrix has a bias, its products have it too.
    func multiply(_ input: Activation, by projections: [Projection]) throws(Stopped)
    /// output = matrix · input.
    func multiply(_ input: Activation, by matrix: Matrix, into output: Activation) throws(Stopped)
    /// output += weight · (matrix · input).
    func multiply(_ input: Activation, by matrix: Matrix, weighted: Weighting, addingTo output: Activation) throws(Stopped)
    /// Rotary embedding of every head of `query` or `key`, in place, by one of the geometry's rotaries.
    func rotate(_ activation: Activation, by rotary: Int) throws(Stopped)
    /// Writes key and value of the piece to the cache's rows of `layer`.
    func append(layer: Int) throws(Stopped)
    /// attended = causal attention of `query` over the cache's rows of `layer`, as far as the geometry's window for it reaches.
    func attend(layer: Int) throws(Stopped)
    /// gate = form(gate · input) · (up · input), a feed-forward block's SwiGLU or GeGLU; both matrices have the same shape.
    func multiplyGated(_ input: Activation, gate: Matrix, up: Matrix, _ form: Gate) throws(Stopped)
    /// gate = form(up · input), the feed-forward block's without a gate.
    func multiplyActivated(_ input: Activation, up: Matrix, _ form: Nonlinearity) throws(Stopped)
    /// Chooses each token's experts by `router`, and brings its row of the input through the gated half of their blocks.
    func multiply(_ input: Activation, by experts: Experts) throws(Stopped)
    /// output += scale · the weighted sum of the chosen experts' blocks, in the order of their scores.
    func addExperts(_ experts: Experts, scaledBy scale: Float, to output: Activation) throws(Stopped)
    /// Drops all tokens whose logits nobody asked for.
    func keepLogitsTokens()
    /// The tokens' logits = shape(matrix · input).
    func project(_ input: Activation, by matrix: Matrix, shape: LogitShape) throws(Stopped)
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
