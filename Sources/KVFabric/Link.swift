/// K and V rows (absolute positions) of one layer.
package struct Segment: Sendable, Equatable, CustomStringConvertible {
    package var layer: Int
    package var rows: Range<Int>

    package init(layer: Int, rows: Range<Int>) {
        self.layer = layer
        self.rows = rows
    }

    package var description: String { "rows \(rows.lowerBound)..<\(rows.upperBound) of layer \(layer)" }
}

/// The way of KV-cache segments from one rank to the next: point to point, in order, one sender and one receiver at a
/// time.
///
/// The sender runs ahead as far as the link's buffer goes, then waits. Deadlines are on ``MonotonicClock``.
/// Neither call allocates, save errors.
package protocol Link: AnyObject, Sendable {
    /// Hands over a segment; returns as soon as the buffers may be written again.
    ///
    /// key and value: the bytes of exactly segment.rows, contiguous.
    /// - Throws: `.deadline`, `.interrupted`, `.peerGone`.
    func send(
        _ segment: Segment, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, deadline: UInt64,
        interrupt: Interrupt
    ) throws(FabricError)

    /// Waits for the next segment, which has to be the one named.
    ///
    /// - Throws: `.protocolViolation` naming both if another one comes; `.deadline`, `.interrupted`, `.peerGone`.
    func receive(
        _ segment: Segment, key: UnsafeMutableRawBufferPointer, value: UnsafeMutableRawBufferPointer,
        deadline: UInt64, interrupt: Interrupt
    ) throws(FabricError)

    /// Makes this process the sender or the receiver of the next run, where several processes have the link. Needless in one process.
    func take(_ end: LinkEnd)

    /// Drops what an interrupted run left. Between runs, when neither side is active.
    func reset() throws(FabricError)

    /// Payload bytes handed over so far, also when only described.
    var bytesSent: UInt64 { get }
}

/// The two ends of a link.
package enum LinkEnd: Sendable {
    case sender, receiver
}
