import Glibc

/// A shared library opened while the program runs. It is never closed: drivers start threads that outlive every handle.
struct Library: @unchecked Sendable {
    // Sendable by hand: a handle of dlopen's, which any thread may ask.
    private let handle: UnsafeMutableRawPointer
    /// Where it was found, as the loader says.
    let path: String

    static func load(_ path: String) -> Result<Library, CUDAError> {
        guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
            return .failure(CUDAError(.library, dlerror().map { String(cString: $0) } ?? path))
        }
        return .success(Library(handle: handle, asked: path))
    }

    private init(handle: UnsafeMutableRawPointer, asked: String) {
        self.handle = handle
        var path = asked
        // A name without a folder was found by the loader, which knows where. dlinfo is GNU's, so Swift's Glibc does not show it.
        if !asked.contains("/"), let symbol = dlsym(nil, "dlinfo") {
            typealias Ask = @convention(c) (UnsafeMutableRawPointer, Int32, UnsafeMutableRawPointer) -> Int32
            var folder = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
            if unsafeBitCast(symbol, to: Ask.self)(handle, origin, &folder) == 0 {
                path = String(decoding: folder.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) + "/" + asked
            }
        }
        self.path = path
    }

    /// The function of this name, as the caller declares its type.
    ///
    /// - Throws: `.symbol`, with the name and the library.
    func function<Function>(_ name: String, as type: Function.Type = Function.self) throws(CUDAError) -> Function {
        guard let symbol = dlsym(handle, name) else { throw CUDAError(.symbol, "\(path) has no function \(name)") }
        return unsafeBitCast(symbol, to: type)
    }
}

/// `RTLD_DI_ORIGIN` of dlfcn.h.
private let origin: Int32 = 6
