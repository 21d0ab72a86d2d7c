import Dispatch

/// Gives every worker a Dispatch queue on which it really runs at the same time as all others.
///
/// A worker occupies a thread for as long as its group lives, so a pool that is as large as the machine will not do:
/// work items on a *concurrent* queue wait for a core to be free. A *serial* queue draws from the overcommitting pool
/// of its quality of service, which starts up to 255 threads whatever the machine has; four classes have a pool of
/// their own. So workers fill one class after the other and leave room in each for the rest of the process. On Linux
/// the classes differ by nice value (0, -2 if permitted, 2, 10), which `Seat` evens out as far as it may: a user other
/// than root cannot take a positive one back, so the two classes that have one come last.
enum WorkerQueues {
    /// Workers that a class may hold, of its pool's 255 threads.
    static let perClass = 200
    static let classes: [DispatchQoS] = [.default, .userInitiated, .utility, .background]
    static var capacity: Int { perClass * classes.count }

    // The pools are the process's, so the count of what is taken is too.
    private static let taken = Locked<[Int]>(classes.map { _ in 0 })

    /// A queue for one worker and the class it was drawn from (to be handed back), or nil when all are taken.
    static func take(label: String) -> (queue: DispatchQueue, ofClass: Int)? {
        let free = taken.withLock { taken -> Int? in
            guard let index = taken.firstIndex(where: { $0 < perClass }) else { return nil }
            taken[index] += 1
            return index
        }
        guard let free else { return nil }
        return (DispatchQueue(label: label, qos: classes[free]), free)
    }

    static func handBack(ofClass index: Int) {
        taken.withLock { $0[index] -= 1 }
    }
}
