import CPCRE2

/// A compiled regular expression over valid UTF-8.
///
/// The compiled code is never written again after `init`, hence safe to share; what a match writes is in `MatchState`.
final class Pattern: @unchecked Sendable {
    private let code: OpaquePointer
    /// The pattern as it was given.
    let text: String

    /// Steps of backtracking that a match may take without being counted, and how many times more each further try gets.
    private static let freeSteps: UInt32 = 1 << 10
    private static let stepGrowth: UInt32 = 16

    /// A pattern in PCRE2's syntax, in which `\s` is Unicode's White_Space.
    convenience init(_ pattern: String) throws(TokenizerError) {
        try self.init(Self.spelledOut(pattern), shown: pattern, options: 0)
    }

    /// A pattern as Oniguruma reads it, which tokenizer.json is written for: `^` and `$` are those of lines.
    convenience init(oniguruma pattern: String) throws(TokenizerError) {
        try self.init(try OnigurumaPattern.translated(pattern), shown: pattern, options: UInt32(PCRE2_MULTILINE))
    }

    /// These bytes (valid UTF-8) and nothing else.
    convenience init(literal: [UInt8]) throws(TokenizerError) {
        var quoted = ""
        for scalar in String(decoding: literal, as: UTF8.self).unicodeScalars {
            quoted += "\\x{" + String(scalar.value, radix: 16) + "}"
        }
        try self.init(quoted, shown: String(decoding: literal, as: UTF8.self), options: 0)
    }

    /// Compiles with Unicode properties and, where the library has it, to machine code.
    private init(_ pattern: String, shown: String, options: UInt32) throws(TokenizerError) {
        var failure: Int32 = 0
        var offset = 0
        var source = pattern
        let context = pcre2_compile_context_create_8(nil)
        defer { pcre2_compile_context_free_8(context) }
        if let context { pcre2_set_newline_8(context, UInt32(PCRE2_NEWLINE_LF)) }
        let code = source.withUTF8 { bytes in
            pcre2_compile_8(
                bytes.baseAddress, bytes.count,
                UInt32(PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C) | options, &failure, &offset, context)
        }
        guard let code else {
            throw TokenizerError(
                .pattern, field: "pattern", value: shown, expected: "\(Self.message(failure)) at offset \(offset)")
        }
        self.code = code
        text = shown
        // Without the compiler (a build for a rare architecture) pcre2_match interprets: slower, the same matches.
        _ = pcre2_jit_compile_8(code, UInt32(PCRE2_JIT_COMPLETE))
    }

    deinit { pcre2_code_free_8(code) }

    /// Whether the pattern can match an empty string.
    var matchesNothing: Bool {
        var answer: UInt32 = 0
        return pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_MATCHEMPTY), &answer) != 0 || answer != 0
    }

    /// Unicode's White_Space: the library's own `\s` also takes U+180E, the engines the patterns were written for do not.
    private static let space =
        #"\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"#

    /// The pattern with `\s` and `\S` (this outside classes only) as the characters that they stand for.
    private static func spelledOut(_ pattern: String) -> String {
        var output = ""
        var escaped = false
        var inClass = false
        for character in pattern.unicodeScalars {
            if escaped {
                escaped = false
                switch character {
                case "s": output += inClass ? space : "[" + space + "]"
                case "S" where !inClass: output += "[^" + space + "]"
                default:
                    output += "\\"
                    output.unicodeScalars.append(character)
                }
                continue
            }
            escaped = character == "\\"
            if escaped { continue }
            if character == "[" { inClass = true } else if character == "]" { inClass = false }
            output.unicodeScalars.append(character)
        }
        return escaped ? output + "\\" : output
    }

    /// Cuts `text` at every match: matches and what lies between them become pieces of their own.
    ///
    /// - Parameters:
    ///   - text: valid UTF-8; the match sees nothing outside it.
    ///   - base: added to the offsets.
    ///   - ends: the end of every piece is appended, in order; the last is that of `text`.
    func split(
        _ text: UnsafeBufferPointer<UInt8>, base: Int, into ends: inout [Int], _ state: borrowing MatchState
    ) throws(TokenizerError) {
        var at = 0
        // Where the last match ended; a match of nothing does not count there.
        var last = -1
        var from = 0
        while from <= text.count, let (start, end) = try match(text, from: from, state) {
            guard end >= start, start >= from else {
                throw TokenizerError(.pattern, field: "pattern", value: self.text, expected: "a pattern without \\K")
            }
            if start == end, end == last {
                from = end + Self.length(text, end)
                continue
            }
            if start > at { ends.append(base + start) }
            if end > start { ends.append(base + end) }
            (at, from, last) = (end, end, end)
        }
        if at < text.count { ends.append(base + text.count) }
    }

    /// Appends what matches, in order, and matches of nothing too (but none right behind the match before).
    func find(
        _ text: UnsafeBufferPointer<UInt8>, into matches: inout [Range<Int>], _ state: borrowing MatchState
    ) throws(TokenizerError) {
        var last = -1
        var from = 0
        while from <= text.count, let (start, end) = try match(text, from: from, state) {
            guard end >= start, start >= from else {
                throw TokenizerError(.pattern, field: "pattern", value: self.text, expected: "a pattern without \\K")
            }
            if start == end, end == last {
                from = end + Self.length(text, end)
                continue
            }
            matches.append(start..<end)
            (from, last) = (end, end)
        }
    }

    /// The length of the character at a place, 1 at the end.
    private static func length(_ text: UnsafeBufferPointer<UInt8>, _ at: Int) -> Int {
        at < text.count ? UTF8Sequence(first: text[at])?.length ?? 1 : 1
    }

    /// The next match, nil where there is none.
    ///
    /// A match may backtrack `freeSteps` times; where it needs more, that is tried again with more, at the expense of
    /// the state's `steps`. So a pattern whose cost explodes is refused, while one that runs over a million spaces is not.
    /// - Parameter text: valid UTF-8.
    func match(
        _ text: UnsafeBufferPointer<UInt8>, from at: Int, _ state: borrowing MatchState
    ) throws(TokenizerError) -> (start: Int, end: Int)? {
        var limit = Self.freeSteps
        var options = UInt32(PCRE2_NO_UTF_CHECK)
        while true {
            pcre2_set_match_limit_8(state.context, limit)
            let found = pcre2_match_8(code, text.baseAddress, text.count, at, options, state.data, state.context)
            switch found {
            case 0...: return (state.start, state.end)
            case PCRE2_ERROR_NOMATCH: return nil
            case PCRE2_ERROR_JIT_STACKLIMIT: options |= UInt32(PCRE2_NO_JIT)
            case PCRE2_ERROR_MATCHLIMIT:
                state.steps -= Int(limit)
                guard state.steps > 0 else {
                    throw TokenizerError(
                        .pattern, field: "pattern", value: self.text,
                        expected: "a pattern that comes to an end sooner: it was given up in a text of \(text.count) bytes")
                }
                limit = limit > .max / Self.stepGrowth ? .max : limit * Self.stepGrowth
                limit = UInt32(clamping: min(Int(limit), state.steps))
            default: throw failure(found, text.count)
            }
        }
    }

    private func failure(_ code: Int32, _ count: Int) -> TokenizerError {
        TokenizerError(
            .pattern, field: "pattern", value: text,
            expected: "\(Self.message(code)) in a text of \(count) bytes")
    }

    private static func message(_ code: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        let length = pcre2_get_error_message_8(code, &buffer, buffer.count)
        return String(decoding: buffer.prefix(Int(max(0, length))), as: UTF8.self)
    }
}

/// What a match writes: the offsets found and the stack it backtracks on. One call at a time owns it.
final class MatchState: @unchecked Sendable {
    /// How many counted steps of backtracking are left to the text at hand.
    fileprivate var steps = 0

    /// Begins a text of so many bytes. What it may take in all is far more than rules need that look at every byte a few
    /// times, and some seconds at most.
    func begin(_ count: Int) { steps = (16 << 20) + 64 * count }

    fileprivate let data: OpaquePointer
    fileprivate let context: OpaquePointer
    private let stack: OpaquePointer?
    private let offsets: UnsafeMutablePointer<Int>

    init() throws(TokenizerError) {
        guard let data = pcre2_match_data_create_8(1, nil), let context = pcre2_match_context_create_8(nil),
            let offsets = pcre2_get_ovector_pointer_8(data)
        else {
            throw TokenizerError(.pattern, field: "match data", value: "nil", expected: "memory for a match")
        }
        self.data = data
        self.context = context
        self.offsets = offsets
        // Where the stack for machine code does not do, the interpreter has the heap: so many KiB of it.
        pcre2_set_heap_limit_8(context, 256 << 10)
        stack = pcre2_jit_stack_create_8(32 << 10, 1 << 20, nil)
        pcre2_jit_stack_assign_8(context, nil, stack.map { UnsafeMutableRawPointer($0) })
    }

    deinit {
        pcre2_match_data_free_8(data)
        pcre2_match_context_free_8(context)
        if let stack { pcre2_jit_stack_free_8(stack) }
    }

    // `\K` in a look-ahead can put the start behind the end.
    fileprivate var start: Int { offsets[0] }
    fileprivate var end: Int { offsets[1] }
}
