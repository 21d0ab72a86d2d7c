import CKVLinux
import Glibc

/// An anonymous memory file that parts are taken from one after the other, each a mapping of its own. Two processes that ask
/// for the same parts in the same order see the same memory.
package final class MemoryFile: @unchecked Sendable {
    // Used by one thread, until all parts are taken.
    /// For handing on to another process; closed with this object. Parts live on.
    package let descriptor: Int32
    /// Bytes taken so far: whole pages.
    package private(set) var count = 0
    /// True for the process that makes the file and everything in it.
    package let isMade: Bool
    private let bytes: Int

    /// A new file, which grows with every part.
    package init(label: String) throws(FabricError) {
        let file = ckv_memfd_growing(label)
        guard file >= 0 else { throw .system(call: "memfd_create \(label)", errno: -file) }
        descriptor = file
        isMade = true
        bytes = .max
    }

    /// The file behind an inherited descriptor, which stays the caller's.
    package init(attachingTo inherited: Int32) throws(FabricError) {
        var status = stat()
        guard fstat(inherited, &status) == 0 else {
            throw .system(call: "fstat of descriptor \(inherited)", errno: errno)
        }
        let file = fcntl(inherited, F_DUPFD_CLOEXEC, 3)
        guard file >= 0 else { throw .system(call: "dup of descriptor \(inherited)", errno: errno) }
        descriptor = file
        isMade = false
        bytes = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// The next part, zeroed when it is made.
    /// - Parameter node: preferred for its pages; nil: that of who touches them first.
    /// - Throws: `.invalid` when the file of another process has no more, `.system`.
    package func next(_ count: Int, node: Int? = nil) throws(FabricError) -> SharedMemory {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        guard count > 0, count <= Int.max - page - self.count else {
            throw .invalid(field: "part of a memory file", value: "\(count)")
        }
        let end = self.count + (count + page - 1) / page * page
        guard end <= bytes else {
            throw .invalid(field: "size of the memory file", value: "\(bytes), less than \(end),")
        }
        if isMade, ftruncate(descriptor, end) != 0 { throw .system(call: "ftruncate to \(end) bytes", errno: errno) }
        let part = try SharedMemory.part(of: descriptor, offset: self.count, count: count, node: isMade ? node : nil)
        self.count = end
        return part
    }

    /// No more parts: from now on no holder of the descriptor can resize the file.
    package func seal() throws(FabricError) {
        let code = ckv_memfd_seal(descriptor)
        guard code == 0 else { throw .system(call: "fcntl F_ADD_SEALS", errno: code) }
    }
}
