import CKVLinux
import Glibc

/// A mapping that several ranks, threads or processes see. Unmapped when let go of.
///
/// Shared from the start: who writes what, and in which order it is seen, is for those who use it to settle.
package final class SharedMemory: @unchecked Sendable {
    // Sendable by hand for the pointer, which is constant, as all else here.
    package let pointer: UnsafeMutableRawPointer
    /// Size in bytes.
    package let count: Int
    /// The file behind it, for handing on to another process; closed with the mapping, unless this is a part of it.
    package let descriptor: Int32
    /// The name under which other processes open it; nil if anonymous.
    package let name: String?
    /// Whether the name goes when this object does.
    private let unlinksName: Bool
    /// False for a part of somebody's file.
    private let ownsDescriptor: Bool

    /// An anonymous memory file, which no holder of the descriptor can resize. Pages come when first touched.
    ///
    /// - Parameters:
    ///   - label: shown in /proc/…/maps only.
    ///   - node: preferred for the pages, whoever touches them first; nil leaves it to the one who does.
    package static func anonymous(
        label: String, count: Int, node: Int? = nil
    ) throws(FabricError) -> SharedMemory {
        guard count > 0 else { throw .invalid(field: "size of \(label)", value: "\(count)") }
        let file = ckv_memfd(label, count)
        guard file >= 0 else { throw .system(call: "memfd_create \(label)", errno: -file) }
        let memory = try SharedMemory(adopting: file, count: count, name: nil, unlinksName: false)
        memory.prefer(node)
        return memory
    }

    /// A memory file with a name ("/kvcpu-…"), new, readable by this user only. Its pages are set aside at once, as a
    /// full /dev/shm would otherwise show as a bus error at first touch. The name is taken back when this object goes.
    package static func create(name: String, count: Int, node: Int? = nil) throws(FabricError) -> SharedMemory {
        guard count > 0 else { throw .invalid(field: "size of \(name)", value: "\(count)") }
        let file = shm_open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .system(call: "shm_open \(name)", errno: errno) }
        guard ftruncate(file, count) == 0 else {
            let error = FabricError.system(call: "ftruncate \(name)", errno: errno)
            close(file)
            shm_unlink(name)
            throw error
        }
        let memory: SharedMemory
        do throws(FabricError) {
            memory = try SharedMemory(adopting: file, count: count, name: name, unlinksName: true)
        } catch {
            shm_unlink(name)
            throw error
        }
        memory.prefer(node)
        let code = posix_fallocate(file, 0, count)
        guard code == 0 else { throw .system(call: "posix_fallocate \(name)", errno: code) }
        return memory
    }

    /// The memory file of this name, made by another.
    package static func open(name: String) throws(FabricError) -> SharedMemory {
        let file = shm_open(name, O_RDWR | O_CLOEXEC, 0)
        guard file >= 0 else { throw .system(call: "shm_open \(name)", errno: errno) }
        return try SharedMemory(
            adopting: file, count: try size(of: file, what: name), name: name, unlinksName: false)
    }

    /// The memory file behind an inherited descriptor, which stays the caller's.
    package static func attach(descriptor: Int32) throws(FabricError) -> SharedMemory {
        let file = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
        guard file >= 0 else { throw .system(call: "dup of descriptor \(descriptor)", errno: errno) }
        return try SharedMemory(
            adopting: file, count: try size(of: file, what: "descriptor \(descriptor)"), name: nil, unlinksName: false)
    }

    /// Part of the memory file behind a descriptor, which stays the caller's and may be closed meanwhile.
    /// - Parameter offset: in bytes, whole pages.
    static func part(
        of descriptor: Int32, offset: Int, count: Int, node: Int?
    ) throws(FabricError) -> SharedMemory {
        let memory = try SharedMemory(
            adopting: descriptor, from: offset, count: count, name: nil, unlinksName: false, ownsDescriptor: false)
        memory.prefer(node)
        return memory
    }

    /// Takes a name back that a process left behind; no error if there is none.
    package static func unlink(name: String) throws(FabricError) {
        if shm_unlink(name) != 0, errno != ENOENT { throw .system(call: "shm_unlink \(name)", errno: errno) }
    }

    /// Maps the file and owns the descriptor from the call on, also if it throws.
    private init(
        adopting file: Int32, from offset: Int = 0, count: Int, name: String?, unlinksName: Bool, ownsDescriptor: Bool = true
    ) throws(FabricError) {
        guard let start = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, file, offset), start != MAP_FAILED else {
            let error = FabricError.system(call: "mmap of \(count) bytes", errno: errno)
            if ownsDescriptor { close(file) }
            throw error
        }
        pointer = start
        descriptor = file
        self.count = count
        self.name = name
        self.unlinksName = unlinksName
        self.ownsDescriptor = ownsDescriptor
    }

    deinit {
        munmap(pointer, count)
        if ownsDescriptor { close(descriptor) }
        if let name, unlinksName { shm_unlink(name) }
    }

    /// Bytes of its file that there are pages for.
    package var resident: Int {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Int(status.st_blocks) * 512 : 0
    }

    /// A wish: without it the memory is the same, only farther away.
    private func prefer(_ node: Int?) {
        guard let node else { return }
        _ = ckv_memory_prefer(pointer, count, Int32(clamping: node))
    }

    private static func size(of file: Int32, what: String) throws(FabricError) -> Int {
        var status = stat()
        guard fstat(file, &status) == 0 else {
            let error = FabricError.system(call: "fstat \(what)", errno: errno)
            close(file)
            throw error
        }
        guard status.st_size > 0 else {
            close(file)
            throw .invalid(field: "size of \(what)", value: "\(status.st_size)")
        }
        return Int(status.st_size)
    }
}
