import Foundation
import KVTestSupport
import XCTest

/// Placement on machines with several nodes, as the kernel of a virtual machine tells it; and the same bits there as here.
final class NumaTests: XCTestCase {
    private static let model = "--synthetic llama-7b,layers=2,width=512,heads=8,kv=4,ffn=1024,vocab=2000,type=q4_0"
    private static let tokens = (0..<120).map { "\(($0 * 7919 + 13) % 2000)" }.joined(separator: ",")

    private static func inspect(_ flags: String) -> String { "kvcpu inspect --placement -o json \(model) -c 512 \(flags)" }

    /// A prompt's logits and cache and 12 decoded tokens, across the border of a block of keys, as one hash. (More are decoded in the tests of
    /// bit identity: here each takes the emulator a good while.)
    private static func dump(_ flags: String) -> String {
        "kvcpu dump \(model) -c 256 -t 1 \(flags) --tokens \(tokens) --greedy 12 -o /tmp/dump >/dev/null 2>&1 && sha256sum </tmp/dump"
    }

    /// What this machine makes of the same prompt on one rank.
    private func expectedHash() throws -> String {
        let folder = NSTemporaryDirectory() + "kvcpu-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let arguments = Self.model.split(separator: " ").map(String.init) + ["-c", "256", "--ranks", "1", "-t", "1"]
        let run = try Outcome(
            VirtualMachine.kvcpu, ["dump"] + arguments + ["--tokens", Self.tokens, "--greedy", "12", "-o", folder + "/dump"])
        XCTAssertEqual(run.status, 0, run.error)
        let hash = try Outcome(URL(fileURLWithPath: "/usr/bin/sha256sum"), [folder + "/dump"])
        XCTAssertEqual(hash.status, 0, hash.error)
        return String(hash.output.prefix(64))
    }

    /// The emulator takes minutes for an unoptimised program: there only the first of these tests runs, `swift test -c release` runs all.
    private func skipInDebug() throws {
        #if DEBUG
            print("SKIPPED: in a virtual machine an unoptimised build is too slow; swift test -c release runs this")
            throw XCTSkip("in a virtual machine an unoptimised build is too slow; swift test -c release runs this")
        #endif
    }

    /// The default: a rank on every node, a copy of the weights on each, all local; and the host's bits.
    func testRanksOnFourNodes() throws {
        let machine = try VirtualMachine(
            ["--nodes", "4", "--cpus-per-node", "2"],
            [("auto", Self.inspect("--ranks 4 -t 2")), ("hash", Self.dump("--ranks 4"))])
        let auto = try machine.proof("auto")
        XCTAssertEqual(auto.weights, "mirror")
        XCTAssertEqual(auto.link, "ring")
        XCTAssertEqual(auto.ranks.map(\.cpus), [[0, 1], [2, 3], [4, 5], [6, 7]])
        auto.check(nodes: [0, 1, 2, 3])
        XCTAssertEqual(try machine.output("hash").prefix(64), try expectedHash()[...])
    }

    /// What the flags make of four nodes.
    func testFlagsOnFourNodes() throws {
        try skipInDebug()
        let large = "--synthetic llama-7b,layers=8,type=q4_0 -c 64 --ranks 4 -t 2"
        let machine = try VirtualMachine(
            ["--nodes", "4", "--cpus-per-node", "2"],
            [
                ("named", Self.inspect("--ranks 2 -t 1 --cpus '5|2'")),
                ("interleave", Self.inspect("--ranks 4 -t 1 --memory interleave")),
                ("distribute", Self.inspect("--ranks 2 -t 2 --numa distribute")),
                ("isolate", Self.inspect("--ranks 2 -t 1 --numa isolate")),
                ("numactl", "numactl --cpunodebind=2 --membind=2 \(Self.inspect("--ranks 2 -t 1 --numa numactl"))"),
                ("off", Self.inspect("--ranks 2 -t 1 --numa off")),
                ("large", "kvcpu inspect \(large)"),
                ("too large", "kvcpu bench -p 8 -n 0 -r 1 \(large.replacingOccurrences(of: " -c 64", with: "")) --memory mirror"),
            ])
        let named = try machine.proof("named")
        XCTAssertEqual(named.ranks.map(\.cpus), [[5], [2]])
        named.check(nodes: [2, 1])

        let interleaved = try machine.proof("interleave")
        XCTAssertEqual(interleaved.off, [])
        let weights = try XCTUnwrap(interleaved.ranks[0].memory.first { $0.what == "weights" })
        // A huge page is a large part of so small a model.
        for node in 0..<4 { XCTAssertGreaterThan(weights.share(of: node), 0.05, "\(weights.pages)") }

        let distributed = try machine.proof("distribute")
        XCTAssertEqual(distributed.off, [])
        XCTAssertEqual(distributed.ranks.map { $0.cpus.sorted() }, [[0, 2], [4, 6]])
        // A copy on each node, read by the workers there.
        for rank in distributed.ranks {
            let copies = rank.memory.filter { $0.what == "weights" }
            XCTAssertEqual(copies.map(\.planned), rank.rank == 0 ? [0, 1] : [2, 3])
            for copy in copies { XCTAssertGreaterThanOrEqual(copy.share(of: try XCTUnwrap(copy.planned)), 0.99) }
        }

        let isolated = try machine.proof("isolate")
        let node = try XCTUnwrap(isolated.ranks[0].node)
        isolated.check(nodes: [node, node])
        XCTAssertEqual(isolated.ranks.flatMap(\.cpus).sorted(), [2 * node, 2 * node + 1])

        let given = try machine.proof("numactl")
        XCTAssertEqual(given.off, [])
        for rank in given.ranks {
            XCTAssertNil(rank.node)
            for worker in rank.workers { XCTAssertEqual(worker.affinity, [4, 5]) }
            for memory in rank.memory { XCTAssertEqual(memory.share(of: 2), 1, "\(memory)") }
        }

        let off = try machine.proof("off")
        XCTAssertEqual(off.off, [])
        for worker in off.ranks.flatMap(\.workers) { XCTAssertEqual(worker.affinity, Array(0..<8)) }

        // Four copies do not fit, one does.
        let plan = try machine.output("large")
        XCTAssertTrue(plan.contains("weights: interleave"), plan)
        let refusal = try machine.output("too large", status: 1)
        XCTAssertTrue(refusal.contains("node 0 needs"), refusal)
        XCTAssertTrue(refusal.contains("free"), refusal)
    }

    /// Node 1 has no memory, a CPU of node 2 is off.
    func testThreeNodesWithGaps() throws {
        try skipInDebug()
        let machine = try VirtualMachine(
            ["--nodes", "3", "--memoryless", "1", "--offline", "5"],
            [
                ("gaps", Self.inspect("--ranks 3 -t 1")), ("hash", Self.dump("--ranks 3")),
                ("offline", Self.inspect("--ranks 2 --cpus '0|5'")),
            ])
        let proof = try machine.proof("gaps")
        XCTAssertEqual(proof.ranks.map(\.cpus), [[0], [2], [4]])
        proof.check(nodes: [0, 0, 2])
        let notice = try machine.output("gaps")
        XCTAssertTrue(notice.contains("node 1 has no memory to use, taking node 0's"), notice)
        XCTAssertEqual(try machine.output("hash").prefix(64), try expectedHash()[...])
        let refusal = try machine.output("offline", status: 2)
        XCTAssertTrue(refusal.contains("list 2: CPUs 5 are offline"), refusal)
    }

    /// The process may use CPUs 1, 4 and 6 only, and there is no libnuma.
    func testAffinityWithoutLibnuma() throws {
        try skipInDebug()
        let machine = try VirtualMachine(
            ["--nodes", "4", "--affinity", "1,4,6", "--no-libnuma"],
            [
                ("affinity", Self.inspect("--ranks 3 -t 1")), ("hash", Self.dump("--ranks 3")),
                ("refused", Self.inspect("--ranks 1 --cpus 1-2")),
            ])
        let proof = try machine.proof("affinity")
        XCTAssertEqual(proof.ranks.map(\.cpus), [[1], [4], [6]])
        proof.check(nodes: [0, 2, 3])
        let notice = try machine.output("affinity")
        XCTAssertTrue(notice.contains("libnuma.so.1 is not installed"), notice)
        XCTAssertEqual(try machine.output("hash").prefix(64), try expectedHash()[...])
        let refusal = try machine.output("refused", status: 2)
        XCTAssertTrue(refusal.contains("CPUs 2 are not allowed"), refusal)
    }

    func testOneNode() throws {
        try skipInDebug()
        let machine = try VirtualMachine(
            ["--nodes", "1", "--cpus-per-node", "3"],
            [("one", Self.inspect("--ranks 2 -t 1")), ("hash", Self.dump("--ranks 3 --link ring --memory mirror"))])
        let proof = try machine.proof("one")
        XCTAssertEqual(proof.weights, "shared")
        XCTAssertEqual(proof.link, "shared")
        proof.check(nodes: [0, 0])
        XCTAssertEqual(try machine.output("hash").prefix(64), try expectedHash()[...])
    }

    /// The default model's answer, its logits and its cache are this machine's.
    func testDefaultModel() throws {
        try skipInDebug()
        let environment = ProcessInfo.processInfo.environment
        let path = (environment["XDG_CACHE_HOME"] ?? NSHomeDirectory() + "/.cache") + "/kvcpu/SmolLM2-135M-Instruct.Q4_1.gguf"
        guard FileManager.default.fileExists(atPath: path) else {
            if environment["CI"] == "true" { throw Fixtures.Missing(fixture: path) }
            throw XCTSkip("the default model is not at \(path): make model")
        }
        let flags = "--chat --temp 0 -n 2 --no-progress --stats json -c 64"
        let question = "Why is the sky blue?"
        let here = try Outcome(
            VirtualMachine.kvcpu,
            ["run", "-m", path, "-p", question, "--ranks", "1"] + flags.split(separator: " ").map(String.init))
        XCTAssertEqual(here.status, 0, here.error)
        let machine = try VirtualMachine(
            ["--nodes", "4", "--mem-per-node", "1024", "--file", path + ":/model.gguf"],
            [
                ("answer", "kvcpu run -m /model.gguf -p '\(question)' --ranks 4 -t 1 \(flags)")
            ])
        let there = try machine.output("answer")
        func hashes(_ text: String) -> [Substring] {
            ["logits_sha256", "kv_sha256"].compactMap { key in
                text.range(of: "\"\(key)\":\"").map { text[$0.upperBound...].prefix(64) }
            }
        }
        XCTAssertEqual(hashes(here.error).count, 2, here.error)
        XCTAssertEqual(hashes(there), hashes(here.error))
        let answer = here.output.trimmingCharacters(in: .whitespacesAndNewlines)
        XCTAssertTrue(!answer.isEmpty && there.contains(answer), "\(answer) is not in \(there)")
    }
}
