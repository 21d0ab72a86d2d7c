import Dispatch
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Ctrl-C: the first one calls `onFirst`, the second ends the process at once.
final class Interruption: Sendable {
    private let count = Atomic<Int>(0)
    // Kept for its lifetime; never touched again.
    nonisolated(unsafe) private let source: any DispatchSourceSignal

    init(_ onFirst: @escaping @Sendable () -> Void) {
        signal(SIGINT, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: DispatchQueue(label: "kvcpu.signals"))
        self.source = source
        source.setEventHandler { [weak self] in
            guard let self else { return }
            if count.add(1, ordering: .relaxed).oldValue == 0 { onFirst() } else { _exit(130) }
        }
        source.resume()
    }

    deinit { source.cancel() }

    /// The next Ctrl-C is a first one again.
    func rearm() { count.store(0, ordering: .relaxed) }

    var isRaised: Bool { count.load(ordering: .relaxed) > 0 }
}
