import Foundation
import KVFabric
import KVModel
import KVTestSupport
import Synchronization
import XCTest

import KVRunahead

/// Ranks that are killed, stopped or fail: a clean error that names them, and a right answer to the next request.
final class FaultTests: XCTestCase {
    private static let source = ModelSource.synthetic(
        "llama3-8b,layers=24,width=256,heads=4,kv=2,ffn=512,vocab=333,type=q4_0")
    private static let tokens = (0..<400).map { Int32(($0 * 7919 + 13) % 333) }

    private func ranks(
        _ count: Int, silence: Double = 0.3, model: Model? = nil, _ change: (inout Configuration) -> Void = { _ in }
    ) throws -> Ranks {
        var configuration = ProcessTests.configuration(Self.source, ranks: count)
        configuration.silenceLimit = silence
        change(&configuration)
        return try TestModels.ranks(try model ?? TestModels.model(Self.source, .int8), configuration, context: 450)
    }

    /// What is open, and what is left of processes.
    private struct Traces {
        var descriptors: Int
        var zombies: Int
        var children: Int
        var shared: [String]

        init() throws {
            descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
            // Ours would be named so; other programs come and go.
            shared = try FileManager.default.contentsOfDirectory(atPath: "/dev/shm").filter { $0.hasPrefix("kvcpu") }
            zombies = 0
            children = 0
            for name in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
                guard Int32(name) != nil, let stat = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8),
                    let fields = stat.split(separator: ")").last?.split(separator: " "), fields.count > 1,
                    fields[1] == "\(getpid())"
                else { continue }
                children += 1
                if fields[0] == "Z" { zombies += 1 }
            }
        }
    }

    private enum Moment: CaseIterable { case prefill, decode, idle }

    /// Runs a request while another thread signals a rank once it has begun a layer. Returns the error.
    private func disturbed(
        _ ranks: Ranks, rank: Int, signal: Int32, layer: Int, at moment: Moment
    ) throws -> EngineError? {
        if moment == .decode { _ = try ranks.prefill(Self.tokens) }
        let pid = ranks.processIDs[rank]
        let done = Atomic<Bool>(false)
        if moment == .idle { kill(pid, signal) }
        let killer = Thread {
            while !done.load(ordering: .relaxed), ranks.layersBegun(by: rank) <= layer { usleep(20) }
            if !done.load(ordering: .relaxed) { kill(pid, signal) }
        }
        if moment != .idle { killer.start() }
        defer {
            done.store(true, ordering: .relaxed)
            while moment != .idle, !killer.isFinished { usleep(100) }
        }
        do {
            if moment == .decode {
                for id in 0..<50 { try ranks.decode(Int32(id)) }
            } else {
                _ = try ranks.prefill(Self.tokens)
            }
            return nil
        } catch { return error }
    }

    /// Kills and stops at random layers, again and again: `KVCPU_FAULTS=200` for many.
    func testKillsAndStops() throws {
        let rounds = ProcessInfo.processInfo.environment["KVCPU_FAULTS"].flatMap { Int($0) } ?? 12
        var random = SplitMix64(seed: 42)
        let model = try TestModels.model(Self.source, .int8)
        let threads = try ranks(1, model: model) { $0.rankMode = .thread }
        let expected = try RunBits(threads, Self.tokens, steps: 4)
        threads.shutdown()
        let team = try ranks(2, model: model)
        XCTAssertTrue(try RunBits(team, Self.tokens, steps: 4) == expected)
        let before = try Traces()
        var hits = 0
        var slowest = 0.0
        for round in 0..<rounds {
            let rank = Int.random(in: 0..<2, using: &random)
            let signal = round % 2 == 0 ? SIGKILL : SIGSTOP
            let layer = Int.random(in: 0..<22, using: &random)
            let moment: Moment = round % 5 == 3 ? .decode : round % 7 == 6 ? .idle : .prefill
            let start = MonotonicClock.now
            let error = try disturbed(team, rank: rank, signal: signal, layer: layer, at: moment)
            slowest = max(slowest, Double(MonotonicClock.now - start) * 1e-9)
            let outcome = error?.description ?? "no error"
            let label = "round \(round): signal \(signal) to rank \(rank) in layer \(layer), \(moment): \(outcome)"
            if let error {
                hits += 1
                XCTAssertEqual(error.code, .rank, label)
                XCTAssertTrue(error.description.contains("rank \(rank) "), label)
                let cause = signal == SIGKILL ? "was killed by signal 9" : "its process is stopped"
                XCTAssertTrue(error.description.contains(cause), label)
            } else {
                // The signal came too late for the run: the next one may meet what it left.
                _ = try? team.prefill(Self.tokens)
            }
            XCTAssertTrue(try RunBits(team, Self.tokens, steps: 4) == expected, label)
            let traces = try Traces()
            XCTAssertEqual(traces.children, before.children, label)
            XCTAssertEqual(traces.zombies, 0, label)
            XCTAssertEqual(traces.shared, [], label)
            // What tests before this one had open may still be closed.
            XCTAssertLessThanOrEqual(traces.descriptors, before.descriptors, label)
        }
        print("faults: \(hits) of \(rounds) met a run, the slowest took \(slowest) s")
        XCTAssertGreaterThan(hits, rounds / 2)
        team.shutdown()
        let after = try Traces()
        XCTAssertEqual(after.children, before.children - 2)
        XCTAssertEqual(after.zombies, 0)
    }

    /// A rank that ended between a prompt and its decode takes the sequence along: one clean error, and the next prompt works.
    func testKilledBetweenPrefillAndDecode() throws {
        let team = try ranks(2)
        defer { team.shutdown() }
        try XCTSkipIf(team.decodingThreads < 2, "one CPU: the first rank decodes alone, and misses nobody")
        let expected = try RunBits(team, Self.tokens, steps: 2)
        _ = try team.prefill(Self.tokens)
        kill(team.processIDs[1], SIGKILL)
        for text in ["rank 1 was killed by signal 9", "the sequence is lost"] {
            XCTAssertThrowsError(try team.decode(3)) { error in
                XCTAssertEqual((error as? EngineError)?.code, .rank)
                XCTAssertTrue("\(error)".contains(text), "\(error)")
            }
        }
        XCTAssertTrue(try RunBits(team, Self.tokens, steps: 2) == expected)
    }

    /// A wait of a process that passes its deadline names rank and layer; the processes stay.
    func testFailingLinkBetweenProcesses() throws {
        let team = try ranks(2) {
            $0.waitLimit = 0.2
            $0.throttle = try? LinkProfile(parsing: "bandwidth=10kB/s")
        }
        defer { team.shutdown() }
        let pids = team.processIDs
        for _ in 0..<2 {
            XCTAssertThrowsError(try team.prefill(Self.tokens)) { error in
                XCTAssertEqual((error as? EngineError)?.code, .rank)
                XCTAssertTrue("\(error)".hasPrefix("rank 1, receiving layer 0: "), "\(error)")
            }
        }
        XCTAssertEqual(team.processIDs, pids)
        // On one rank there is no link to wait for.
        XCTAssertGreaterThan(try team.prefill(Self.tokens, partition: .tokens([400, 0])).duration, 0)
    }

    /// A rank killed while the engine opens, and one stopped: opening fails with its name.
    func testKilledWhileOpening() throws {
        // Weights that take a while to make.
        let source = ModelSource.synthetic("llama-7b,layers=2,vocab=20000,type=q4_0")
        let model = try TestModels.model(source, .int8)
        for signal in [SIGKILL, SIGSTOP] {
            let done = Atomic<Bool>(false)
            let killer = Thread {
                while !done.load(ordering: .relaxed) {
                    // The first rank there is.
                    if let pid = Self.rankProcess() {
                        kill(pid, signal)
                        return
                    }
                    usleep(200)
                }
            }
            killer.start()
            var configuration = ProcessTests.configuration(source, ranks: 2)
            configuration.silenceLimit = 0.3
            XCTAssertThrowsError(try TestModels.ranks(model, configuration, context: 64)) { error in
                XCTAssertEqual((error as? EngineError)?.code, .rank, "\(error)")
                XCTAssertTrue("\(error)".hasPrefix("rank "), "\(error)")
            }
            done.store(true, ordering: .relaxed)
            while !killer.isFinished { usleep(100) }
            XCTAssertEqual(try Traces().children, 0)
        }
    }

    private static func rankProcess() -> pid_t? {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
            guard let pid = Int32(name), let stat = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8),
                let fields = stat.split(separator: ")").last?.split(separator: " "), fields.count > 1, fields[1] == "\(getpid())"
            else { continue }
            return pid
        }
        return nil
    }

    /// In one process: a link that fails in a layer ends the run with rank, layer and cause, and the ranks stay usable.
    func testFailingLinkBetweenThreads() throws {
        let model = try TestModels.model(Self.source, .int8)
        for link in [Configuration.Link.ring, .shared] {
            for end in [LinkEnd.sender, .receiver] {
                var configuration = Configuration(Self.source)
                configuration.ranks = 3
                configuration.threadsPerRank = 1
                configuration.link = link
                let fault = Fault()
                let placement = Placement.plan(topology: Topology.read(), ranks: 3, threadsPerRank: 1)
                let team = try Ranks(
                    model: model, configuration: configuration, placement: placement, contextLength: 450,
                    detour: { from, link in from == 1 ? FailingLink(link, fault) : link }, progress: { _ in })
                defer { team.shutdown() }
                let expected = try RunBits(team, Self.tokens, steps: 2)
                fault.set(layer: 7, end)
                for _ in 0..<2 {
                    XCTAssertThrowsError(try team.prefill(Self.tokens)) { error in
                        let text = end == .sender ? "rank 1, sending layer 7: " : "rank 2, receiving layer 7: "
                        XCTAssertEqual((error as? EngineError)?.code, .rank)
                        XCTAssertTrue("\(error)".hasPrefix(text), "\(error)")
                        XCTAssertTrue("\(error)".contains("the cable was cut"), "\(error)")
                    }
                }
                fault.set(layer: nil, end)
                XCTAssertTrue(try RunBits(team, Self.tokens, steps: 2) == expected)
            }
        }
    }
}

/// Where a link is to fail.
private final class Fault: Sendable {
    private let place = Mutex<(layer: Int?, end: LinkEnd)>((nil, .sender))

    func set(layer: Int?, _ end: LinkEnd) { place.withLock { $0 = (layer, end) } }

    func check(_ layer: Int, _ end: LinkEnd) throws(FabricError) {
        let place = place.withLock { $0 }
        if place.layer == layer, place.end == end { throw .peerGone("the cable was cut") }
    }
}

private final class FailingLink: Link {
    private let base: any Link
    private let fault: Fault

    init(_ base: any Link, _ fault: Fault) {
        self.base = base
        self.fault = fault
    }

    var bytesSent: UInt64 { base.bytesSent }
    func take(_ end: LinkEnd) { base.take(end) }
    func reset() throws(FabricError) { try base.reset() }

    func send(
        _ segment: Segment, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, deadline: UInt64, interrupt: Interrupt
    ) throws(FabricError) {
        try fault.check(segment.layer, .sender)
        try base.send(segment, key: key, value: value, deadline: deadline, interrupt: interrupt)
    }

    func receive(
        _ segment: Segment, key: UnsafeMutableRawBufferPointer, value: UnsafeMutableRawBufferPointer, deadline: UInt64,
        interrupt: Interrupt
    ) throws(FabricError) {
        try fault.check(segment.layer, .receiver)
        try base.receive(segment, key: key, value: value, deadline: deadline, interrupt: interrupt)
    }
}
