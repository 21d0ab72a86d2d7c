import Foundation

/// A value of a JSON file.
enum JSONValue: Decodable, Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int)
    case float(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let integer = try? value.decode(Int.self) {
            self = .integer(integer)
        } else if let float = try? value.decode(Double.self) {
            self = .float(float)
        } else if let string = try? value.decode(String.self) {
            self = .string(string)
        } else if let array = try? value.decode([JSONValue].self) {
            self = .array(array)
        } else {
            self = .object(try value.decode([String: JSONValue].self))
        }
    }

    /// For messages.
    var short: String {
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

    var number: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .float(let value): value
        default: nil
        }
    }

    /// A file's object. Its size is bounded, its depth by the decoder.
    /// - Throws: `GGUFError` naming the file.
    static func object(of path: String, limit: Int) throws(GGUFError) -> [String: JSONValue] {
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
        guard let value = try? JSONDecoder().decode([String: JSONValue].self, from: Data(file.bytes)) else {
            throw fail(.malformed, "no JSON object")
        }
        return value
    }
}
