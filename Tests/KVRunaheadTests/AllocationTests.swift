import CMallocCount
import KVGGUF
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// Nothing is allocated on the heap per token or per layer once the ranks stand.
final class AllocationTests: XCTestCase {
    func testPrefillAndDecodeAllocateNothing() throws {
        #if DEBUG
            throw XCTSkip("unoptimised Swift keeps closures and tuples on the heap: counted in release")
        #else
            try XCTSkipUnless(malloc_count_works(), "allocations cannot be counted in this build")
            for name in ["q-llama-q8_0", "falcon-7b", "qwen2moe", "gemma2"] { try count(name) }
        #endif
    }

    private func count(_ name: String) throws {
        let before = malloc_count()
        let probe = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 8)
        XCTAssertGreaterThan(malloc_count(), before, "the counter does not count")
        probe.deallocate()

        let path = try TestModels.fixture(name)
        let tokens = try SafetensorsFile(path: try Fixtures.require("\(name)/expected.safetensors"))
            .integers("input_ids").map(Int32.init)
        for (link, strategy) in [(Configuration.Link.ring, Configuration.Strategy.runahead), (.shared, .runahead)]
            + [(.ring, .tsp), (.shared, .zigzag), (.shared, .sequential)]
        {
            var configuration = Configuration(model: path)
            configuration.ranks = 2
            configuration.threadsPerRank = 2
            configuration.link = link
            configuration.strategy = strategy
            if strategy == .tsp { configuration.throttle = LinkProfile() }
            let ranks = try TestModels.ranks(TestModels.model(path, .int8), configuration, context: 256)
            // Once to warm lazy runtime state up.
            _ = try ranks.prefill(tokens)
            try ranks.decode(1)

            // The workers' threads, during a whole prefill: none at all.
            malloc_count_exclude_this_thread(true)
            var start = malloc_count()
            _ = try ranks.prefill(tokens)
            XCTAssertEqual(malloc_count() - start, 0, "\(link) \(strategy): workers allocate in prefill")
            malloc_count_exclude_this_thread(false)

            // The caller's thread: the same number whatever the prompt's length.
            func calls(_ prompt: [Int32]) throws -> UInt64 {
                let start = malloc_count()
                _ = try ranks.prefill(prompt)
                return malloc_count() - start
            }
            let short = Array(tokens.prefix(8))
            let long = tokens + tokens + tokens
            _ = try (calls(short), calls(long))
            XCTAssertEqual(try calls(short), try calls(long), "\(link) \(strategy): allocations grow with the prompt")

            // Decode: none on any thread.
            _ = try ranks.prefill(tokens)
            try ranks.decode(1)
            start = malloc_count()
            for id in 2..<34 { try ranks.decode(Int32(id)) }
            XCTAssertEqual(malloc_count() - start, 0, "\(link) \(strategy): decode allocates")
            ranks.shutdown()
        }
    }
}
