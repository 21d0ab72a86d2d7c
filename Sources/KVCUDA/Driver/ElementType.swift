/// What weights, activations and KV-caches are made of on a device.
package enum ElementType: String, Sendable, CaseIterable {
    case f16, bf16

    package static let bytes = 2
}
