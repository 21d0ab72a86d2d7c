import ArgumentParser
import Foundation
import KVRunahead

/// Has the readers of outside bytes read thousands of seeded inputs that are nearly right.
@main
struct Fuzz: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kvcpu-fuzz",
        abstract:
            "Reads seeded, nearly valid files, texts and command lines. Typed errors are right; signals, hangs and wrong answers are not.",
        discussion: """
            An input is made from target and seed alone: `kvcpu-fuzz gguf --seed 17` makes and reads it again, in a process of its own, with \
            --inside in this one (for a debugger). What failed stays in the folder.
            """)

    @Argument(help: "Targets, or all: \(FuzzTargets.all.map { $0.name }.joined(separator: ", "))")
    var targets: [String]
    @Option(help: "The first seed")
    var seed: UInt64 = 0
    @Option(help: "Inputs of each target")
    var count: UInt64 = 1
    @Option(help: "Worker processes at once")
    var jobs = 1
    @Option(help: "Folders of valid files; the same inputs need the same ones")
    var corpus: [String] = ["Tests/Fixtures"]
    @Option(help: "The kvcpu program; default: beside this one")
    var kvcpu: String?
    @Option(help: "Where inputs are put, and stay when they failed")
    var folder = FileManager.default.temporaryDirectory.path + "/kvcpu-fuzz"
    @Flag(help: "Without worker processes")
    var inside = false
    @Flag(help: .hidden)
    var worker = false

    func validate() throws {
        for name in targets where name != "all" && FuzzTargets.named(name) == nil {
            throw ValidationError("no target is named \(name)")
        }
        guard (1...64).contains(jobs) else { throw ValidationError("--jobs is \(jobs); it must be 1 to 64") }
        guard count <= 1 << 32, seed <= 1 << 62 else { throw ValidationError("so many inputs are not to be had") }
    }

    static func main() {
        // An engine under test may start this program as one of its ranks.
        RankMain.runIfAsked()
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch { exit(withError: error) }
    }

    func run() throws {
        let names = targets.contains("all") ? FuzzTargets.all.map { $0.name } : targets
        var reports: [FuzzReport] = []
        for name in names {
            if inside || worker { try work(name) } else { reports.append(try supervise(name)) }
        }
        for report in reports { print(report.text) }
        guard reports.allSatisfy(\.isClean) else { throw ExitCode(1) }
    }

    private func work(_ name: String) throws {
        guard let type = FuzzTargets.named(name) else { return }
        let place = "\(folder)/made-\(getpid())"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: place) }
        let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path + "/kvcpu"
        let context = TargetContext(corpus: try Corpus(corpus), kvcpu: kvcpu ?? program, folder: place)
        var worker = try FuzzWorker(type, context, folder: folder, tells: inside)
        try worker.run(seed..<seed + count)
    }

    private func supervise(_ name: String) throws -> FuzzReport {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var arguments = [name, "--folder", folder] + corpus.flatMap { ["--corpus", $0] }
        if let kvcpu { arguments += ["--kvcpu", kvcpu] }
        let start = Date()
        var supervisor = FuzzSupervisor(
            target: name, program: "/proc/self/exe", arguments: arguments, folder: folder, seeds: seed..<seed + count, jobs: jobs)
        try supervisor.run()
        print("\(name): \(count) inputs in \(Int(Date().timeIntervalSince(start))) s")
        fflush(nil)
        return supervisor.report
    }
}
