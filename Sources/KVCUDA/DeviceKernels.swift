/// The kernels of a device for one choice of types and one head dimension, loaded. Addresses are the device's, matrices row-major; every launch
/// returns at once, and costs some microseconds of the calling thread. Where rows' bytes are multiples of 16, and addresses too, elements are
/// read and written 16 bytes at a time. (Kernels/*.cu say what each computes.)
package struct DeviceKernels: Sendable {
    package let elements: ElementType, cache: ElementType
    package let headDimension: Int
    let multiprocessors: Int
    private let functions: [Name: DeviceFunction]

    /// The kernels' names in the source.
    enum Name: String, CaseIterable {
        case embed
        case rmsNormHidden = "rms_norm_hidden", rmsNormElement = "rms_norm_element", rmsNormAdd = "rms_norm_add"
        case layerNormHidden = "layer_norm_hidden", layerNormElement = "layer_norm_element", layerNormAdd = "layer_norm_add"
        case toElement = "to_element", addFloat = "add_float"
        case rotate, append, attention
        case attentionDecode = "attention_decode", attentionMerge = "attention_merge"
        case siluProduct = "silu_product", geluTanhProduct = "gelu_tanh_product", gelu, geluTanh = "gelu_tanh"
        case addBiasElement = "add_bias_element", addBiasFloat = "add_bias_float", addWeighted = "add_weighted"
        case softCap = "soft_cap"
        case chooseExperts = "choose_experts", gatherRows = "gather_rows", addExperts = "add_experts"
    }

    /// Compiles the kernels, some seconds, or has them from the cache on disk.
    ///
    /// - Throws: `.device` below capability 8.0, whose processors lack the instructions; `.compile`, `.call`.
    package init(
        _ context: DeviceContext, elements: ElementType, cache: ElementType, headDimension: Int
    ) throws(CUDAError) {
        let device = context.device
        guard device.major >= 8 else {
            throw CUDAError(
                .device, "device \(device.index) (\(device.name)) has capability \(device.major).\(device.minor); ranks need 8.0")
        }
        guard (1...256).contains(headDimension) else {
            throw CUDAError(.compile, "heads of dimension \(headDimension): the kernels take 1 ... 256")
        }
        let module = try context.module(
            source: KernelSource.text, name: "kvcpu.cu",
            options: KernelSource.options(elements: elements, cache: cache, headDimension: headDimension))
        var functions: [Name: DeviceFunction] = [:]
        for name in Name.allCases {
            let bytes = name == .attention ? KernelShape.attentionBytes(headDimension: headDimension) : 0
            functions[name] = try module.function(name.rawValue, sharedBytes: bytes)
        }
        self.elements = elements
        self.cache = cache
        self.headDimension = headDimension
        self.functions = functions
        multiprocessors = max(1, device.multiprocessors)
    }

    func function(_ name: Name) throws(CUDAError) -> DeviceFunction {
        guard let function = functions[name] else { throw CUDAError(.call, "no kernel \(name.rawValue)") }
        return function
    }

    /// Blocks for `count` elements, eight a thread: as many as keep the device busy, and no more.
    func grid(_ count: Int) -> (Int, Int, Int) {
        (min((count + 8 * KernelShape.threads - 1) / (8 * KernelShape.threads), 16 * multiprocessors), 1, 1)
    }

    /// Blocks for rows that have one each.
    func rowGrid(_ rows: Int) -> (Int, Int, Int) { (rows, 1, 1) }

    /// Blocks for rows that have a warp each.
    func warpGrid(_ rows: Int) -> (Int, Int, Int) { ((rows + KernelShape.warpRows - 1) / KernelShape.warpRows, 1, 1) }
}
