import KVRunahead

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

extension ComputingOptions {
    /// Locks what memory the process has, where that was asked for; what the system refuses is said, as llama.cpp does.
    func lockMemory() {
        guard mlock else { return }
        // Pages that were never touched are not brought in, so that the plan of the memory stays true.
        if mlockall(CInt(MCL_CURRENT) | CInt(MCL_ONFAULT)) != 0 {
            Terminal.note("--mlock: memory cannot be locked: \(String(cString: strerror(errno))); see ulimit -l")
        } else if mode.rankMode == .process {
            Terminal.note("--mlock: only this process is locked, ranks that are processes are not")
        }
    }
}
