/// What can go wrong between the program and CUDA's libraries.
package struct CUDAError: Error, Sendable, CustomStringConvertible, Equatable {
    package enum Code: Sendable, Equatable {
        /// A library cannot be found or opened.
        case library
        /// A library lacks a function.
        case symbol
        /// The driver is older than 12.0, or does not fit the kernel's module.
        case driver
        /// A call failed; the description names it, its status and the status's name.
        case call
        /// A kernel's source does not compile; the description has the compiler's log.
        case compile
        /// A device's memory does not suffice.
        case memory
        /// There is no such device, or it is lost.
        case device
        /// The time allowed for a wait ran out.
        case deadline
        /// Whoever waited was told to stop.
        case interrupted
    }

    package let code: Code
    package let description: String

    package init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
