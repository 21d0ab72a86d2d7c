import Foundation

/// Where CUDA's libraries are looked for.
///
/// Nothing is linked when the program is built, so it starts as before on a machine without them.
package struct LibrarySearch: Sendable {
    /// Looked into before everything else.
    package let first: [String]
    /// Whether the loader is asked by name (`LD_LIBRARY_PATH`, `/etc/ld.so.cache`), after `first`.
    package let asksLoader: Bool
    /// Looked into last.
    package let last: [String]

    package init(first: [String] = [], asksLoader: Bool = true, last: [String] = []) {
        self.first = first
        self.asksLoader = asksLoader
        self.last = last
    }

    /// The folders in `KVCPU_CUDA_PATH` (`:` between them), the loader, the toolkit at `CUDA_HOME` or `CUDA_PATH`, and the PyPI wheels
    /// (`site-packages/nvidia/*/lib`) of `VIRTUAL_ENV` and of the `python3` in `PATH`.
    package static var standard: LibrarySearch { LibrarySearch(environment: ProcessInfo.processInfo.environment) }

    /// The same for a given environment.
    package init(environment: [String: String]) {
        func list(_ name: String) -> [String] {
            (environment[name] ?? "").split(separator: ":").map(String.init)
        }
        var last: [String] = []
        for root in list("CUDA_HOME") + list("CUDA_PATH") + ["/usr/local/cuda"] {
            last.append("\(root)/lib64")
            last += Self.below("\(root)/targets").map { "\(root)/targets/\($0)/lib" }
        }
        // Drivers where containers and WSL put them.
        last += ["/usr/local/nvidia/lib64", "/usr/lib/wsl/lib"]
        var prefixes = list("VIRTUAL_ENV")
        for folder in list("PATH") where FileManager.default.isExecutableFile(atPath: "\(folder)/python3") {
            prefixes.append(Self.parent(folder))
            prefixes.append(Self.parent(Self.parent(URL(fileURLWithPath: "\(folder)/python3").resolvingSymlinksInPath().path)))
            // pyenv's commands are scripts beside which the versions lie.
            let versions = "\(Self.parent(folder))/versions"
            if folder.hasSuffix("/shims") { prefixes += Self.below(versions).map { "\(versions)/\($0)" } }
        }
        if let home = environment["HOME"] { prefixes.append("\(home)/.local") }
        for prefix in prefixes {
            for python in Self.below("\(prefix)/lib") where python.hasPrefix("python3") {
                for packages in ["site-packages", "dist-packages"] {
                    let root = "\(prefix)/lib/\(python)/\(packages)/nvidia"
                    last += Self.below(root).map { "\(root)/\($0)/lib" }
                }
            }
        }
        var seen: Set<String> = []
        self.init(first: list("KVCPU_CUDA_PATH"), asksLoader: true, last: last.filter { seen.insert($0).inserted })
    }

    private static func below(_ folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    }

    private static func parent(_ path: String) -> String { URL(fileURLWithPath: path).deletingLastPathComponent().path }

    /// Opens the first that is there and can be loaded.
    ///
    /// - Parameter names: file names, the most wanted first.
    /// - Throws: `.library` with every name, where was looked, and the loader's reason for a file that is there but cannot be loaded.
    func open(_ names: [String]) throws(CUDAError) -> Library {
        var reasons: [String] = []
        func look(_ folders: [String], _ name: String) -> Library? {
            for folder in folders {
                let path = "\(folder)/\(name)"
                guard FileManager.default.fileExists(atPath: path) else { continue }
                switch Library.load(path) {
                case .success(let library): return library
                case .failure(let reason): reasons.append(reason.description)
                }
            }
            return nil
        }
        for name in names {
            if let library = look(first, name) { return library }
            if asksLoader {
                switch Library.load(name) {
                case .success(let library): return library
                case .failure(let reason):
                    // That there is none is no reason to tell.
                    if !reason.description.hasPrefix("\(name): cannot open shared object file") {
                        reasons.append(reason.description)
                    }
                }
            }
            if let library = look(last, name) { return library }
        }
        var text = "\(names.joined(separator: " or ")) cannot be opened: "
        if reasons.isEmpty {
            let places = first + (asksLoader ? ["the loader's path"] : []) + last.filter(Self.exists)
            text += "looked in \(places.joined(separator: ", ")); KVCPU_CUDA_PATH names further folders"
        } else {
            text += reasons.joined(separator: "; ")
        }
        throw CUDAError(.library, text)
    }

    private static func exists(_ folder: String) -> Bool { FileManager.default.fileExists(atPath: folder) }
}
