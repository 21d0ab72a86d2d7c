import Foundation
import XCTest

import KVRunahead

final class PlanStoreTests: XCTestCase {
    private var folder = ""

    override func setUpWithError() throws {
        folder = NSTemporaryDirectory() + "kvcpu-plans-\(UUID().uuidString)"
    }

    override func tearDown() { try? FileManager.default.removeItem(atPath: folder) }

    static func key(machine: String = "here", engine: String = "1", model: String = "abc") -> PlanKey {
        PlanKey(
            model: model, label: "a model/with \"odd\" name", machine: machine, ranks: 2, threadsPerRank: 1, weights: "q4_1",
            activations: "int8", cache: "f16", link: "shared", engine: engine)
    }

    private func entry(_ tokens: Int, first: Int) -> PlanTable.Entry {
        .init(tokens: tokens, sizes: [first, tokens - first], seconds: 1, even: 1.1, modelled: 1.01, isSettled: true)
    }

    func testRoundTrip() throws {
        let store = PlanStore(folder: folder)
        XCTAssertNil(try store.load(Self.key()))
        try store.update(Self.key()) {
            $0.set(self.entry(1024, first: 560))
            $0.costs = PipelineTests.costs()
            $0.add(.init(sizes: [512, 512], seconds: [1.1, 1.2]))
        }
        try store.update(Self.key()) { $0.add(.init(sizes: [512, 512], seconds: [1.3])) }
        let table = try XCTUnwrap(store.load(Self.key()))
        XCTAssertEqual(table.entries, [entry(1024, first: 560)])
        XCTAssertEqual(table.costs, PipelineTests.costs())
        XCTAssertEqual(table.samples, [.init(sizes: [512, 512], seconds: [1.1, 1.2, 1.3])])
    }

    /// Damaged, foreign and stale tables are named, not used, and put aside instead of being overwritten.
    func testUntrustedTables() throws {
        let store = PlanStore(folder: folder)
        let key = Self.key()
        let path = store.path(key)
        try store.update(key) { $0.set(self.entry(1024, first: 560)) }
        let good = try String(contentsOfFile: path, encoding: .utf8)
        for (text, reason) in [
            ("", "damaged"), ("{", "damaged"), ("[]", "damaged"), (String(good.dropLast(20)), "damaged"),
            (good.replacingOccurrences(of: "\"version\" : 1", with: "\"version\" : 99"), "version 99"),
            (good.replacingOccurrences(of: "\"here\"", with: "\"elsewhere\""), "machine is \"elsewhere\""),
            (good.replacingOccurrences(of: "\"engine\" : \"1\"", with: "\"engine\" : \"0\""), "engine version is \"0\""),
            (good.replacingOccurrences(of: "\"abc\"", with: "\"xyz\""), "model is \"xyz\""),
            (good.replacingOccurrences(of: "560", with: "561"), "contradicts itself"),
            (good.replacingOccurrences(of: "560", with: "-560"), "contradicts itself"),
            (good.replacingOccurrences(of: "\"even\" : 1.1", with: "\"even\" : -1"), "contradicts itself"),
        ] {
            XCTAssertNotEqual(text, good, reason)
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            let planner = Planner(store: store, key: key)
            XCTAssertNil(planner.table)
            XCTAssertEqual(planner.notices.count, 1)
            let notice = planner.notices.first ?? ""
            XCTAssertTrue(notice.contains(path) && notice.contains(reason) && notice.hasSuffix("ignored"), notice)
            try store.update(key) { $0.set(self.entry(2048, first: 1100)) }
            XCTAssertEqual(try store.load(key)?.entries.map(\.tokens), [2048])
            let aside = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.contains(".ignored-") }
            XCTAssertEqual(aside.count, 1)
            XCTAssertEqual(try String(contentsOfFile: folder + "/" + aside[0], encoding: .utf8), text)
            try FileManager.default.removeItem(atPath: folder + "/" + aside[0])
        }
    }

    /// A simulation takes a step for every layer: a table cannot make it take hours, nor more memory than there is.
    func testCostsOfNoModel() throws {
        let store = PlanStore(folder: folder)
        let key = Self.key()
        var costs = PipelineTests.costs()
        costs.link.lead = 2
        try store.update(key) { $0.costs = costs }
        let good = try String(contentsOfFile: store.path(key), encoding: .utf8)
        for (field, values) in [
            ("layers", ["0", "-1", "100001", "4611686018427387904", "9223372036854775807"]),
            ("lead", ["-1", "1025", "4611686018427387904", "9223372036854775807"]),
        ] {
            for value in values {
                let text = good.replacing(try Regex("\"\(field)\" : [0-9]+"), with: "\"\(field)\" : \(value)")
                XCTAssertNotEqual(text, good)
                try text.write(toFile: store.path(key), atomically: true, encoding: .utf8)
                XCTAssertThrowsError(try store.load(key), "\(field) \(value)") { XCTAssertTrue($0 is PlanError, "\($0)") }
            }
        }
    }

    /// A table of another machine in the same folder is named, and stays.
    func testForeignNeighbour() throws {
        let store = PlanStore(folder: folder)
        try store.update(Self.key(machine: "there")) { $0.set(self.entry(1024, first: 560)) }
        let planner = Planner(store: store, key: Self.key())
        XCTAssertNil(planner.table)
        XCTAssertEqual(planner.notices.count, 1)
        XCTAssertTrue(planner.notices.first?.contains("machine is \"there\"") == true, "\(planner.notices)")
        try store.update(Self.key()) { $0.set(self.entry(512, first: 260)) }
        XCTAssertEqual(Planner(store: store, key: Self.key()).notices, [])
        XCTAssertEqual(try store.load(Self.key(machine: "there"))?.entries.count, 1)
    }

    /// Writers of one table at once lose nothing; stores as different processes have them, each with its own lock file handle.
    func testWritersAtOnce() throws {
        let folder = folder
        DispatchQueue.concurrentPerform(iterations: 8) { writer in
            let store = PlanStore(folder: folder)
            for round in 0..<12 {
                let tokens = 100 + writer * 100 + round
                do {
                    try store.update(Self.key()) {
                        $0.add(.init(sizes: [50, 50], seconds: [Double(tokens)]))
                        $0.set(
                            .init(tokens: tokens, sizes: [50, tokens - 50], seconds: 1, even: 1, modelled: nil, isSettled: true))
                    }
                } catch { XCTFail("\(error)") }
            }
        }
        let table = try XCTUnwrap(PlanStore(folder: folder).load(Self.key()))
        XCTAssertEqual(table.entries.count, 96)
        XCTAssertEqual(Set(table.samples.first?.seconds ?? []).count, 96)
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder).count, 2, "the table and the lock")
    }

    func testFolderThatCannotBeWritten() {
        let planner = Planner(store: PlanStore(folder: "/proc/no-such-folder"), key: Self.key())
        planner.learned(PipelineTests.costs())
        XCTAssertEqual(planner.costs, PipelineTests.costs())
        XCTAssertEqual(planner.notices.count, 1)
        XCTAssertTrue(planner.notices.first?.contains("/proc/no-such-folder") == true)
    }
}
