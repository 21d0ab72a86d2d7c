import KVFabric
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// What is planned, and refused, on machines that one does not have.
final class MemoryPlanTests: XCTestCase {
    /// Four nodes of two cores; `free` MiB on each.
    private func machine(_ free: [Int]) -> Topology {
        Topology(
            cpus: (0..<2 * free.count).map {
                .init(id: $0, node: $0 / 2, package: $0 / 2, core: $0, siblings: [$0], cacheGroup: $0 / 2 * 2)
            },
            nodes: free.indices.map {
                .init(
                    id: $0, memoryTotal: 1 << 40, memoryFree: UInt64(free[$0]) << 20, cpus: [2 * $0, 2 * $0 + 1],
                    distances: Dictionary(uniqueKeysWithValues: free.indices.map { ($0, 20) }))
            })
    }

    private func configuration(_ memory: Configuration.Memory) -> Configuration {
        // Some 20 MiB of weights.
        var configuration = Configuration(.synthetic("llama-7b,layers=2,width=1024,heads=8,ffn=2048,vocab=8192,type=q8_0"))
        configuration.ranks = 4
        configuration.contextLength = 128
        configuration.memory = memory
        return configuration
    }

    private func plan(_ memory: Configuration.Memory, _ free: [Int]) throws -> (plan: MemoryPlan, notices: [String]) {
        let opening = try Opening(configuration(memory), machine: machine(free))
        return (opening.memory, opening.notices)
    }

    func testAutoMirrorsWhereThatFits() throws {
        let (plan, notices) = try plan(.auto, [200, 200, 200, 200])
        XCTAssertEqual(plan.mode, .mirror)
        XCTAssertEqual(plan.nodes.map(\.id), [0, 1, 2, 3])
        XCTAssertEqual(plan.weights, plan.nodes.reduce(0) { $0 + $1.weights })
        XCTAssertEqual(plan.caches, plan.nodes.reduce(0) { $0 + $1.caches })
        XCTAssertEqual(plan.arenas, plan.nodes.reduce(0) { $0 + $1.arenas })
        XCTAssertEqual(plan.rings, plan.nodes.reduce(0) { $0 + $1.rings })
        XCTAssertEqual(plan.nodes[0].rings, 0)
        XCTAssertGreaterThan(plan.nodes[1].rings, 0)
        XCTAssertTrue(notices.isEmpty, "\(notices)")
        XCTAssertNoThrow(try plan.check())
    }

    func testAutoInterleavesWhereACopyDoesNotFit() throws {
        let (plan, notices) = try plan(.auto, [200, 14, 200, 200])
        XCTAssertEqual(plan.mode, .interleave)
        XCTAssertEqual(plan.nodes[1].weights, plan.weights / 4)
        XCTAssertTrue(notices.contains { $0.contains("a copy of the weights on every node does not fit") }, "\(notices)")
        XCTAssertNoThrow(try plan.check())
        // Less than even its share: it works, from other nodes.
        let (tight, more) = try self.plan(.auto, [200, 1, 200, 200])
        XCTAssertTrue(more.contains { $0.hasPrefix("node 1 needs ") && $0.contains("has 1.0 MiB free") }, "\(more)")
        XCTAssertNoThrow(try tight.check())
    }

    func testMirrorIsRefusedNamingTheNode() throws {
        let (plan, _) = try plan(.mirror, [200, 200, 10, 200])
        XCTAssertEqual(plan.mode, .mirror)
        XCTAssertThrowsError(try plan.check()) { error in
            let error = error as? EngineError
            XCTAssertEqual(error?.code, .memory)
            let text = error?.description ?? ""
            XCTAssertTrue(text.contains("node 2 needs \(MemoryPlan.text(plan.nodes[2].total)) and has 10.0 MiB free"), text)
            XCTAssertFalse(text.contains("node 1"), text)
        }
    }

    /// Nodes that the cpuset does not grant do not count.
    func testNothingFits() throws {
        var machine = machine([10, 5, 4, 900])
        machine.allowedNodes = [0, 1]
        let opening = try Opening(configuration(.auto), machine: machine)
        XCTAssertEqual(opening.memory.available, 15 << 20)
        XCTAssertEqual(opening.placement.ranks.map(\.node), [0, 1, 0, 0])
        XCTAssertThrowsError(try opening.memory.check()) { error in
            let text = "\(error)"
            XCTAssertTrue(text.contains("has 15.0 MiB"), text)
            XCTAssertTrue(text.contains("node 0 needs") && text.contains("has 10.0 MiB free"), text)
        }
    }

    /// What earlier prompts may take is what the rest leaves of the groups' limits, less what the groups use already.
    func testEarlierPrompts() throws {
        var machine = machine([4000])
        machine.memoryLimit = 160 << 20
        machine.memoryAvailable = 150 << 20
        var configuration = configuration(.auto)
        let opening = try Opening(configuration, machine: machine)
        let plan = opening.memory
        XCTAssertEqual(plan.available, 150 << 20)
        XCTAssertEqual(plan.prompts, 150 << 20 - plan.total - MemoryPlan.programMemory)
        XCTAssertEqual(opening.configuration.promptMemory, plan.prompts)
        XCTAssertTrue(opening.notices.contains { $0.hasPrefix("earlier prompts are kept in \(MemoryPlan.text(plan.prompts))") })
        // All that is left, without a word; what fits as it is; what does not, refused.
        configuration.promptMemory = .max
        let all = try Opening(configuration, machine: machine)
        XCTAssertEqual(all.memory.prompts, plan.prompts)
        XCTAssertFalse(all.notices.contains { $0.hasPrefix("earlier prompts") }, "\(all.notices)")
        configuration.promptMemory = 1 << 20
        XCTAssertEqual(try Opening(configuration, machine: machine).memory.prompts, 1 << 20)
        for (bytes, code) in [(plan.prompts + 1, EngineError.Code.memory), (-1, .request)] {
            configuration.promptMemory = bytes
            XCTAssertThrowsError(try Opening(configuration, machine: machine)) {
                XCTAssertEqual(($0 as? EngineError)?.code, code, "\($0)")
            }
        }
        // A group that others have filled.
        configuration.promptMemory = nil
        machine.memoryAvailable = 1 << 20
        XCTAssertThrowsError(try Opening(configuration, machine: machine).memory.check())
    }

    func testOneNodeSharesOneCopy() throws {
        for memory in Configuration.Memory.allCases {
            let (plan, notices) = try plan(memory, [400])
            XCTAssertEqual(plan.mode, .shared)
            XCTAssertEqual(plan.nodes.count, 1)
            XCTAssertEqual(plan.nodes[0].weights, plan.weights)
            XCTAssertTrue(notices.isEmpty || memory == .auto || notices.count <= 1, "\(notices)")
        }
    }

    func testNoPolicyNoNodes() throws {
        var configuration = configuration(.auto)
        configuration.numa = .off
        let opening = try Opening(configuration, machine: machine([200, 200]))
        XCTAssertEqual(opening.memory.nodes.count, 0)
        XCTAssertEqual(opening.memory.mode, .shared)
        XCTAssertFalse(opening.placement.isPinned)
    }

    func testWishesThatCannotBeFulfilled() throws {
        var configuration = configuration(.auto)
        configuration.cpus = "0|1|2|9"
        XCTAssertThrowsError(try Opening(configuration, machine: machine([200, 200]))) { error in
            XCTAssertEqual((error as? EngineError)?.code, .request)
            XCTAssertTrue("\(error)".contains("list 4: CPUs 9 are offline"), "\(error)")
        }
        configuration.cpus = "0-"
        XCTAssertThrowsError(try Opening(configuration, machine: machine([200, 200]))) { error in
            XCTAssertTrue("\(error)".contains("--cpus is \"0-\""), "\(error)")
        }
        // One rank computes alone, on all ranks' CPUs.
        configuration.cpus = "0|1"
        configuration.strategy = .sequential
        XCTAssertEqual(try Opening(configuration, machine: machine([200, 200])).placement.ranks.map(\.cpus), [[0, 1]])
    }
}
