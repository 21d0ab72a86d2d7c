import Glibc

/// A value behind a lock, for what happens at start-up only.
///
/// A pthread mutex and not `Synchronization.Mutex`: the thread sanitizer does not see the order that the latter makes
/// on Linux, and reports races that are none.
final class Locked<Value: Sendable>: @unchecked Sendable {
    // Sendable by hand: `value` is touched under the mutex only.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var value: Value

    init(_ value: Value) {
        self.value = value
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&value)
    }
}
