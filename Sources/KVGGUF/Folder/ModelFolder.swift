import Foundation

/// A folder as Hugging Face keeps models: `config.json`, and `model.safetensors` or shards with `model.safetensors.index.json`. Read as the
/// GGUF file that a converter would make of it, without making it: the same keys, names and order of rows (see `FolderArchitecture`).
///
/// Weights stay in the mapped files; only what has to be computed (frequency divisors, norms kept less 1, biases whose order differs) is
/// copied. Opening costs the headers.
struct ModelFolder {
    private let path: String
    private let config: ModelConfiguration
    private let architecture: FolderArchitecture
    private let layouts: [String: FolderArchitecture.RowLayout]
    private var keys: FolderKeys
    private var tensors: [TensorInfo] = []
    private var files: [MappedFile] = []
    /// Configuration and index.
    private var texts: [MappedFile] = []
    private var orders: [String: [Int32]] = [:]
    /// What no file holds, each tensor from a multiple of 64 on.
    private var computed: [UInt8] = []
    private var computedTensors: [(name: String, dimensions: [Int], offset: Int)] = []
    /// Rows of tensors that the folder has apart, by GGUF's name and the row's number.
    private var apart: [String: [Int: [Float]]] = [:]

    /// - Throws: `GGUFError` naming the file, field or tensor at fault.
    static func open(_ path: String) throws(GGUFError) -> GGUFFile {
        var folder = try ModelFolder(path)
        return try folder.file()
    }

    private init(_ path: String) throws(GGUFError) {
        self.path = path
        let whole: ModelConfiguration
        do { whole = try ModelConfiguration(path: path + "/config.json") } catch {
            guard error.kind == .notFound else { throw error }
            let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
            let other = names.filter { $0.hasSuffix(".gguf") }.min().map { "; for the GGUF file give \(path)/\($0)" } ?? ""
            throw GGUFError(kind: .notFound, file: path, reason: "the folder has no config.json\(other)")
        }
        let modelClass = try whole.modelClass()
        guard let architecture = FolderArchitecture.all.first(where: { $0.modelClass == modelClass }) else {
            let known = FolderArchitecture.all.map(\.modelClass).joined(separator: ", ")
            throw whole.fail(
                .unsupported, "field architectures is \"\(modelClass)\"; of folders this build reads \(known). Convert it to GGUF.")
        }
        config = try whole.completed(part: architecture.isTextPart ? "text_config" : nil, defaults: architecture.defaults)
        if let method = try config.quantisation() {
            throw config.fail(
                .unsupported,
                "field \(method): safetensors with quantised weights are not supported; take the model with float weights, which --type "
                    + "quantises, or a GGUF file")
        }
        self.architecture = architecture
        layouts = try architecture.rows(config)
        keys = FolderKeys(config, prefix: architecture.name)
        keys.general("architecture", .string(architecture.name))
        keys.general("name", .string((path as NSString).lastPathComponent))
        try architecture.keys(&keys)
    }

    private mutating func file() throws(GGUFError) -> GGUFFile {
        for shard in try shards() {
            for (name, tensor) in shard.tensors { try add(name, tensor, of: shard.file, at: shard.path) }
            files.append(shard.file.file)
        }
        for tensor in keys.tensors { compute(tensor.name, [tensor.values.count], tensor.values) }
        for (name, rows) in apart.sorted(by: { $0.key < $1.key }) { try stack(name, rows) }
        if !computed.isEmpty {
            do { files.append(try MappedFile(name: path, contents: computed)) } catch {
                throw GGUFError(kind: .unreadable, file: path, reason: error.reason)
            }
            for tensor in computedTensors {
                let bytes = tensor.dimensions.reduce(4, *)
                tensors.append(
                    TensorInfo(
                        name: tensor.name, dimensions: tensor.dimensions, type: .f32, byteCount: bytes, offset: tensor.offset,
                        shard: files.count - 1))
            }
        }
        try checkOptional()
        let metadata = Metadata(path: path, keys: keys.keys, values: keys.values)
        return try GGUFFile(folder: path, metadata: metadata, tensors: tensors, files: files, texts: texts + [config.file])
    }

    /// Whether the output matrix is the embedding.
    private func isTied() throws(GGUFError) -> Bool {
        try config.optionalBool("tie_word_embeddings") ?? architecture.isTied
    }

    /// What the configuration asks for and an architecture's reader takes as left out: without it the model would be another.
    /// - Throws: `GGUFError` (missingKey) naming the first such tensor and the field.
    private func checkOptional() throws(GGUFError) {
        let names = Set(tensors.map(\.name))
        func require(_ name: String, _ field: String, _ value: Bool) throws(GGUFError) {
            if names.contains(name) { return }
            throw config.fail(
                .missingKey, "tensor \(architecture.folderName(name) ?? name) is in no file of the folder, and \(field) is \(value)"
            )
        }
        if try !isTied() { try require("output.weight", "tie_word_embeddings", false) }
        guard case .unsigned(let layers)? = keys.values["\(architecture.name).block_count"] else { return }
        for part in architecture.optional {
            let told = if let field = part.field { try config.optionalBool(field) } else { Bool?.none }
            guard told ?? part.isDefault else { continue }
            for layer in 0..<layers {
                for name in part.names {
                    let own = name.replacing("*", with: "\(layer)")
                    try require(own, part.field ?? "the class's bias", true)
                }
            }
        }
    }

    // MARK: Files

    /// A file, and the tensors in it that count, in its order.
    private struct File {
        let path: String
        let file: SafetensorsFile
        let tensors: [(name: String, tensor: SafetensorsFile.Tensor)]

        init(_ path: String, _ file: SafetensorsFile, _ tensors: [String: SafetensorsFile.Tensor]) {
            self.path = path
            self.file = file
            self.tensors = tensors.map { ($0.key, $0.value) }
                .sorted { ($0.1.range.lowerBound, $0.0) < ($1.1.range.lowerBound, $1.0) }
        }
    }

    private mutating func shards() throws(GGUFError) -> [File] {
        let index = path + "/model.safetensors.index.json"
        let single = path + "/model.safetensors"
        if OpenFiles.exists(single) || !OpenFiles.exists(index) {
            let file = try open(single, neededBy: nil)
            return [File(single, file, file.tensors)]
        }
        let (fields, file) = try JSONValue.read(index, limit: 16 << 20)
        texts.append(file)
        guard case .object(let map)? = fields["weight_map"] else {
            throw GGUFError(kind: .missingKey, file: index, reason: "field weight_map is missing or no object")
        }
        var names: [String: [String]] = [:]
        for (tensor, value) in map {
            guard case .string(let name) = value, !name.isEmpty, !name.contains("/"), name != ".", name != ".." else {
                throw GGUFError(
                    kind: .malformed, file: index,
                    reason: "weight_map: tensor \(tensor) is in \(value.short), no file of this folder")
            }
            names[name, default: []].append(tensor)
        }
        var shards: [File] = []
        for (name, listed) in names.sorted(by: { $0.key < $1.key }) {
            let file = try open(path + "/" + name, neededBy: index)
            var tensors: [String: SafetensorsFile.Tensor] = [:]
            for tensor in listed {
                guard let found = file.tensors[tensor] else {
                    throw GGUFError(
                        kind: .malformed, file: index,
                        reason: "weight_map: tensor \(tensor) is said to be in \(name), where it is not")
                }
                tensors[tensor] = found
            }
            if let forgotten = file.tensors.keys.filter({ tensors[$0] == nil && !FolderArchitecture.isIgnored($0) }).min() {
                throw GGUFError(
                    kind: .malformed, file: index, reason: "weight_map: tensor \(forgotten), which \(name) holds, is not listed")
            }
            shards.append(File(path + "/" + name, file, tensors))
        }
        return shards
    }

    private func open(_ path: String, neededBy index: String?) throws(GGUFError) -> SafetensorsFile {
        guard OpenFiles.exists(path) else {
            let name = (path as NSString).lastPathComponent
            guard let index else {
                throw GGUFError(
                    kind: .notFound, file: self.path, reason: "the folder has neither \(name) nor \(name).index.json")
            }
            throw GGUFError(kind: .missingShard, file: index, reason: "shard \(name) is missing: is the download complete?")
        }
        do { return try SafetensorsFile(path: path) } catch {
            throw GGUFError(kind: .malformed, file: path, reason: String(error.description.dropFirst(path.count + 2)))
        }
    }

    // MARK: Tensors

    private static let types: [String: TensorType] = ["F32": .f32, "F16": .f16, "BF16": .bf16]

    /// Adds the tensor under its GGUF name, when it is one that the architecture has.
    private mutating func add(
        _ name: String, _ tensor: SafetensorsFile.Tensor, of file: SafetensorsFile, at path: String
    ) throws(GGUFError) {
        func fail(_ kind: GGUFError.Kind, _ reason: String) -> GGUFError {
            GGUFError(kind: kind, file: path, reason: "tensor \(name): \(reason)")
        }
        guard !FolderArchitecture.isIgnored(name), let own = architecture.isTextPart ? FolderArchitecture.textName(name) : name
        else {
            return
        }
        guard let (target, pattern, row) = translate(own) else {
            throw fail(.unsupported, "\(architecture.modelClass) has none of this name; without it the model would be another")
        }
        // A copy of the embedding.
        if target == "output.weight", try isTied() { return }
        guard let type = Self.types[tensor.dtype] else {
            throw fail(.unsupported, "dtype \(tensor.dtype); of folders this build reads F32, F16 and BF16")
        }
        let dimensions = Array(tensor.shape.reversed())
        var info = try TensorInfo(target, dimensions, type, in: path)
        info = TensorInfo(
            name: target, dimensions: dimensions, type: type, byteCount: info.byteCount, offset: tensor.range.lowerBound,
            shard: files.count)
        if let layout = layouts[pattern] {
            let count = tensor.shape[0]
            if orders["\(pattern) \(count)"] == nil { orders["\(pattern) \(count)"] = layout.order(of: count) }
            guard let order = orders["\(pattern) \(count)"] else {
                throw fail(.malformed, "\(count) rows are not whole heads as config.json gives them")
            }
            info.rowOrder = order
        }
        let addsOne = architecture.addsOneToNorms && target.hasSuffix("norm.weight")
        guard dimensions.count == 1, addsOne || row != nil || info.rowOrder != nil else {
            guard row == nil else { throw fail(.malformed, "shape \(tensor.shape) of what should be a row of \(target)") }
            tensors.append(info)
            return
        }
        var values: [Float]
        do { values = try file.floats(name) } catch { throw fail(.malformed, "\(error)") }
        if let order = info.rowOrder { values = order.map { values[Int($0)] } }
        if addsOne { values = values.map { $0 + 1 } }
        guard let row else {
            compute(target, dimensions, values)
            return
        }
        apart[target, default: [:]][row] = values
    }

    /// One tensor of its rows.
    private mutating func stack(_ name: String, _ rows: [Int: [Float]]) throws(GGUFError) {
        let columns = rows[0]?.count ?? 0
        for row in 0..<rows.count where columns == 0 || rows[row]?.count != columns {
            throw GGUFError(
                kind: .malformed, file: path,
                reason: "row \(row) of tensor \(name) is missing or not as long as row 0: is the download complete?")
        }
        compute(name, [columns, rows.count], (0..<rows.count).flatMap { rows[$0] ?? [] })
    }

    private mutating func compute(_ name: String, _ dimensions: [Int], _ values: [Float]) {
        computed += [UInt8](repeating: 0, count: (64 - computed.count % 64) % 64)
        computedTensors.append((name, dimensions, computed.count))
        values.withUnsafeBytes { computed += $0 }
    }

    /// GGUF's name, its pattern without the ending, and the row of it that this is, where the folder has rows apart.
    private func translate(_ name: String) -> (name: String, pattern: String, row: Int?)? {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let ending = parts.last.flatMap { ["weight", "bias"].contains($0) ? $0 : nil }
        if ending != nil { parts.removeLast() }
        var numbers: [Int] = []
        for (index, part) in parts.enumerated() where part.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            guard let number = Int(part), String(number) == part else { return nil }
            numbers.append(number)
            parts[index] = "*"
        }
        guard let pattern = architecture.tensors[parts.joined(separator: ".")] else { return nil }
        // transformers 5 has all experts' matrices in one parameter, whose name is not that of a module's weight.
        guard ending != nil || pattern.hasSuffix("_exps") else { return nil }
        var pieces = pattern.split(separator: "*", omittingEmptySubsequences: false).map(String.init)
        var target = pieces.removeFirst()
        for (number, piece) in zip(numbers, pieces) { target += "\(number)\(piece)" }
        return ("\(target).\(ending ?? "weight")", pattern, numbers.count > pieces.count ? numbers.last : nil)
    }
}

extension GGUFFile {
    /// A model, whatever it is kept in: a GGUF file; or a folder of safetensors, given as such or by a file in it (`config.json`,
    /// `model.safetensors`, `model.safetensors.index.json`).
    /// - Throws: `GGUFError` naming the file and what is wrong with it.
    package static func open(_ path: String) throws(GGUFError) -> GGUFFile {
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        if OpenFiles.holds(path + "/config.json") { return try ModelFolder.open(path) }
        guard exists else { return try GGUFFile(path: path) }
        if isFolder.boolValue {
            let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
            return try ModelFolder.open(trimmed)
        }
        guard path.hasSuffix(".json") || path.hasSuffix(".safetensors") else { return try GGUFFile(path: path) }
        let folder = (path as NSString).deletingLastPathComponent
        return try ModelFolder.open(folder.isEmpty ? "." : folder)
    }

    /// The model classes that are read from folders, with their architectures' names.
    package static var folderClasses: [(modelClass: String, architecture: String)] {
        FolderArchitecture.all.map { ($0.modelClass, $0.name) }
    }

    /// What it is kept in, for people.
    package var container: String { folder == nil ? "GGUF v\(version)" : "safetensors" }
}
