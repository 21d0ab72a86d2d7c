import KVFabric
import KVModel
import Synchronization

/// What all workers of a run share, of whatever process: the flag that ends it early, the reason, and how long a wait may take.
final class RunState: @unchecked Sendable {
    // Sendable by hand: the reason is written by whoever turns `claim` from 0 to 1, and read by those who see the 2 that comes after.
    /// Cache lines that it takes.
    static let lines = 10

    let interrupt: Interrupt
    private let lines: Lines
    private let limit: UInt64
    /// 0: no reason yet; 1: it is being written; 2: it is there.
    private let claim: SharedWord32
    private let base: UnsafeMutableRawPointer

    // The reason: its code's number, its length, its bytes.
    private static let codeAt = 4
    private static let lengthAt = 8
    // -1: none.
    private static let rankAt = 12
    private static let layerAt = 16
    private static let textAt = 20
    private static let capacity = (lines - 1) * CacheLine.bytes - textAt

    /// - Parameters:
    ///   - waitLimit: seconds.
    ///   - lines: `lines` of them.
    init(waitLimit: Double, in lines: Lines) {
        self.lines = lines
        interrupt = Interrupt(in: lines)
        base = lines.base + CacheLine.bytes
        claim = base.word32(at: 0)
        limit = UInt64(max(0.001, min(waitLimit, 1e9)) * 1e9)
    }

    /// When a wait that begins now must have ended.
    var deadline: UInt64 { MonotonicClock.now + limit }

    /// Ends the run; the first reason counts.
    func fail(_ error: EngineError) {
        if claim.pointee.compareExchange(expected: 0, desired: 1, ordering: .acquiringAndReleasing).exchanged {
            write(error)
            claim.pointee.store(2, ordering: .releasing)
        }
        interrupt.raise()
    }

    private func write(_ error: EngineError) {
        let code = EngineError.Code.allCases.firstIndex(of: error.code) ?? 0
        // A long one is cut, at a character's end.
        var text = error.description
        while text.utf8.count > Self.capacity { text.removeLast(max(1, text.count / 8)) }
        base.storeBytes(of: UInt32(code), toByteOffset: Self.codeAt, as: UInt32.self)
        base.storeBytes(of: UInt32(text.utf8.count), toByteOffset: Self.lengthAt, as: UInt32.self)
        base.storeBytes(of: Int32(clamping: error.rank ?? -1), toByteOffset: Self.rankAt, as: Int32.self)
        base.storeBytes(of: Int32(clamping: error.layer ?? -1), toByteOffset: Self.layerAt, as: Int32.self)
        text.withUTF8 { UnsafeMutableRawBufferPointer(start: base + Self.textAt, count: Self.capacity).copyBytes(from: $0) }
    }

    /// Ends the run for a wait of a rank's that failed, unless it did because the run has ended.
    func failed(rank: Int, _ what: String, layer: Int, _ error: FabricError) -> Stopped {
        if error != .interrupted {
            fail(EngineError(.rank, "rank \(rank), \(what) layer \(layer): \(error)", rank: rank, layer: layer))
        }
        return Stopped()
    }

    var error: EngineError? {
        guard claim.pointee.load(ordering: .acquiring) == 2 else { return nil }
        let code = Int(base.load(fromByteOffset: Self.codeAt, as: UInt32.self))
        let length = min(Int(base.load(fromByteOffset: Self.lengthAt, as: UInt32.self)), Self.capacity)
        let text = String(decoding: UnsafeRawBufferPointer(start: base + Self.textAt, count: length), as: UTF8.self)
        let codes = EngineError.Code.allCases
        func number(_ offset: Int) -> Int? {
            let number = base.load(fromByteOffset: offset, as: Int32.self)
            return number < 0 ? nil : Int(number)
        }
        return EngineError(
            codes.indices.contains(code) ? codes[code] : .rank, text, rank: number(Self.rankAt), layer: number(Self.layerAt))
    }

    /// Between runs.
    func reset() {
        claim.pointee.store(0, ordering: .releasing)
        interrupt.reset()
    }
}

/// A team whose workers meet at a barrier of the fabric: a rank's workers, or those of all ranks.
final class BarrierTeam: Team {
    let count: Int
    let label: String
    private let barrier: Barrier
    private let state: RunState

    init(label: String, count: Int, barrier: Barrier, state: RunState) {
        self.label = label
        self.count = count
        self.barrier = barrier
        self.state = state
    }

    func synchronise(worker: Int) throws(Stopped) {
        if count == 1 {
            if state.interrupt.isRaised { throw Stopped() }
            return
        }
        do { try barrier.wait(state.interrupt, deadline: state.deadline) } catch {
            if error != .interrupted { state.fail(EngineError(.rank, "\(label), worker \(worker): \(error)")) }
            throw Stopped()
        }
    }

    /// Between runs, when no worker waits.
    func reset() { barrier.reset() }
}
