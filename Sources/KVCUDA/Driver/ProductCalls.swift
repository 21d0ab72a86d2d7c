/// cuBLASLt's functions, found by name; types are cublasLt.h's of 12.0 to 13.x, with descriptors as raw pointers and enumerations as Int32.
struct ProductCalls: @unchecked Sendable {
    // Sendable by hand: functions of a library that is never closed.
    typealias Out<Value> = UnsafeMutablePointer<Value>

    let library: Library
    let statusName: @convention(c) (Int32) -> UnsafePointer<CChar>?
    let create: @convention(c) (Out<Handle?>) -> Int32
    let destroy: @convention(c) (Handle) -> Int32

    let createProduct: @convention(c) (Out<Handle?>, Int32, Int32) -> Int32
    let setProduct: @convention(c) (Handle, Int32, UnsafeRawPointer, Int) -> Int32
    let destroyProduct: @convention(c) (Handle) -> Int32
    let createLayout: @convention(c) (Out<Handle?>, Int32, UInt64, UInt64, Int64) -> Int32
    let destroyLayout: @convention(c) (Handle) -> Int32
    let createPreference: @convention(c) (Out<Handle?>) -> Int32
    let setPreference: @convention(c) (Handle, Int32, UnsafeRawPointer, Int) -> Int32
    let destroyPreference: @convention(c) (Handle) -> Int32

    /// handle, product, layouts of A, B, C, D, preference, count, results, found
    let choose:
        @convention(c) (
            Handle, Handle, Handle, Handle, Handle, Handle, Handle, Int32, UnsafeMutableRawPointer, Out<Int32>
        ) -> Int32
    /// handle, product, alpha, A, layout, B, layout, beta, C, layout, D, layout, algorithm, workspace, its bytes, stream
    let multiply:
        @convention(c) (
            Handle, Handle, UnsafePointer<Float>, UnsafeRawPointer?, Handle, UnsafeRawPointer?, Handle, UnsafePointer<Float>,
            UnsafeRawPointer?, Handle, UnsafeMutableRawPointer?, Handle, UnsafeRawPointer, UnsafeMutableRawPointer?, Int, Handle
        ) -> Int32

    /// - Throws: `.symbol`.
    init(_ library: Library) throws(CUDAError) {
        self.library = library
        statusName = try library.function("cublasLtGetStatusName")
        create = try library.function("cublasLtCreate")
        destroy = try library.function("cublasLtDestroy")
        createProduct = try library.function("cublasLtMatmulDescCreate")
        setProduct = try library.function("cublasLtMatmulDescSetAttribute")
        destroyProduct = try library.function("cublasLtMatmulDescDestroy")
        createLayout = try library.function("cublasLtMatrixLayoutCreate")
        destroyLayout = try library.function("cublasLtMatrixLayoutDestroy")
        createPreference = try library.function("cublasLtMatmulPreferenceCreate")
        setPreference = try library.function("cublasLtMatmulPreferenceSetAttribute")
        destroyPreference = try library.function("cublasLtMatmulPreferenceDestroy")
        choose = try library.function("cublasLtMatmulAlgoGetHeuristic")
        multiply = try library.function("cublasLtMatmul")
    }

    /// - Throws: `.memory` for CUBLAS_STATUS_ALLOC_FAILED, else `.call`.
    func check(_ call: @autoclosure () -> String, _ status: Int32) throws(CUDAError) {
        guard status != Status.success else { return }
        let name = statusName(status).map { String(cString: $0) } ?? "of no name"
        throw CUDAError(status == 3 ? .memory : .call, "\(call()) failed with \(status) \(name)")
    }
}
