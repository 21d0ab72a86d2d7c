import Foundation
import KVTestSupport
import XCTest

/// A program's end.
struct Outcome {
    let status: Int32
    let output: String
    let error: String

    /// Runs a program to its end.
    init(_ program: URL, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["KVCPU_PLANS": "none"]) { $1 }
        process.standardInput = FileHandle.nullDevice
        let out = Pipe()
        let err = Pipe()
        process.standardOutput = out
        process.standardError = err
        try process.run()
        nonisolated(unsafe) var collected = Data()
        let group = DispatchGroup()
        DispatchQueue(label: "stderr").async(group: group) { collected = err.fileHandleForReading.readDataToEndOfFile() }
        output = String(decoding: out.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        group.wait()
        process.waitUntilExit()
        error = String(decoding: collected, as: UTF8.self)
        status = process.terminationStatus
    }
}

/// A machine with several nodes, in software (see `numa-vm`), and what a few commands say there.
struct VirtualMachine {
    /// The built program.
    static var kvcpu: URL {
        URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent("kvcpu")
    }
    private static var script: URL { Fixtures.repository.appendingPathComponent("Tests/KVNumaTests/numa-vm") }

    /// Status and output (both streams) of each command, by name.
    private(set) var results: [String: (status: Int, output: String)] = [:]

    /// Boots, runs the commands one after the other, and ends.
    /// - Throws: `XCTSkip` where no machine can be emulated, saying why.
    init(_ options: [String], _ commands: [(name: String, line: String)]) throws {
        let setup = try Outcome(Self.script, ["--setup"])
        if setup.status != 0 {
            print("SKIPPED: no virtual machine with several nodes can be run here: \(setup.error)")
            throw XCTSkip("no virtual machine with several nodes can be run here: \(setup.error)")
        }
        let lines = commands.map { "echo '== \($0.name)'; ( \($0.line) ) 2>&1; echo \"== status $?\"" }.joined(separator: "\n")
        let run = try Outcome(
            Self.script, options + ["--program", Self.kvcpu.path, "--", "export KVCPU_PLANS=none\n" + lines])
        XCTAssertEqual(run.status, 0, run.error + run.output)
        var name: String?
        var text: [Substring] = []
        for line in run.output.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("== status "), let ended = name {
                results[ended] = (Int(line.dropFirst(10)) ?? -1, text.joined(separator: "\n"))
                name = nil
            } else if line.hasPrefix("== ") {
                name = String(line.dropFirst(3))
                text = []
            } else {
                text.append(line)
            }
        }
        for command in commands where results[command.name] == nil { XCTFail("\(command.name) did not end: \(run.output)") }
    }

    /// What a command wrote, its status being as expected.
    func output(_ name: String, status: Int = 0, line: UInt = #line) throws -> String {
        let result = try XCTUnwrap(results[name], line: line)
        XCTAssertEqual(result.status, status, "\(name): \(result.output)", line: line)
        return result.output
    }

    /// The proof that `inspect --placement -o json` wrote.
    func proof(_ name: String, line: UInt = #line) throws -> Proof {
        let text = try output(name, line: line)
        // Notices may stand before it.
        let json = text.drop { $0 != "{" }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let proof = try decoder.decode(Proof.self, from: Data(json.utf8))
        print("\(name):", proof)
        return proof
    }
}

/// The part of `inspect --placement -o json` that is looked at.
struct Proof: Decodable, CustomStringConvertible {
    struct Worker: Decodable {
        let asked: Int?
        let affinity, seen: [Int]
    }
    struct Memory: Decodable {
        let what: String
        let planned: Int?
        let pages: [String: Int]

        /// The part of the pages on a node.
        func share(of node: Int) -> Double { Double(pages["\(node)"] ?? 0) / Double(max(1, pages.values.reduce(0, +))) }
    }
    struct Rank: Decodable {
        let rank: Int
        let node: Int?
        let workers: [Worker]
        let memory: [Memory]
        var cpus: [Int] { workers.compactMap(\.asked) }
    }
    let weights, link: String
    let ranks: [Rank]
    let off, notes: [String]

    var description: String {
        ranks.map { rank in
            let memory = rank.memory.map { "\($0.what) \($0.pages.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" })" }
            return "rank \(rank.rank) CPUs \(rank.cpus) seen \(rank.workers.map(\.seen)) \(memory.joined(separator: ", "))"
        }.joined(separator: "; ") + (off.isEmpty ? "" : " OFF: \(off)")
    }

    /// Every thread ran where it was bound to, on its rank's nodes, and every page that a rank reads is on its node.
    func check(nodes expected: [Int], cpusPerNode: Int = 2, line: UInt = #line) {
        XCTAssertEqual(off, [], line: line)
        XCTAssertEqual(ranks.map(\.node), expected, line: line)
        for rank in ranks {
            for worker in rank.workers {
                XCTAssertEqual(worker.affinity, worker.asked.map { [$0] } ?? [], "rank \(rank.rank)", line: line)
                XCTAssertEqual(worker.seen, worker.affinity, "rank \(rank.rank)", line: line)
            }
            let kinds = rank.memory.map(\.what)
            XCTAssertTrue(Set(kinds).isSuperset(of: ["weights", "KV-cache", "scratch"]), "\(kinds)", line: line)
            for memory in rank.memory where link == "ring" || memory.what != "KV-cache" {
                XCTAssertGreaterThan(memory.pages.values.reduce(0, +), 0, "\(memory.what)", line: line)
                XCTAssertGreaterThanOrEqual(
                    memory.share(of: expected[rank.rank]), 0.99, "rank \(rank.rank)'s \(memory.what): \(memory.pages)", line: line)
            }
        }
    }
}
