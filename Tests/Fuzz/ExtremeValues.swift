/// Values at the borders of what readers expect.
enum ExtremeValues {
    static let integers: [Int64] = [
        0, 1, -1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 32, 33, 63, 64, 65, 100, 127, 128, 255, 256, 257, 1000, 4096, 32767, 32768, 65535,
        65536,
        1 << 20, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, 1 << 53, (1 << 53) + 1, 1 << 60, 1 << 62,
        .max - 1, .max, -2, -32, -(1 << 31), -(1 << 31) - 1, -(1 << 40), .min, .min + 1,
    ]

    static let floats: [Double] = [
        0, -0.0, 1, -1, 0.5, -0.5, 1e-45, 1e-38, 1e-300, .leastNonzeroMagnitude, 1e-5, 1e30, -1e30, 3.5e38, 1e39, 1e308, -1e308,
        2147483648, 4294967296.5,
        9223372036854775808, 18446744073709551616, .nan, .infinity, -.infinity, 1e18, 1e19, 12345.678,
    ]

    /// Numbers as JSON's writers and people write them, some of them no JSON.
    static let numbers: [String] =
        integers.map(String.init) + [
            "0.0", "-0", "-0.0", "0.5", "1.0", "1.5", "1e0", "1e2", "1e30", "1E400", "-1e400", "1e-400", "1e-320", "1e308",
            "3.4028235e38",
            "9223372036854775808", "18446744073709551615", "18446744073709551616", "123456789012345678901234567890",
            "1" + String(repeating: "0", count: 400), "0." + String(repeating: "0", count: 400) + "1", "NaN", "Infinity",
            "-Infinity", "true", "null", "\"1\"", "\"NaN\"",
        ]

    /// A number of JSON, now and then nearly one.
    static func number(_ random: inout RandomSource) -> String {
        random.oneIn(12)
            ? random.pick(["nan", "inf", "0x10", "01", "+1", ".5", "1.", "1e", "--1", "1_000", "-"]) : random.pick(numbers)
    }

    private static let texts: [String] = [
        "", " ", "a", "0", "-1", "null", "None", "true", "../../etc/passwd", "/", ".", "..", "a/b", "a\u{0}b", "\n", "\r\n", "\t",
        "\u{FEFF}x",
        "\u{1B}[2J\u{1B}]0;title\u{7}", "\u{202E}abc", "%s%n%d", "{{ 7 * 7 }}", "{% for x in range(9) %}{{ x }}{% endfor %}",
        "<|im_end|>",
        "<|endoftext|>", "<0x0A>", "<0xZZ>", "\u{2581}", "\u{2581}\u{2581}a", "e\u{301}", "\u{E9}", "\u{1F469}\u{200D}\u{1F469}",
        "日本語",
        "ﬁ", "İ", "ß", "\u{D7FF}", "\u{10FFFF}", "Ġhello", "Ċ", "a\u{300}\u{301}\u{302}\u{303}", "[UNK]", "</s>", "ByteLevel",
        "llama",
        "gpt2", "default", "NaN", "99999999999999999999",
    ]

    static func text(_ random: inout RandomSource) -> [UInt8] {
        switch random.below(24) {
        case 0: return [UInt8](repeating: UInt8(ascii: "a"), count: 1 << (4 + random.below(14)))
        case 1: return Array(repeatElement(Array("e\u{301}".utf8), count: 1 << random.below(12)).joined())
        case 2: return [0xFF, 0xFE, 0x80, 0xC0, 0xAF]
        case 3: return [0xED, 0xA0, 0x80, 0xF4, 0x90, 0x80, 0x80]
        case 4: return [UInt8](repeating: UInt8(ascii: "("), count: 1 << random.below(14))
        case 5: return (0..<random.below(40)).map { _ in UInt8(random.below(256)) }
        case 6: return Array("(a+)+$".utf8)
        case 7: return Array("(?:(?:a|a?)*)*b".utf8)
        default: return Array(random.pick(texts).utf8)
        }
    }
}
