import Foundation
import KVFabric
import Synchronization

/// Ctrl-C, SIGTERM and SIGHUP in a chat. While an answer comes, the first Ctrl-C stops it, a second one, or another signal, leaves the chat behind
/// it; at the prompt each leaves. Whoever cannot wait for that ends the process with one more.
final class ChatSignals: Sendable {
    private enum Phase {
        case prompt, answer
        /// The caller is about to end the process; or the signals' thread is.
        case leaving, left
    }

    private struct State {
        var phase = Phase.prompt
        /// Ends the answer under way.
        var stop: (@Sendable () -> Void)?
        var isStopped = false
        /// What the chat is to be left for when the answer has ended.
        var leave: Int32?
    }

    private let state = Mutex(State())
    private let mode: termios?

    /// - Parameter leave: keeps what is to be kept; called at most once, when a signal comes at the prompt. The process ends then.
    init(leave: @escaping @Sendable () -> Void) {
        // Line editing changes it; the shell wants it back.
        var mode = termios()
        self.mode = tcgetattr(STDIN_FILENO, &mode) == 0 ? mode : nil
        Signals.handle { [weak self] signal in
            guard let self else { _exit(128 + signal) }
            if come(signal) {
                restoreTerminal()
                Terminal.line("")
                leave()
                exit(128 + signal)
            }
        }
    }

    deinit { Interruption.endAtOnce() }

    /// - Returns: whether the chat is to be left at once.
    private func come(_ signal: Int32) -> Bool {
        let (leaves, stop) = state.withLock { state -> (Bool, (@Sendable () -> Void)?) in
            switch state.phase {
            case .prompt:
                state.phase = .left
                return (true, nil)
            case .answer:
                if state.leave != nil { _exit(128 + signal) }
                if signal != SIGINT || state.isStopped { state.leave = signal }
                state.isStopped = true
                return (false, state.stop)
            case .leaving, .left:
                if state.leave != nil { _exit(128 + signal) }
                state.leave = signal
                return (false, nil)
            }
        }
        stop?()
        return leaves
    }

    /// A line was read: from here to `ended`, Ctrl-C stops what is done for it.
    func began() {
        let isLeft = state.withLock { state in
            if state.phase == .left { return true }
            state = State(phase: .answer)
            return false
        }
        if isLeft { park() }
    }

    /// How the work for the line is stopped; at once where that was wished already.
    func set(stop: @escaping @Sendable () -> Void) {
        let isStopped = state.withLock { state in
            state.stop = stop
            return state.isStopped
        }
        if isStopped { stop() }
    }

    /// - Returns: the signal for which the chat is to be left.
    func ended() -> Int32? {
        state.withLock { state in
            state.stop = nil
            if state.leave == nil { state.phase = .prompt } else { state.phase = .leaving }
            return state.leave
        }
    }

    /// Whether Ctrl-C came since `began`.
    var isStopped: Bool { state.withLock { $0.isStopped } }

    /// From here on the caller leaves, not a signal: two of them end the process at once.
    func leaving() {
        let isLeft = state.withLock { state in
            if state.phase == .left { return true }
            state = State(phase: .leaving)
            return false
        }
        if isLeft { park() }
        restoreTerminal()
    }

    /// The signals' thread is about to end the process.
    private func park() { while true { sleep(3600) } }

    private func restoreTerminal() {
        guard var mode else { return }
        tcsetattr(STDIN_FILENO, TCSANOW, &mode)
    }
}
