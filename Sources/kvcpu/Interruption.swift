import KVFabric
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Ctrl-C, SIGTERM and SIGHUP while work runs: the first calls `onFirst`, the second ends the process at once.
final class Interruption: Sendable {
    private let first = Mutex<Int32?>(nil)

    init(_ onFirst: @escaping @Sendable () -> Void) {
        Signals.handle { [weak self] signal in
            guard let self else { _exit(128 + signal) }
            let isFirst = first.withLock { first in
                defer { first = first ?? signal }
                return first == nil
            }
            if isFirst { onFirst() } else { _exit(128 + signal) }
        }
    }

    deinit { Self.endAtOnce() }

    /// From here on the first signal ends the process: nothing is under way that has to end in order, as while a model loads.
    static func endAtOnce() { Signals.handle { _exit(128 + $0) } }

    /// The signal that came first.
    var signal: Int32? { first.withLock { $0 } }
}
