/// A value of a JSON file.
package enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int)
    case float(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// For messages.
    package var short: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .integer(let value): "\(value)"
        case .float(let value): "\(value)"
        case .string(let value): value.count > 80 ? "\"\(value.prefix(80))…\"" : "\"\(value)\""
        case .array(let values): "an array of \(values.count)"
        case .object: "an object"
        }
    }

    package var number: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .float(let value): value
        default: nil
        }
    }

    /// An array's elements; nil where it is none, or one of them is no integer.
    package var integers: [Int]? {
        guard case .array(let values) = self else { return nil }
        var integers: [Int] = []
        for value in values {
            guard case .integer(let integer) = value else { return nil }
            integers.append(integer)
        }
        return integers
    }

    /// What a text says. Cost: linear in its bytes.
    /// - Parameter maximumValues: of all values together; the largest models' indices have some 100,000, their headers eight times as many.
    /// - Throws: `JSONSyntaxError` with line and column.
    package init(_ bytes: UnsafeRawBufferPointer, maximumValues: Int = 1 << 21) throws(JSONSyntaxError) {
        self = try JSONReader.value(of: bytes, maximumValues: maximumValues)
    }

    /// A file's object. Its size is bounded by `limit`, in bytes, its depth and number of values by the reader.
    /// - Throws: `GGUFError` naming the file, and line and column where it is no JSON.
    package static func object(of path: String, limit: Int) throws(GGUFError) -> [String: JSONValue] {
        try read(path, limit: limit).object
    }

    /// The same, with the file.
    static func read(_ path: String, limit: Int) throws(GGUFError) -> (object: [String: JSONValue], file: MappedFile) {
        func fail(_ kind: GGUFError.Kind, _ reason: String) -> GGUFError { GGUFError(kind: kind, file: path, reason: reason) }
        let file: MappedFile
        do { file = try MappedFile(path: path) } catch {
            switch error {
            case .notFound: throw fail(.notFound, error.reason)
            default: throw fail(.unreadable, error.reason)
            }
        }
        guard file.bytes.count <= limit else {
            throw fail(.malformed, "\(file.bytes.count) bytes; more than \(limit) are not read")
        }
        let value: JSONValue
        do { value = try JSONValue(file.bytes) } catch { throw fail(.malformed, "not JSON: \(error)") }
        if let change = file.change { throw fail(.changed, "the file has changed while it was read: \(change)") }
        guard case .object(let object) = value else { throw fail(.malformed, "\(value.short), not a JSON object") }
        return (object, file)
    }
}
