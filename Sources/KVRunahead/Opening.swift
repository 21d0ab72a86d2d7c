import KVCUDA
package import KVFabric
package import KVGGUF
package import KVModel

/// Everything decided about a model before any memory is taken: file, kernels, context, placement, memory plan.
package struct Opening {
    package let file: GGUFFile
    package let model: Model
    /// As asked, with the sequential strategy's ranks folded into one.
    package let configuration: Configuration
    package let contextLength: Int
    package let topology: Topology
    package let placement: Placement
    package let memory: MemoryPlan
    /// Where ranks compute.
    package let devices: DeviceChoice
    package var notices: [String]

    /// Positions are 32-bit numbers in files and on devices.
    private static let mostPositions = 1 << 31 - 1

    /// - Parameter machine: for a machine that one does not have; nil reads this one.
    /// - Throws: `EngineError`.
    package init(_ asked: Configuration, machine: Topology? = nil) throws(EngineError) {
        var configuration = asked
        guard (1...1024).contains(asked.ranks) else {
            throw EngineError(.request, "ranks is \(asked.ranks); it must be 1 to 1024")
        }
        if let threads = asked.threadsPerRank, !(1...1024).contains(threads) {
            throw EngineError(.request, "threads per rank is \(threads); it must be 1 to 1024")
        }
        guard (0.05...3600).contains(asked.silenceLimit) else {
            throw EngineError(.request, "the silence limit is \(asked.silenceLimit) s; it must be 0.05 to 3600")
        }
        guard asked.waitLimit > 0, asked.waitLimit <= 1e9 else {
            throw EngineError(.request, "the wait limit is \(asked.waitLimit) s; it must be above 0 and at most 1e9")
        }
        guard (0...Self.mostPositions).contains(asked.contextLength) else {
            throw EngineError(
                .request,
                "the context is \(asked.contextLength); it must be 0 (the model's) or more, at most \(Self.mostPositions) (-c)")
        }
        try asked.throttle?.validate()
        if asked.rankMode == .process, RankMain.isRank {
            throw EngineError(
                .request, "this program was started as a rank and opens an engine: it must call RankMain.runIfAsked() first of all")
        }
        if asked.strategy == .sequential {
            configuration.threadsPerRank = asked.threadsPerRank.map { $0 * asked.ranks }
            configuration.ranks = 1
            configuration.partition = .even
            // All ranks' lists are the one's.
            configuration.cpus = asked.cpus?.replacing("|", with: ",")
        }
        try configuration.strategy.check(configuration.partition)
        devices = try DeviceChoice(asked.devices)
        if devices.cuda != nil {
            try configuration.checkDevices()
            if !devices.devices.contains(.cpu) { configuration.threadsPerRank = 1 }
        }
        file = try asked.model.open()
        let type = try asked.weightType.map { name throws(EngineError) in
            guard let type = TensorType(named: name), Kernels.quantisableNames.contains(type.name) else {
                throw EngineError(
                    .request,
                    "no weights can be made \"\(name)\"; the known ones are "
                        + Kernels.quantisableNames.joined(separator: ", ").lowercased())
            }
            return type
        }
        do {
            model = try Model(
                file, kernels: try Kernels.choose(named: asked.instructionSet),
                activations: asked.activations == .int8 ? .int8 : .float, type: type)
        } catch { throw EngineError(.model, error.description) }
        let geometry = model.geometry
        contextLength = asked.contextLength == 0 ? geometry.contextLength : asked.contextLength
        topology = machine ?? Topology.read()
        let wish = try configuration.placementWish(ranks: configuration.ranks)
        do { placement = try Placement(wish, on: topology) } catch { throw EngineError(.request, error.description) }
        notices = topology.notes + placement.notes + [devices.notice].compactMap(\.self)
        let onDevices = devices.cuda == nil ? [] : try devices.shared(by: placement.ranks.count)
        if contextLength > geometry.contextLength {
            notices.append("the model was trained for \(geometry.contextLength) positions, the context is \(contextLength)")
        }
        var memory = try MemoryNeeds(model, configuration, context: contextLength, placement, topology, devices: onDevices)
            .plan(configuration.memory)
        if memory.nodes.count > 1, configuration.memory == .auto, memory.mode != .mirror {
            notices.append("a copy of the weights on every node does not fit; there is one, its pages on all ranks' nodes in turns")
        }
        if memory.mode != .mirror, !memory.shortage.isEmpty, memory.total <= memory.available ?? .max {
            notices.append("\(memory.shortage): the rest comes from other nodes")
        }
        configuration.memory = memory.mode
        if memory.total <= memory.available ?? .max {
            let (bytes, notice) = try memory.prompts(asked.promptMemory)
            memory.prompts = bytes
            configuration.promptMemory = bytes
            if let notice { notices.append(notice) }
        }
        self.memory = memory
        self.configuration = configuration
    }

    /// What `auto` means for it.
    var link: Configuration.Link {
        Ranks.resolve(
            configuration.link, placement,
            devices: (try? devices.shared(by: placement.ranks.count)).flatMap { devices.cuda == nil ? nil : $0 } ?? [])
    }

    /// The instruction set, or the devices that compute.
    package var kernels: String {
        guard let cuda = devices.cuda else { return model.weights.kernels.name }
        let used = (try? devices.shared(by: placement.ranks.count)) ?? devices.devices
        return used.indices.filter { used.firstIndex(of: used[$0]) == $0 }.map { used[$0] }.map { device in
            if case .cuda(let index) = device { "\(device) \(cuda.devices[index].name)" } else { model.weights.kernels.name }
        }.joined(separator: ", ")
    }

    func information(link: Configuration.Link, notices more: [String]) -> Engine.Information {
        Engine.Information(
            modelPath: file.path, architecture: model.name, kernels: kernels,
            contextLength: contextLength, ranks: placement.ranks.count,
            threadsPerRank: placement.ranks.first?.cpus.count ?? 0, cpus: placement.ranks.map(\.cpus), link: link,
            memory: memory, notices: notices + more)
    }
}
