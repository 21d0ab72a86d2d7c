package import KVModel

/// The KV-cache of a device, laid out as the host's: [layer][keys, values][position, key/value head, head dimension], float16. One of the host
/// is its image, as far as somebody wants to see it.
package final class DeviceCache: Sendable {
    package let geometry: Geometry
    package let capacity: Int
    package let context: DeviceContext
    private let memory: DeviceMemory

    /// - Throws: `CUDAError`, memory when there is too little.
    package init(_ geometry: Geometry, capacity: Int, on context: DeviceContext) throws(CUDAError) {
        self.geometry = geometry
        self.capacity = capacity
        self.context = context
        memory = try context.allocate(KVCache.bytes(geometry, type: .f16, capacity: capacity), for: "the KV-cache")
    }

    /// Of one position's keys (or values) in one layer.
    var rowBytes: Int { geometry.keyValueWidth * ElementType.bytes }

    func keys(_ layer: Int, _ position: Int = 0) -> UInt64 { part(2 * layer, position) }
    func values(_ layer: Int, _ position: Int = 0) -> UInt64 { part(2 * layer + 1, position) }

    private func part(_ index: Int, _ position: Int) -> UInt64 {
        memory.address + UInt64((index * capacity + position) * rowBytes)
    }

    /// Asks for a layer's rows to be copied to the image; they are there when the stream has passed it.
    package func download(_ layer: Int, _ rows: Range<Int>, to image: KVCache, on stream: DeviceStream) throws(CUDAError) {
        for (address, bytes) in [
            (keys(layer, rows.lowerBound), image.keys(layer, rows)), (values(layer, rows.lowerBound), image.values(layer, rows)),
        ] {
            if let base = bytes.baseAddress { try stream.download(address, to: base, bytes: bytes.count) }
        }
    }

    /// Asks for a layer's rows to be copied from the image.
    package func upload(_ layer: Int, _ rows: Range<Int>, from image: KVCache, on stream: DeviceStream) throws(CUDAError) {
        for (address, bytes) in [
            (keys(layer, rows.lowerBound), image.keys(layer, rows)), (values(layer, rows.lowerBound), image.values(layer, rows)),
        ] {
            if let base = bytes.baseAddress { try stream.upload(base, to: address, bytes: bytes.count) }
        }
    }
}

/// The way of segments from a rank on one device to the next rank, on the same device or another: an event in each layer, and between devices
/// copies beside the sender's own work.
///
/// The host says to the receiver, by a link, that the sender has asked for it (see `DeviceRunahead`).
package final class DeviceHandoff: Sendable {
    private let source, target: DeviceCache
    /// By layer: its rows are in the target.
    private let arrived: [DeviceEvent]
    /// By layer: its rows are in the source; and the stream that copies them. Nil within one cache.
    private let copies: (computed: [DeviceEvent], stream: DeviceStream)?

    package init(from source: DeviceCache, to target: DeviceCache) throws(CUDAError) {
        self.source = source
        self.target = target
        func events() throws(CUDAError) -> [DeviceEvent] {
            var events: [DeviceEvent] = []
            for _ in 0..<source.geometry.layers { events.append(try source.context.event()) }
            return events
        }
        arrived = try events()
        if source === target {
            copies = nil
            return
        }
        // Where devices have no way to each other, the driver goes through the host.
        if source.context !== target.context,
            try source.context.cuda.canAccessPeer(source.context.device.index, target.context.device.index)
        {
            try source.context.enablePeer(target.context)
        }
        copies = (try events(), try source.context.stream())
    }

    /// Hands over a layer's rows, as the sender's stream will have left them.
    package func send(_ layer: Int, _ rows: Range<Int>, behind stream: DeviceStream) throws(CUDAError) {
        guard let copies else { return try stream.record(arrived[layer]) }
        try stream.record(copies.computed[layer])
        try copies.stream.wait(copies.computed[layer])
        for (from, to) in [
            (source.keys(layer, rows.lowerBound), target.keys(layer, rows.lowerBound)),
            (source.values(layer, rows.lowerBound), target.values(layer, rows.lowerBound)),
        ] {
            try copies.stream.copy(
                from, of: source.context, to: to, of: target.context, bytes: rows.count * source.rowBytes)
        }
        try copies.stream.record(arrived[layer])
    }

    /// Has the receiver's stream wait for a layer's rows. Not before the sender has asked for them to be handed over.
    package func receive(_ layer: Int, on stream: DeviceStream) throws(CUDAError) { try stream.wait(arrived[layer]) }

    /// Waits until nothing is under way.
    package func settle(deadline: UInt64) throws(CUDAError) {
        try copies?.stream.synchronise(deadline: deadline, isInterrupted: { false })
    }
}
