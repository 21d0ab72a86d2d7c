import Foundation

/// Has worker processes read a target's inputs; one that crashes, hangs or takes too much memory is named, and the next ones go on behind it.
struct FuzzSupervisor {
    let target: String
    /// How a worker is started: program and arguments, to which the seeds are added.
    let program: String
    let arguments: [String]
    let folder: String
    private(set) var report: FuzzReport
    /// Seeds not given to a worker yet.
    private var waiting: [Range<UInt64>]

    /// Inputs of one worker: what one leaves behind in its process cannot pile up.
    private static let mostOfOne: UInt64 = 500

    private struct Worker {
        let child: ChildProgram
        let pipe: Int32
        let errors: String
        var seeds: Range<UInt64>
        var text: [UInt8] = []
        /// The input at hand, since when, and the CPU time before it.
        var current: (seed: UInt64, start: Date, seconds: Double)?
        var begun = Date()
        var verdict: String?
    }

    private let jobs: Int

    /// - Parameter jobs: workers at once.
    init(target: String, program: String, arguments: [String], folder: String, seeds: Range<UInt64>, jobs: Int) {
        self.target = target
        self.program = program
        self.arguments = arguments
        self.folder = folder
        report = FuzzReport(target: target)
        self.jobs = jobs
        let share = max(1, min(Self.mostOfOne, (UInt64(seeds.count) + UInt64(jobs) - 1) / UInt64(jobs)))
        waiting = stride(from: seeds.lowerBound, to: seeds.upperBound, by: Int(share)).map {
            $0..<min(seeds.upperBound, $0 + share)
        }
    }

    mutating func run() throws {
        var workers: [Worker] = []
        while !workers.isEmpty || !waiting.isEmpty {
            while workers.count < jobs, !waiting.isEmpty { workers.append(try start(waiting.removeFirst(), number: workers.count)) }
            var polls = workers.map { pollfd(fd: $0.pipe, events: Int16(POLLIN), revents: 0) }
            _ = poll(&polls, nfds_t(polls.count), 50)
            for index in workers.indices {
                let isOver = polls[index].revents != 0 && !read(&workers[index])
                if isOver { try ended(workers[index]) } else { check(&workers[index]) }
                if isOver { polls[index].fd = -1 }
            }
            workers = zip(workers, polls).filter { $0.1.fd >= 0 }.map(\.0)
        }
    }

    private func start(_ seeds: Range<UInt64>, number: Int) throws -> Worker {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0, ends.allSatisfy({ fcntl($0, F_SETFD, FD_CLOEXEC) == 0 }) else { throw Fault("no pipe") }
        defer { close(ends[1]) }
        let errors = "\(folder)/stderr-\(seeds.lowerBound)"
        var environment = ProcessInfo.processInfo.environment
        environment["SWIFT_BACKTRACE"] = "enable=no"
        environment["XDG_CACHE_HOME"] = folder
        let child = try ChildProgram(
            program, arguments + ["--worker", "--seed", "\(seeds.lowerBound)", "--count", "\(seeds.count)"], output: ends[1],
            errors: errors, environment: environment)
        return Worker(child: child, pipe: ends[0], errors: errors, seeds: seeds)
    }

    /// - Returns: false at the end of its output.
    private mutating func read(_ worker: inout Worker) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = Glibc.read(worker.pipe, &bytes, bytes.count)
        guard count > 0 else { return count < 0 && errno == EINTR }
        worker.text += bytes[..<count]
        while let end = worker.text.firstIndex(of: 0x0A) {
            take(String(decoding: worker.text[..<end], as: UTF8.self), &worker)
            worker.text.removeSubrange(...end)
        }
        return true
    }

    private mutating func take(_ line: String, _ worker: inout Worker) {
        if line.hasPrefix("begin "), let seed = UInt64(line.dropFirst(6)) {
            worker.current = (seed, Date(), worker.child.seconds)
        } else if line.hasPrefix("end ") {
            let fields = line.dropFirst(4).split(separator: "\t", maxSplits: 4, omittingEmptySubsequences: false)
            guard fields.count == 5, let seed = UInt64(fields[0]), let time = Int(fields[2]), let memory = Int(fields[3]) else {
                return
            }
            report.add(seed, kind: String(fields[1]), milliseconds: time, mebibytes: memory, text: String(fields[4]))
            worker.current = nil
            worker.begun = Date()
            worker.seeds = seed + 1..<worker.seeds.upperBound
        }
    }

    private func check(_ worker: inout Worker) {
        guard worker.verdict == nil else { return }
        let start = worker.current?.start ?? worker.begun
        if worker.child.memory > FuzzLimits.memory {
            worker.verdict = "over memory"
        } else if let current = worker.current, worker.child.seconds - current.seconds > FuzzLimits.cpuSeconds {
            worker.verdict = "hang"
        } else if Date().timeIntervalSince(start) > 2 * FuzzLimits.waitSeconds {
            worker.verdict = "hang"
        }
        if worker.verdict != nil { worker.child.end(SIGKILL) }
    }

    /// Notes how a worker ended; what is left of its seeds goes back.
    private mutating func ended(_ worker: Worker) throws {
        close(worker.pipe)
        var end: (end: ProgramEnd, peakMemory: Int)?
        while end == nil {
            end = worker.child.reap()
            usleep(1000)
        }
        let words = (try? String(contentsOfFile: worker.errors, encoding: .utf8)) ?? ""
        if let current = worker.current {
            let how: String
            if case .signal(let signal)? = end?.end {
                how = "signal \(signal)"
            } else {
                how = "exit \(end.map { "\($0.end)" } ?? "")"
            }
            report.add(current.seed, failure: worker.verdict ?? how, text: String(words.suffix(400)))
            try? words.write(toFile: "\(folder)/\(target)-\(current.seed)/worker-stderr", atomically: false, encoding: .utf8)
            let rest = current.seed + 1..<worker.seeds.upperBound
            if !rest.isEmpty { waiting.insert(rest, at: 0) }
        } else if end?.end != .exited(0) {
            throw Fault("a worker ended between inputs (\(end.map { "\($0.end)" } ?? "")): \(words.suffix(2000))")
        }
        unlink(worker.errors)
    }
}

extension String {
    fileprivate func write(toFile path: String, atomically: Bool, encoding: String.Encoding) throws {
        try write(to: URL(fileURLWithPath: path), atomically: atomically, encoding: encoding)
    }
}
