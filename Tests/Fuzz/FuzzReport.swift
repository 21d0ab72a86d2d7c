import Glibc

/// What became of a target's inputs.
struct FuzzReport {
    private struct Failure {
        let seed: UInt64
        let kind: String
        let text: String
    }

    let target: String
    private var inputs = 0
    private var successes: [String: Int] = [:]
    private var refusals: [String: Int] = [:]
    private var failures: [Failure] = []
    private var slowest: (seed: UInt64, milliseconds: Int) = (0, 0)
    private var largest: (seed: UInt64, mebibytes: Int) = (0, 0)

    init(target: String) { self.target = target }

    var isClean: Bool { failures.isEmpty }

    mutating func add(_ seed: UInt64, kind: String, milliseconds: Int, mebibytes: Int, text: String) {
        inputs += 1
        if milliseconds > slowest.milliseconds { slowest = (seed, milliseconds) }
        if mebibytes > largest.mebibytes { largest = (seed, mebibytes) }
        switch kind {
        case "success": successes[text, default: 0] += 1
        case "refused": refusals[text, default: 0] += 1
        default: tell(Failure(seed: seed, kind: Self.kind(text), text: text))
        }
    }

    /// An input that its worker did not survive.
    mutating func add(_ seed: UInt64, failure kind: String, text: String) {
        inputs += 1
        tell(Failure(seed: seed, kind: kind, text: text))
    }

    private mutating func tell(_ failure: Failure) {
        failures.append(failure)
        print("  \(target) --seed \(failure.seed): \(failure.kind): \(failure.text)")
        fflush(nil)
    }

    /// Of a fault that a target itself has found.
    private static func kind(_ text: String) -> String {
        ["signal", "hang", "over memory"].first { text.hasPrefix($0) } ?? "wrong"
    }

    /// A row for each figure.
    var text: String {
        func count(_ prefix: String) -> Int { failures.count { $0.kind.hasPrefix(prefix) } }
        func list(_ counts: [String: Int]) -> String {
            counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        }
        return """
            \(target): \(inputs) inputs, \(successes.values.reduce(0, +)) accepted, \(refusals.values.reduce(0, +)) refused; \
            signals \(count("signal")), hangs \(count("hang")), over 2 GiB \(count("over memory")), wrong \(count("wrong") + count("exit")); \
            slowest \(slowest.milliseconds) ms (seed \(slowest.seed)), most memory \(largest.mebibytes) MiB (seed \(largest.seed))
              accepted: \(list(successes))
              refused: \(list(refusals))
            """
    }
}
