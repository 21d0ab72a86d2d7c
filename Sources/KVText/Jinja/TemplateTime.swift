import Foundation

/// The moment that `strftime_now` tells: local time, or what a caller fixed for a repeatable rendering.
package struct TemplateTime: Sendable {
    let year, month, day, hour, minute, second: Int

    /// Now, in the local time zone.
    package init() {
        let parts = Calendar(identifier: .gregorian)
            .dateComponents([.year, .month, .day, .hour, .minute, .second], from: Date())
        (year, month, day) = (parts.year ?? 1970, parts.month ?? 1, parts.day ?? 1)
        (hour, minute, second) = (parts.hour ?? 0, parts.minute ?? 0, parts.second ?? 0)
    }

    /// - Parameter text: `2026-03-05T14:07:09`, or a date alone; nil where it is neither.
    package init?(_ text: String) {
        let parts = text.split { "-T: .+Z".contains($0) }.prefix(6).map { Int($0) ?? -1 }
        guard parts.count == 3 || parts.count >= 5, (1...9999).contains(parts[0]), (1...12).contains(parts[1]),
            (1...31).contains(parts[2])
        else { return nil }
        (year, month, day) = (parts[0], parts[1], parts[2])
        hour = parts.count > 3 ? parts[3] : 0
        minute = parts.count > 4 ? parts[4] : 0
        second = parts.count > 5 ? parts[5] : 0
        guard (0..<24).contains(hour), (0..<60).contains(minute), (0...60).contains(second) else { return nil }
    }

    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]
    private static let weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

    private var dayOfYear: Int {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        return lengths[..<(month - 1)].reduce(0, +) + day
    }

    /// 0 for Sunday.
    private var weekday: Int {
        let before = year - 1
        return (before * 365 + before / 4 - before / 100 + before / 400 + dayOfYear) % 7
    }

    /// C's `strftime` in the C locale, with `-` for no padding.
    func formatted(_ format: String) -> String {
        var result = ""
        var characters = format.makeIterator()
        while let character = characters.next() {
            guard character == "%" else {
                result.append(character)
                continue
            }
            guard var kind = characters.next() else { return result + "%" }
            let isBare = kind == "-"
            if isBare { kind = characters.next() ?? "-" }
            result += field(kind, isBare: isBare) ?? "%" + (isBare ? "-" : "") + String(kind)
        }
        return result
    }

    private func field(_ kind: Character, isBare: Bool) -> String? {
        func padded(_ value: Int, _ width: Int, _ fill: Character = "0") -> String {
            let digits = String(value)
            return isBare ? digits : String(repeating: fill, count: max(0, width - digits.count)) + digits
        }
        let hour12 = hour % 12 == 0 ? 12 : hour % 12
        switch kind {
        case "Y": return String(year)
        case "y": return padded(year % 100, 2)
        case "m": return padded(month, 2)
        case "d": return padded(day, 2)
        case "e": return padded(day, 2, " ")
        case "B": return Self.months[month - 1]
        case "b", "h": return String(Self.months[month - 1].prefix(3))
        case "A": return Self.weekdays[weekday]
        case "a": return String(Self.weekdays[weekday].prefix(3))
        case "w": return String(weekday)
        case "u": return String(weekday == 0 ? 7 : weekday)
        case "H": return padded(hour, 2)
        case "I": return padded(hour12, 2)
        case "M": return padded(minute, 2)
        case "S": return padded(second, 2)
        case "f": return "000000"
        case "p": return hour < 12 ? "AM" : "PM"
        case "j": return padded(dayOfYear, 3)
        case "F": return formatted("%Y-%m-%d")
        case "T", "X": return formatted("%H:%M:%S")
        case "D", "x": return formatted("%m/%d/%y")
        case "R": return formatted("%H:%M")
        case "c": return formatted("%a %b %e %H:%M:%S %Y")
        case "Z", "z": return ""
        case "n": return "\n"
        case "t": return "\t"
        case "%": return "%"
        default: return nil
        }
    }
}
