import Foundation
import Synchronization

/// One rewritten line on a terminal's standard error with fraction and expected rest; silent elsewhere.
final class ProgressBar: Sendable {
    private struct State {
        var label: String
        var start: Date
        var isShown = false
        var last = Date.distantPast
    }
    private let enabled: Bool
    private let state: Mutex<State>

    init(_ label: String, enabled: Bool) {
        self.enabled = enabled && Terminal.errorIsTerminal
        state = Mutex(State(label: label, start: Date()))
    }

    /// - Parameter fraction: 0 ... 1.
    func show(_ fraction: Double) {
        guard enabled else { return }
        state.withLock { state in
            let now = Date()
            // Ten times a second, and not at all for what is done at once.
            guard now.timeIntervalSince(state.last) > 0.1, now.timeIntervalSince(state.start) > 0.2 else { return }
            state.last = now
            state.isShown = true
            Terminal.control("\r\u{1B}[K" + Self.text(state.label, fraction, elapsed: now.timeIntervalSince(state.start)))
        }
    }

    func clear() {
        state.withLock { state in
            if state.isShown { Terminal.control("\r\u{1B}[K") }
            state.isShown = false
        }
    }

    static func text(_ label: String, _ fraction: Double, elapsed: Double) -> String {
        let fraction = min(1, max(0, fraction))
        let cells = 30
        let filled = Int(fraction * Double(cells))
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: cells - filled)
        let rest = fraction > 0.02 ? ", \(duration(elapsed / fraction - elapsed)) left" : ""
        return "\(label) \(bar) \(Int(fraction * 100)) %\(rest)"
    }
}
