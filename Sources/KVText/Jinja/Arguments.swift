/// A call's arguments.
struct Arguments {
    var positional: [Value] = []
    var named: [(name: String, value: Value)] = []
    /// The body of a `call` block.
    var caller: Value.Macro?
    /// The names that came from outside, by a dictionary's keys.
    var foreignNames: Set<String> = []

    /// The named arguments as a dictionary's entries.
    var entries: [(key: Value, value: Value)] {
        named.map { (.string(Text($0.name, isForeign: foreignNames.contains($0.name))), $0.value) }
    }

    /// An argument by its name.
    func named(_ name: String) -> Value? { named.first { $0.name == name }?.value }
}

/// The names of a function's parameters, with `=` behind those that may be absent, and a `/` behind the last one that
/// has no name for callers: `old new / count=`.
struct Signature: ExpressibleByStringLiteral, Sendable {
    private let names: [String]
    private let required: Int
    private let unnamed: Int

    init(stringLiteral text: StringLiteralType) {
        var names: [String] = []
        var (required, unnamed) = (0, 0)
        for word in text.split(separator: " ") {
            if word == "/" {
                unnamed = names.count
            } else if word.hasSuffix("=") {
                names.append(String(word.dropLast()))
            } else {
                names.append(String(word))
                required = names.count
            }
        }
        (self.names, self.required, self.unnamed) = (names, required, unnamed)
    }

    /// - Throws: of reason evaluation where the arguments are not those of the function.
    func bind(_ arguments: Arguments, of function: String) throws(TemplateError) -> BoundArguments {
        guard arguments.positional.count <= names.count else {
            throw TemplateError(
                .evaluation, "\(function)() takes at most \(names.count) arguments (\(arguments.positional.count) given)")
        }
        var values: [Value?] = arguments.positional + [Value?](repeating: nil, count: names.count - arguments.positional.count)
        for (name, value) in arguments.named {
            guard let index = names.firstIndex(of: name), index >= unnamed else {
                throw TemplateError(.evaluation, "\(function)() got an unexpected keyword argument '\(name)'")
            }
            guard values[index] == nil else {
                throw TemplateError(.evaluation, "\(function)() got multiple values for argument '\(name)'")
            }
            values[index] = value
        }
        guard arguments.caller == nil else {
            throw TemplateError(.evaluation, "\(function)() got an unexpected keyword argument 'caller'")
        }
        for index in 0..<required where values[index] == nil {
            throw TemplateError(.evaluation, "\(function)() missing the argument '\(names[index])'")
        }
        return BoundArguments(values: values, names: names)
    }
}

/// Arguments by the place of their parameter.
struct BoundArguments {
    fileprivate let values: [Value?]
    fileprivate let names: [String]

    subscript(index: Int) -> Value? { values[index] }

    /// Without the value that a filter is applied to.
    func dropFirst() -> BoundArguments { BoundArguments(values: Array(values.dropFirst()), names: Array(names.dropFirst())) }

    private func wrong(_ index: Int, _ type: String, _ value: Value) -> TemplateError {
        if case .undefined(let words) = value { return TemplateError(.evaluation, words) }
        return TemplateError(.evaluation, "\(names[index]) must be \(type), not \(value.typeName)")
    }

    /// A text; nil where there is none, or None where that is one.
    func text(_ index: Int, orNone: Bool = false) throws(TemplateError) -> Text? {
        switch values[index] {
        case nil: return nil
        case .some(.none) where orNone: return nil
        case .string(let text)?: return text
        case let other?: throw wrong(index, "str", other)
        }
    }

    func integer(_ index: Int, orNone: Bool = false) throws(TemplateError) -> Integer? {
        guard let value = values[index], !(orNone && value.isNone) else { return nil }
        guard let integer = value.integer else { throw wrong(index, "int", value) }
        return integer
    }

    /// An integer that Python takes for a size: beyond a machine's it is refused.
    func size(_ index: Int, orNone: Bool = false) throws(TemplateError) -> Int? {
        guard let integer = try integer(index, orNone: orNone) else { return nil }
        guard let small = integer.small else {
            throw TemplateError(.evaluation, "\(names[index]): Python int too large to convert to C ssize_t")
        }
        return small
    }

    func flag(_ index: Int) -> Bool { values[index]?.isTrue ?? false }
}
