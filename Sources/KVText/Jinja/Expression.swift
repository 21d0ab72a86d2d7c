/// A template's expressions. Chains of operators are flat, so that only brackets and arguments nest.
indirect enum Expression: Sendable {
    case undefined
    case none
    case bool(Bool)
    case integer(Integer)
    case float(Double)
    case string(Text)
    case name(Text)
    case list([Expression])
    case tuple([Expression])
    case map([(key: Expression, value: Expression)])
    /// `value if test else other`.
    case conditional(value: Expression, test: Expression, other: Expression?)
    case any([Expression])
    case all([Expression])
    case not(Expression)
    /// `a < b <= c`.
    case comparison(Expression, [(operation: Comparison, right: Expression)])
    /// `+`, `-`, `*`, `/`, `//`, `%`, `**`, from left to right.
    case arithmetic(Expression, [(operation: Arithmetic, right: Expression)])
    /// `~`.
    case concatenation([Expression])
    case negative(Expression)
    case positive(Expression)
    /// Attributes, subscripts, calls, filters and tests, applied one after another.
    case chain(Expression, [Link])

    enum Comparison: Sendable { case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual, within, notWithin }

    enum Arithmetic: String, Sendable {
        case add = "+"
        case subtract = "-"
        case multiply = "*"
        case divide = "/"
        case floorDivide = "//"
        case modulo = "%"
        case power = "**"
    }

    enum Link: Sendable {
        case attribute(Text)
        case item(Expression)
        case slice(Expression?, Expression?, Expression?)
        case call(Arguments)
        case filter(String, Arguments)
        case test(String, Arguments, isNegated: Bool)
    }

    struct Arguments: Sendable {
        var positional: [Expression] = []
        var named: [(name: String, value: Expression)] = []
        /// `*list` and `**dictionary`.
        var list: Expression?
        var dictionary: Expression?
    }
}

/// A template's statements.
indirect enum Statement: Sendable {
    case text(Text)
    case output([Expression], line: Int)
    case conditional([(test: Expression?, body: [Statement])], line: Int)
    case loop(Loop)
    case assignment(Target, Expression, line: Int)
    case block(Target, filters: [Expression.Link], body: [Statement], line: Int)
    case macro(Macro)
    /// `{% call(user) dialog() %}`: the body becomes the macro's `caller`.
    case call(Macro, Expression, line: Int)
    case filtered([Expression.Link], body: [Statement], line: Int)
    /// `{% with %}` and HF's `{% generation %}`.
    case scope([(target: Target, value: Expression)], body: [Statement], line: Int)
    case leaveLoop
    case nextTurn

    struct Loop: Sendable {
        let target: Target
        let items: Expression
        let condition: Expression?
        let isRecursive: Bool
        let body: [Statement]
        let otherwise: [Statement]
        let line: Int
    }

    struct Macro: Sendable {
        /// Empty for the body of a `call` block.
        let name: Text
        let parameters: [(name: Text, value: Expression?)]
        /// Which of `caller`, `kwargs` and `varargs` the body names: others are not taken.
        let uses: Set<String>
        let body: [Statement]
        let line: Int
    }

    enum Target: Sendable {
        case name(Text)
        case attribute(Text, Text)
        case tuple([Target])
    }
}
