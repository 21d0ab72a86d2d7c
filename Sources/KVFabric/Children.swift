import Dispatch
import Foundation

/// Children and the thread that has started them, which lives as long as they: the system can be asked to kill a process when its parent ends,
/// but takes for that the parent's thread, and threads of a pool come and go. All are killed and reaped when let go of.
package final class Children: @unchecked Sendable {
    // Used by one thread at a time.
    package let all: [Child]
    private let release: DispatchSemaphore

    /// - Parameter start: starts the child of a number.
    /// - Throws: the first error of `start`; those started before are ended.
    package init(_ count: Int, start: @escaping @Sendable (Int) throws(FabricError) -> Child) throws(FabricError) {
        try ProcessLimits.require(threads: 1, for: "starting processes")
        let outcome = Locked<Result<[Child], FabricError>>(.success([]))
        let started = DispatchSemaphore(value: 0)
        let release = DispatchSemaphore(value: 0)
        let thread = Thread {
            do throws(FabricError) {
                var children: [Child] = []
                for number in 0..<count { children.append(try start(number)) }
                outcome.withLock { [children] in $0 = .success(children) }
            } catch {
                outcome.withLock { $0 = .failure(error) }
            }
            started.signal()
            release.wait()
        }
        thread.name = "children"
        thread.stackSize = 1 << 18
        thread.start()
        self.release = release
        // Starting takes milliseconds, and a tenth of a second at most for a child that is held up.
        guard started.wait(timeout: .now() + .seconds(30 + count)) == .success else {
            release.signal()
            all = []
            throw .deadline("start of \(count) processes")
        }
        do { all = try outcome.withLock { $0 }.get() } catch {
            release.signal()
            throw error
        }
        // The thread's is not to be the last hold on them.
        outcome.withLock { $0 = .success([]) }
    }

    deinit {
        // All at once, then one after the other.
        for child in all { child.kill() }
        for child in all { child.reap(within: 5) }
        release.signal()
    }
}
