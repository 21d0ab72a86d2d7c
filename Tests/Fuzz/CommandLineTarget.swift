import Foundation

/// Every option of every command of the kvcpu program, as the program itself lists them, with extreme values.
///
/// It ends with 0, 1, 2 or, interrupted, 130; a failure says why on standard error.
struct CommandLineTarget: FuzzTarget {
    static let name = "command-line"
    private let kvcpu: String
    private let grammar: CommandLineGrammar
    private let models: [[UInt8]]
    private let template: [UInt8]

    /// Work that was asked for may take long: then an interrupt must end it.
    private static let patience = 1.0

    init(_ context: TargetContext) throws {
        kvcpu = context.kvcpu
        let list = context.folder + "/options.json"
        let child = try ChildProgram(
            kvcpu, ["--experimental-dump-help"], input: "/dev/null", output: list, errors: "/dev/null", environment: [:])
        while child.reap() == nil { usleep(1000) }
        guard let document = JSONDocument(try Corpus.read(list)) else { throw Fault("\(kvcpu) does not list its options") }
        let foreign = try? context.corpus.paths(ending: "/llama-flags.txt").first.map(Corpus.read)
        grammar = try CommandLineGrammar(document, foreign: foreign ?? [])
        // With tokenizers.
        models = try ["mixtral", "q-llama-q8_0", "qwen2"].map {
            try Corpus.read(context.corpus.paths(ending: "/\($0)/model.gguf")[0])
        }
        template = Array("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}".utf8)
    }

    mutating func run(_ random: inout RandomSource, in folder: String) throws -> String {
        try Corpus.write(random.pick(models), to: folder + "/model.gguf")
        try Corpus.write(template, to: folder + "/template.jinja")
        try Corpus.write(Array("[{\"role\": \"user\", \"content\": \"abc\"}]".utf8), to: folder + "/messages.json")
        try Corpus.write(
            Array(random.pick(["abc abc\n", "", "abc\n/help\n/save x\n/exit\n", "-1\n"]).utf8), to: folder + "/text.txt")
        mkdir(folder + "/folder", 0o755)
        let arguments = grammar.arguments(&random)
        try Corpus.write(Array((arguments.joined(separator: "\n") + "\n").utf8), to: folder + "/arguments")
        let input =
            random.oneIn(24) ? nil : random.pick(["/dev/null", folder + "/text.txt", folder + "/text.txt", folder + "/folder"])
        let output = random.oneIn(30) ? nil : random.oneIn(30) ? "/dev/full" : folder + "/stdout"
        let environment = [
            "HOME": folder, "XDG_CACHE_HOME": folder, "PATH": "/usr/bin:/bin", "TERM": "dumb", "SWIFT_BACKTRACE": "enable=no",
        ]
        let child = try ChildProgram(
            kvcpu, arguments, input: input, output: output, errors: folder + "/stderr", environment: environment, folder: folder)
        let end = try watch(child)
        let command = arguments.first { grammar.names.contains($0) } ?? "run"
        switch end {
        case .exited(let code) where [0, 1, 2, 130].contains(code):
            if code == 1 || code == 2, try Corpus.read(folder + "/stderr").isEmpty {
                throw Fault("exit code \(code) without a word: kvcpu \(arguments.joined(separator: " "))")
            }
            return "\(command) \(code)"
        case .exited(let code): throw Fault("exit code \(code): kvcpu \(arguments.joined(separator: " "))")
        case .signal(SIGINT): return "\(command) 130"
        case .signal(let signal): throw Fault("signal \(signal): kvcpu \(arguments.joined(separator: " "))")
        }
    }

    private func watch(_ child: ChildProgram) throws -> ProgramEnd {
        let start = Date()
        var interrupted: Date?
        while true {
            if let (end, memory) = child.reap() {
                child.end(SIGKILL)
                guard memory <= FuzzLimits.memory else { throw Fault("over memory: \(memory >> 20) MiB") }
                return end
            }
            usleep(2000)
            if child.memory > FuzzLimits.memory {
                stop(child)
                throw Fault("over memory: more than \(FuzzLimits.memory >> 20) MiB")
            }
            let waited = Date().timeIntervalSince(start)
            if interrupted == nil, child.seconds > Self.patience || waited > FuzzLimits.waitSeconds / 4 {
                child.end(SIGINT)
                interrupted = Date()
            }
            if let interrupted,
                child.seconds > FuzzLimits.cpuSeconds || Date().timeIntervalSince(interrupted) > FuzzLimits.waitSeconds / 2
            {
                stop(child)
                throw Fault("hang: it runs on after an interrupt")
            }
        }
    }

    private func stop(_ child: ChildProgram) {
        child.end(SIGKILL)
        while child.reap() == nil { usleep(1000) }
    }
}
