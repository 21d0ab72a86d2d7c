import Foundation
import KVFabric
import KVGGUF
import KVModel

/// Ranks and threads that a machine is fastest with, kept beside the plan tables.
package struct PlanShape: Sendable, Equatable, Codable {
    package let ranks: Int
    package let threadsPerRank: Int

    package init(ranks: Int, threadsPerRank: Int) {
        self.ranks = ranks
        self.threadsPerRank = threadsPerRank
    }

    /// The shape measured for a configuration's model on this machine; nil where there is none.
    /// - Parameter notices: told of a table that is ignored.
    package static func find(for configuration: Configuration, notices: (String) -> Void = { _ in }) -> PlanShape? {
        guard let folder = configuration.planFolder,
            // Before the model's header is read for nothing.
            let names = try? FileManager.default.contentsOfDirectory(atPath: folder),
            names.contains(where: { $0.contains("-0x0-") }),
            let key = try? key(configuration)
        else { return nil }
        do { return try PlanStore(folder: folder).load(key)?.shape } catch {
            notices("\(error); ignored")
            return nil
        }
    }

    /// - Throws: `EngineError` for a model that cannot be read, `PlanError` where nothing can be written.
    package func keep(for configuration: Configuration) throws {
        guard let folder = configuration.planFolder else { return }
        try PlanStore(folder: folder).update(try Self.key(configuration)) { $0.shape = self }
    }

    /// Of no ranks: the machine as a whole.
    private static func key(_ configuration: Configuration) throws(EngineError) -> PlanKey {
        var opening = configuration
        opening.ranks = 1
        opening.threadsPerRank = nil
        opening.cpus = opening.cpus?.replacing("|", with: ",")
        var key = PlanKey(try Opening(opening), link: configuration.link)
        key.ranks = 0
        key.threadsPerRank = 0
        return key
    }
}
