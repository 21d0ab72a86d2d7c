import CKVLinux
import Glibc

/// What the system lets this process have, asked before it is needed: Dispatch waits without an end for a thread that cannot be started, and
/// traps where it gets no descriptor.
package enum ProcessLimits {
    /// - Parameters:
    ///   - count: threads that are to run beside those there are.
    ///   - what: they are for, as the error names it.
    /// - Throws: `.threads` telling how many could be started.
    package static func require(threads count: Int, for what: String) throws(FabricError) {
        var code: Int32 = 0
        let started = Int(ckv_threads_startable(Int32(clamping: count), &code))
        guard started < count else { return }
        throw .threads(started: started, of: count, for: what, errno: code)
    }

    /// - Parameter descriptors: at most 64.
    /// - Throws: `.system` where fewer can be opened.
    package static func require(descriptors: Int) throws(FabricError) {
        let free = Int(ckv_descriptors_free(Int32(descriptors)))
        guard free < descriptors else { return }
        throw .system(call: "opening files: \(free) more are allowed, \(descriptors) needed (ulimit -n)", errno: EMFILE)
    }

    /// - Throws: `.system` without /proc, which Dispatch looks at its threads through: it traps where it cannot.
    package static func requireProc() throws(FabricError) {
        guard access("/proc/self/task", R_OK | X_OK) == 0 else {
            throw .system(call: "/proc/self/task, without which threads cannot run (is /proc mounted?)", errno: errno)
        }
    }
}
