import Foundation

/// Has a target read input after input, and writes a line before and behind each of them.
struct FuzzWorker {
    private let name: String
    private var target: any FuzzTarget
    private let folder: String
    private let tells: Bool

    /// - Parameters:
    ///   - folder: for the inputs, each in a folder of its own; those with a fault stay.
    ///   - tells: for people: errors' whole messages are written, and all inputs stay.
    init(_ type: any FuzzTarget.Type, _ context: TargetContext, folder: String, tells: Bool) throws {
        name = type.name
        target = try type.init(context)
        self.folder = folder
        self.tells = tells
    }

    mutating func run(_ seeds: Range<UInt64>) throws {
        for seed in seeds {
            Self.write("begin \(seed)")
            Self.forgetPeakMemory()
            let start = DispatchTime.now().uptimeNanoseconds
            let outcome = try self.outcome(seed)
            let milliseconds = (DispatchTime.now().uptimeNanoseconds - start) / 1_000_000
            let (kind, text) =
                switch outcome {
                case .success(let text): ("success", text)
                case .refused(let text, let message): ("refused", tells ? text + ": " + message : text)
                case .fault(let text): ("fault", text)
                }
            let line = text.prefix(600).map { $0.isNewline || $0 == "\t" ? " " : String($0) }.joined()
            Self.write("end \(seed)\t\(kind)\t\(milliseconds)\t\(Self.peakMemory >> 20)\t\(line)")
        }
    }

    private mutating func outcome(_ seed: UInt64) throws -> InputOutcome {
        let place = "\(folder)/\(name)-\(seed)"
        try? FileManager.default.removeItem(atPath: place)
        do { try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true) } catch {
            throw Fault("\(place) cannot be made")
        }
        var random = RandomSource(target: name, seed: seed)
        let outcome: InputOutcome
        do { outcome = .success(try target.run(&random, in: place)) } catch { outcome = InputOutcome(error) }
        if case .fault = outcome { return outcome }
        guard !tells else { return outcome }
        try? FileManager.default.removeItem(atPath: place)
        return outcome
    }

    /// Ends the process where nobody reads on: the supervisor is gone.
    private static func write(_ line: String) {
        do { try FileHandle.standardOutput.write(contentsOf: Data((line + "\n").utf8)) } catch { exit(1) }
    }

    // MARK: Memory

    private static func forgetPeakMemory() {
        let file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        _ = Glibc.write(file, "5", 1)
        close(file)
    }

    /// Bytes, since `forgetPeakMemory`.
    private static var peakMemory: Int {
        guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
            let kibibytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap({ Int($0) })
        else { return 0 }
        return kibibytes << 10
    }
}
