/// Products of matrices on a device, by cuBLASLt. One for each stream: products of a stream share one workspace.
package final class MatrixProducts: @unchecked Sendable {
    // Sendable by hand: used with one stream, whose owner orders the calls.
    package let context: DeviceContext
    private let handle: Handle
    private let workspace: DeviceMemory
    private var plans: [Shape: Plan] = [:]

    /// What NVIDIA advises for Hopper.
    static let workspaceBytes = 32 << 20
    /// Shapes kept; beyond that all are forgotten.
    private static let shapesKept = 4096

    private var calls: ProductCalls { context.cuda.productCalls }

    /// What the choice of an algorithm depends on.
    private struct Shape: Hashable {
        let rows: Int, columns: Int, tokens: Int
        let elements: ElementType
        let outIsFloat: Bool
        let outStride: Int
        /// The power of two (at most 256 bytes) that each address is a multiple of.
        let alignments: [UInt32]
    }

    init(_ context: DeviceContext) throws(CUDAError) {
        let workspace = try context.allocate(Self.workspaceBytes, for: "the matrix products' workspace")
        var handle: Handle?
        try context.cuda.productCalls.check("cublasLtCreate", context.cuda.productCalls.create(&handle))
        guard let handle else { throw CUDAError(.call, "cublasLtCreate gave no handle") }
        self.context = context
        self.handle = handle
        self.workspace = workspace
    }

    deinit {
        plans = [:]
        if context.driver.setContext(context.handle) == Status.success { _ = calls.destroy(handle) }
    }

    /// out[tokens, rows] = alpha * x[tokens, columns] * weights[rows, columns]ᵀ + beta * out, all row-major, sums in float.
    ///
    /// - Parameters:
    ///   - elements: of weights and x.
    ///   - outIsFloat: whether out is float32; else it is `elements`.
    ///   - outStride: elements from one row of out to the next, `rows` at least.
    ///   - beta: 0: out is not read.
    /// - Throws: `.call` also where cuBLASLt has no algorithm for the shape.
    package func multiply(
        on stream: DeviceStream, weights: UInt64, rows: Int, columns: Int, x: UInt64, tokens: Int, elements: ElementType,
        out: UInt64, outIsFloat: Bool, outStride: Int, alpha: Float, beta: Float
    ) throws(CUDAError) {
        if tokens == 0 || rows == 0 { return }
        guard rows > 0, columns > 0, tokens > 0, outStride >= rows else {
            throw CUDAError(
                .call, "no product of [\(tokens), \(columns)] and [\(rows), \(columns)] into rows \(outStride) elements apart")
        }
        try context.makeCurrent()
        let shape = Shape(
            rows: rows, columns: columns, tokens: tokens, elements: elements, outIsFloat: outIsFloat, outStride: outStride,
            alignments: [weights, x, out].map { UInt32(1) << UInt32(min($0.trailingZeroBitCount, 8)) })
        let plan: Plan
        if let known = plans[shape] {
            plan = known
        } else {
            plan = try choose(shape)
            if plans.count >= Self.shapesKept { plans = [:] }
            plans[shape] = plan
        }
        var (alpha, beta) = (alpha, beta)
        let output = UnsafeMutableRawPointer(bitPattern: UInt(out))
        let status = calls.multiply(
            handle, plan.product.handle, &alpha, UnsafeRawPointer(bitPattern: UInt(weights)), plan.weights.handle,
            UnsafeRawPointer(bitPattern: UInt(x)), plan.x.handle, &beta, output, plan.out.handle, output, plan.out.handle,
            plan.choice.bytes,
            UnsafeMutableRawPointer(bitPattern: UInt(workspace.address)), workspace.bytes, stream.handle)
        try calls.check("cublasLtMatmul of [\(tokens), \(columns)] and [\(rows), \(columns)]", status)
    }

    /// Some 50 µs.
    private func choose(_ shape: Shape) throws(CUDAError) -> Plan {
        // cudaDataType of library_types.h; cuBLASLt sees row-major matrices as their transposes, so out is rows × tokens there.
        let type: Int32 = shape.elements == .f16 ? 2 : 14
        let (rows, columns, tokens) = (UInt64(shape.rows), UInt64(shape.columns), UInt64(shape.tokens))
        let calls = calls
        let name = "[\(shape.tokens), \(shape.columns)] and [\(shape.rows), \(shape.columns)] in \(shape.elements)"
        func layout(_ type: Int32, _ rows: UInt64, _ columns: UInt64, _ stride: Int) throws(CUDAError) -> Descriptor {
            try Descriptor(calls, "cublasLtMatrixLayoutCreate of \(name)", calls.destroyLayout) {
                calls.createLayout(&$0, type, rows, columns, Int64(stride))
            }
        }
        let plan = Plan(
            // CUBLAS_COMPUTE_32F, and factors of CUDA_R_32F
            product: try Descriptor(calls, "cublasLtMatmulDescCreate", calls.destroyProduct) { calls.createProduct(&$0, 68, 0) },
            weights: try layout(type, columns, rows, shape.columns), x: try layout(type, columns, tokens, shape.columns),
            out: try layout(shape.outIsFloat ? 0 : type, rows, tokens, shape.outStride), choice: Choice())
        // CUBLASLT_MATMUL_DESC_TRANSA = CUBLAS_OP_T; B stays as it is
        var transposed: Int32 = 1
        try calls.check("cublasLtMatmulDescSetAttribute", calls.setProduct(plan.product.handle, 3, &transposed, 4))
        let preference = try Descriptor(calls, "cublasLtMatmulPreferenceCreate", calls.destroyPreference) {
            calls.createPreference(&$0)
        }
        // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
        var bytes = UInt64(workspace.bytes)
        try calls.check("cublasLtMatmulPreferenceSetAttribute", calls.setPreference(preference.handle, 1, &bytes, 8))
        // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, _B, _C, _D: 256 unless told
        for (attribute, index) in [(Int32(5), 0), (6, 1), (7, 2), (8, 2)] {
            var alignment = shape.alignments[index]
            try calls.check(
                "cublasLtMatmulPreferenceSetAttribute", calls.setPreference(preference.handle, attribute, &alignment, 4))
        }
        var found: Int32 = 0
        let status = calls.choose(
            handle, plan.product.handle, plan.weights.handle, plan.x.handle, plan.out.handle, plan.out.handle, preference.handle, 1,
            plan.choice.bytes, &found)
        try calls.check("cublasLtMatmulAlgoGetHeuristic of \(name)", status)
        guard found > 0 else { throw CUDAError(.call, "cuBLASLt has no algorithm for the product of \(name)") }
        try calls.check("cublasLtMatmulAlgoGetHeuristic of \(name)", plan.choice.state)
        return plan
    }
}

/// A product's descriptors and its algorithm.
private struct Plan {
    let product: Descriptor, weights: Descriptor, x: Descriptor, out: Descriptor
    let choice: Choice
}

/// A descriptor of cuBLASLt's, destroyed at the end.
private final class Descriptor {
    let handle: Handle
    private let destroy: @convention(c) (Handle) -> Int32

    init(
        _ calls: ProductCalls, _ call: String, _ destroy: @escaping @convention(c) (Handle) -> Int32,
        _ make: (inout Handle?) -> Int32
    ) throws(CUDAError) {
        var handle: Handle?
        try calls.check(call, make(&handle))
        guard let handle else { throw CUDAError(.call, "\(call) gave nothing") }
        self.handle = handle
        self.destroy = destroy
    }

    deinit { _ = destroy(handle) }
}

/// `cublasLtMatmulHeuristicResult_t`: the algorithm's 64 bytes, workspace (size_t), status (int), waves (float), four ints.
private final class Choice {
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: 96, alignment: 16)

    init() { bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 96) }
    deinit { bytes.deallocate() }

    var state: Int32 { bytes.load(fromByteOffset: 72, as: Int32.self) }
}
