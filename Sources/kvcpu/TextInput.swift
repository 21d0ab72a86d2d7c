import Foundation

/// Text of files and of standard input, in the encodings that a byte order mark names; UTF-8 without one.
enum TextInput {
    /// Encodings by their byte order marks; a longer mark goes before a shorter one that it begins with.
    private static let marks: [(bytes: [UInt8], encoding: String.Encoding, name: String, unit: Int)] = [
        ([0xEF, 0xBB, 0xBF], .utf8, "UTF-8", 1),
        ([0xFF, 0xFE, 0, 0], .utf32LittleEndian, "UTF-32, little-endian", 4),
        ([0, 0, 0xFE, 0xFF], .utf32BigEndian, "UTF-32, big-endian", 4),
        ([0xFF, 0xFE], .utf16LittleEndian, "UTF-16, little-endian", 2),
        ([0xFE, 0xFF], .utf16BigEndian, "UTF-16, big-endian", 2),
    ]

    /// The text of bytes, without their byte order mark.
    /// - Parameter name: of the source, for the error.
    /// - Throws: `Failure` naming the source, the encoding and the offset of the first byte at fault.
    static func decode(_ bytes: [UInt8], from name: String) throws(Failure) -> String {
        guard let mark = marks.first(where: { bytes.starts(with: $0.bytes) }) else { return try utf8(bytes[...], from: name) }
        let rest = bytes[mark.bytes.count...]
        switch mark.unit {
        case 1: return try utf8(rest, from: name)
        case 2: return try units(rest, UInt16.self, isBig: mark.bytes[0] == 0xFE, UTF16.self, mark.name, from: name)
        default: return try units(rest, UInt32.self, isBig: mark.bytes[0] == 0, UTF32.self, mark.name, from: name)
        }
    }

    /// Bytes in UTF-8: those of UTF-16 and UTF-32 with a byte order mark converted, all others as they are.
    /// - Throws: `Failure` as ``decode(_:from:)``.
    static func utf8Bytes(_ bytes: [UInt8], from name: String) throws(Failure) -> [UInt8] {
        guard let mark = marks.first(where: { bytes.starts(with: $0.bytes) }), mark.unit > 1 else { return bytes }
        return Array(try decode(bytes, from: name).utf8)
    }

    /// - Throws: `Failure` naming the file and what is wrong with it.
    static func text(ofFile path: String) throws(Failure) -> String { try decode(try Input.read(path), from: path) }

    private static func utf8(_ bytes: ArraySlice<UInt8>, from name: String) throws(Failure) -> String {
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        let offset = PromptOptions.firstInvalid(Array(bytes)) + bytes.startIndex
        throw .run(
            "\(name): not UTF-8 (first wrong byte 0x\(hex(bytes[offset...].first ?? 0)) at offset \(offset)); iconv converts it")
    }

    private static func units<Unit: FixedWidthInteger & UnsignedInteger & Sendable, Codec: Unicode.Encoding>(
        _ bytes: ArraySlice<UInt8>, _: Unit.Type, isBig: Bool, _ codec: Codec.Type, _ encoding: String, from name: String
    ) throws(Failure) -> String where Codec.CodeUnit == Unit {
        let size = MemoryLayout<Unit>.size
        let units = stride(from: bytes.startIndex, to: bytes.endIndex - size + 1, by: size).map { start in
            (0..<size).reduce(Unit(0)) { unit, place in unit << 8 | Unit(bytes[start + (isBig ? place : size - 1 - place)]) }
        }
        var decoder = Codec.ForwardParser()
        var iterator = units.makeIterator()
        var text = ""
        var done = 0
        func fail(_ offset: Int) -> Failure { .run("\(name): not \(encoding) (first wrong byte at offset \(offset))") }
        while true {
            switch decoder.parseScalar(from: &iterator) {
            case .valid(let scalar):
                done += scalar.count
                text.unicodeScalars.append(Codec.decode(scalar))
            case .error: throw fail(bytes.startIndex + done * size)
            case .emptyInput:
                guard bytes.count % size == 0 else { throw fail(bytes.startIndex + units.count * size) }
                return text
            }
        }
    }

    private static func hex(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true) }
}

/// Escapes as llama.cpp reads them in prompts: \n, \r, \t, \', \", \\ and \xHH; all others stay as they are.
enum Escapes {
    /// - Returns: nil where the bytes that `\xHH` names are no UTF-8.
    static func process(_ text: String) -> String? {
        guard text.utf8.contains(UInt8(ascii: "\\")) else { return text }
        let input = Array(text.utf8)
        var output: [UInt8] = []
        output.reserveCapacity(input.count)
        var index = 0
        while index < input.count {
            let byte = input[index]
            index += 1
            guard byte == UInt8(ascii: "\\"), index < input.count else {
                output.append(byte)
                continue
            }
            let kind = input[index]
            index += 1
            switch kind {
            case UInt8(ascii: "n"): output.append(UInt8(ascii: "\n"))
            case UInt8(ascii: "r"): output.append(UInt8(ascii: "\r"))
            case UInt8(ascii: "t"): output.append(UInt8(ascii: "\t"))
            case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "\\"): output.append(kind)
            default:
                if kind == UInt8(ascii: "x"), index + 1 < input.count, let high = digit(input[index]),
                    let low = digit(input[index + 1])
                {
                    output.append(high << 4 | low)
                    index += 2
                } else {
                    output += [UInt8(ascii: "\\"), kind]
                }
            }
        }
        return String(validating: output, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        Character(Unicode.Scalar(byte)).hexDigitValue.map { UInt8($0) }
    }
}
