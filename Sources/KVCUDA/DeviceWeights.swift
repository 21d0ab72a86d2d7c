import Foundation
import KVGGUF
package import KVModel

/// A model's weights on one device: matrices and tables as float16 or bfloat16, quantised ones dequantised on the way, vectors as float32,
/// and the rotary angles of all positions.
package final class DeviceWeights: Sendable {
    package let elements: ElementType
    package let context: DeviceContext
    private let memory: DeviceMemory
    private let plan: Plan

    /// Where things lie, in bytes, each by its index in the model.
    private struct Plan: Sendable {
        let bytes: Int
        let matrices, tables, vectors, angles: [Int]

        init(_ weights: PlainWeights, rotaries: [Rotary], positions: Int) {
            var layout = Layout(alignment: 256)
            matrices = weights.matrices.map { layout.reserve($0.rows * $0.columns * ElementType.bytes) }
            tables = weights.tables.map { layout.reserve($0.rows * $0.columns * ElementType.bytes) }
            vectors = weights.vectors.map { layout.reserve($0.count * MemoryLayout<Float>.stride) }
            angles = rotaries.map { layout.reserve(positions * $0.pairs * 2 * MemoryLayout<Float>.stride) }
            bytes = layout.bytes
        }
    }

    /// What the weights, and the angles of so many positions, take of a device.
    package static func bytes(of weights: PlainWeights, rotaries: [Rotary], positions: Int) -> Int {
        Plan(weights, rotaries: rotaries, positions: positions).bytes
    }

    /// Allocates and uploads; all the host's cores dequantise.
    ///
    /// - Parameter progress: told of the bytes uploaded so far.
    /// - Throws: `CUDAError`, memory when there is too little.
    package init(
        _ weights: PlainWeights, rotaries: [Rotary], positions: Int, as elements: ElementType, on context: DeviceContext,
        progress: (Int) -> Void
    ) throws(CUDAError) {
        self.elements = elements
        self.context = context
        plan = Plan(weights, rotaries: rotaries, positions: positions)
        memory = try context.allocate(plan.bytes, for: "the weights")
        var upload = try Upload(on: context, to: memory.address)
        let type: TensorType = elements == .f16 ? .f16 : .bf16
        for (matrix, offset) in zip(weights.matrices, plan.matrices) {
            try upload.rows(matrix.rows, of: matrix.columns * ElementType.bytes, to: offset) { rows, out, scratch in
                weights.write(rows, of: matrix, as: type, into: out, scratch: &scratch)
            }
            progress(upload.done)
        }
        for (table, offset) in zip(weights.tables, plan.tables) {
            try upload.rows(table.rows, of: table.columns * ElementType.bytes, to: offset) { rows, out, scratch in
                weights.write(rows, of: table, as: type, into: out, scratch: &scratch)
            }
            progress(upload.done)
        }
        for (vector, offset) in zip(weights.vectors, plan.vectors) {
            let values = weights.values(vector)
            try upload.rows(1, of: vector.count * MemoryLayout<Float>.stride, to: offset) { _, out, _ in
                values.withUnsafeBytes { out.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(out), byteCount: $0.count) }
            }
        }
        for (rotary, offset) in zip(rotaries, plan.angles) {
            let angles = Angles([rotary], positions: positions)
            try upload.rows(positions, of: rotary.pairs * 2 * MemoryLayout<Float>.stride, to: offset) { rows, out, _ in
                let row = rotary.pairs * 2
                out.copyMemory(
                    from: angles.values(0) + rows.lowerBound * row, byteCount: rows.count * row * MemoryLayout<Float>.stride)
            }
        }
        try upload.finish()
    }

    func address(_ matrix: Matrix) -> UInt64 { memory.address + UInt64(plan.matrices[matrix.index]) }
    func address(_ table: Table) -> UInt64 { memory.address + UInt64(plan.tables[table.index]) }
    func address(_ vector: Vector) -> UInt64 { memory.address + UInt64(plan.vectors[vector.index]) }
    func angles(_ rotary: Int) -> UInt64 { memory.address + UInt64(plan.angles[rotary]) }
}

/// Rows on their way to a device: made by all the host's cores into one of two pieces of pinned memory, while the other is copied.
private struct Upload {
    private static let capacity = 32 << 20
    private let stream: DeviceStream
    private let pieces: [(memory: PinnedMemory, event: DeviceEvent)]
    private let target: UInt64
    private var turn = 0
    private(set) var done = 0

    init(on context: DeviceContext, to target: UInt64) throws(CUDAError) {
        stream = try context.stream()
        var pieces: [(memory: PinnedMemory, event: DeviceEvent)] = []
        for _ in 0..<2 { pieces.append((try context.pinned(Self.capacity), try context.event())) }
        self.pieces = pieces
        self.target = target
    }

    /// - Parameter make: writes some rows, one after another; called by several threads at once.
    mutating func rows(
        _ count: Int, of bytes: Int, to offset: Int,
        make: @Sendable (Range<Int>, UnsafeMutableRawPointer, inout PlainWeights.Scratch) -> Void
    ) throws(CUDAError) {
        if bytes == 0 { return }
        guard bytes <= Self.capacity else {
            throw CUDAError(.memory, "a row of \(bytes) bytes is longer than the \(Self.capacity) that are uploaded at once")
        }
        let most = Self.capacity / bytes
        for first in stride(from: 0, to: count, by: most) {
            let rows = first..<min(count, first + most)
            let (memory, event) = pieces[turn]
            turn = 1 - turn
            try event.wait(deadline: deadline, isInterrupted: { false })
            fill(rows, bytes, memory.base, make)
            try stream.upload(memory.base, to: target + UInt64(offset + first * bytes), bytes: rows.count * bytes)
            try stream.record(event)
            done += rows.count * bytes
        }
    }

    private func fill(
        _ rows: Range<Int>, _ bytes: Int, _ base: UnsafeMutableRawPointer,
        _ make: @Sendable (Range<Int>, UnsafeMutableRawPointer, inout PlainWeights.Scratch) -> Void
    ) {
        let workers = max(1, min(rows.count, ProcessInfo.processInfo.activeProcessorCount, rows.count * bytes >> 16))
        nonisolated(unsafe) let base = base
        DispatchQueue.concurrentPerform(iterations: workers) { worker in
            let own = rows.lowerBound + rows.count * worker / workers..<rows.lowerBound + rows.count * (worker + 1) / workers
            var scratch = PlainWeights.Scratch()
            // Few at a time, as floats of all would not stay in the cache.
            let step = max(1, (1 << 18) / bytes)
            for first in stride(from: own.lowerBound, to: own.upperBound, by: step) {
                make(first..<min(first + step, own.upperBound), base + (first - rows.lowerBound) * bytes, &scratch)
            }
        }
    }

    func finish() throws(CUDAError) { try stream.synchronise(deadline: deadline, isInterrupted: { false }) }

    /// Of a wait for one piece's copy.
    private var deadline: UInt64 { monotonicNow() + 60_000_000_000 }
}
