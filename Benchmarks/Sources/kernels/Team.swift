import CCeilings
import Dispatch
import Foundation
import Synchronization

/// Threads bound to one CPU each, that wait for work to do together.
final class Team: Sendable {
    private struct Order: Sendable {
        var body: (@Sendable (Int) -> Void)?
        var ended = false
    }

    let count: Int
    private let order = Mutex(Order())
    private let starts: [DispatchSemaphore]
    private let done = DispatchSemaphore(value: 0)
    private static let deadline = 120.0

    init(count: Int) throws {
        self.count = count
        starts = (0..<count).map { _ in DispatchSemaphore(value: 0) }
        for index in 0..<count {
            let cpu = Machine.cpus[index % Machine.cpus.count]
            let thread = Thread { [starts, done, weak self] in
                if !ceiling_pin(cpu) { self?.order.withLock { $0.ended = true } }
                done.signal()
                while true {
                    let waited = starts[index].wait(timeout: .now() + 1)
                    guard let team = self else { return }
                    let (body, ended) = team.order.withLock { ($0.body, $0.ended) }
                    if ended { return }
                    if waited == .timedOut { continue }
                    body?(index)
                    done.signal()
                }
            }
            thread.start()
            try finish(1)
            if order.withLock({ $0.ended }) { throw BenchmarkError.noThread(cpu: Int(cpu)) }
        }
    }

    /// Runs the body on every thread, with its number; returns the seconds until the last one ended.
    func run(_ body: @escaping @Sendable (Int) -> Void) throws -> Double {
        order.withLock { $0.body = body }
        let clock = ContinuousClock()
        let start = clock.now
        for semaphore in starts { semaphore.signal() }
        try finish(count)
        return (clock.now - start) / .seconds(1)
    }

    private func finish(_ threads: Int) throws {
        for _ in 0..<threads where done.wait(timeout: .now() + Self.deadline) == .timedOut {
            throw BenchmarkError.late(seconds: Self.deadline)
        }
    }

    /// Share `index` of `total` things.
    func range(_ index: Int, of total: Int) -> Range<Int> { total * index / count..<total * (index + 1) / count }
}
