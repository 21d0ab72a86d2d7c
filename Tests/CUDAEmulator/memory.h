// Memory: a device's allocations and who may touch them, pinned memory, copies and filling; part of cuda.cpp.
#pragma once
#include "streams.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <sys/mman.h>
#include <vector>

namespace {

std::map<uint64_t, size_t> pinned;

int owner(uint64_t address) {
    for (int index = 0; index < most_devices; index++) {
        const uint64_t base = uint64_t(devices[index].base);
        if (base && address >= base && address < base + device_range) return index;
    }
    return -1;
}

int reach(Context *context, uint64_t address, size_t bytes, const char *what) {
    const int device = owner(address);
    const char *reason = "no device's memory";
    if (device >= 0) {
        auto &allocations = devices[device].allocations;
        auto found = allocations.upper_bound(address);
        reason = "not allocated, or beyond the allocation";
        if (found != allocations.begin()) {
            --found;
            if (address - found->first <= found->second.bytes && bytes <= found->second.bytes - (address - found->first)) {
                if (device == context->device || context->peers.count(device)) return ok;
                reason = "another device's memory, without peer access";
            }
        }
    }
    fprintf(stderr, "emulated CUDA: device %d: %s touches %zu bytes at 0x%llx: %s\n", context->device, what, bytes,
            (unsigned long long)address, reason);
    return illegal_address;
}

// Bytes around allocations that nothing may have written.
bool intact(const Allocation &allocation, uint64_t address) {
    for (uint8_t *at = allocation.start; at < (uint8_t *)address; at++) if (*at != 0xa5) return false;
    for (uint8_t *at = (uint8_t *)address + allocation.bytes; at < allocation.end; at++) if (*at != 0xa5) return false;
    return true;
}

bool release(Device &device, uint64_t address) {
    auto found = device.allocations.find(address);
    if (found == device.allocations.end()) return false;
    const Allocation allocation = found->second;
    if (!intact(allocation, address))
        fprintf(stderr, "emulated CUDA: bytes beside the %zu at 0x%llx were written\n", allocation.bytes, (unsigned long long)address);
    mmap(allocation.start, allocation.end - allocation.start, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    device.used -= allocation.bytes;
    device.allocations.erase(found);
    return true;
}

}  // namespace

extern "C" {

int cuMemGetInfo_v2(size_t *free, size_t *total) {
    CONTEXT("cuMemGetInfo_v2");
    Device &device = devices[current->device];
    *total = device.limit;
    *free = device.limit - std::min(device.limit, device.used);
    return ok;
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    CONTEXT("cuMemAlloc_v2");
    if (int status = forbidden()) return status;
    if (bytes == 0) return invalid_value;
    Device &device = devices[current->device];
    if (bytes > device.limit - std::min(device.limit, device.used)) return out_of_memory;
    const size_t padded = (bytes + 255) / 256 * 256, pages = (padded + page - 1) / page * page;
    if (size_t(device.next - device.base) + pages + 2 * page > device_range) return out_of_memory;
    uint8_t *start = device.next + page, *end = start + pages;
    if (mprotect(start, pages, PROT_READ | PROT_WRITE) != 0) return out_of_memory;
    device.next = end;
    uint8_t *at = end - padded;
    memset(start, 0xa5, size_t(at - start));
    memset(at, 0xff, bytes);
    memset(at + bytes, 0xa5, padded - bytes);
    device.allocations[uint64_t(at)] = {start, end, bytes, padded};
    device.used += bytes;
    *address = uint64_t(at);
    return ok;
}

int cuMemFree_v2(uint64_t address) {
    CONTEXT("cuMemFree_v2");
    if (int status = forbidden()) return status;
    const int index = owner(address);
    if (index < 0) return invalid_value;
    drain_device(index);
    return release(devices[index], address) ? ok : invalid_value;
}

int cuMemHostAlloc(void **base, size_t bytes, unsigned) {
    CONTEXT("cuMemHostAlloc");
    if (int status = forbidden()) return status;
    if (bytes == 0) return invalid_value;
    void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return out_of_memory;
    pinned[uint64_t(memory)] = bytes;
    *base = memory;
    return ok;
}

int cuMemFreeHost(void *base) {
    CONTEXT("cuMemFreeHost");
    if (int status = forbidden()) return status;
    auto found = pinned.find(uint64_t(base));
    if (found == pinned.end()) return invalid_value;
    for (int index = 0; index < device_count; index++) drain_device(index);
    munmap(base, found->second);
    pinned.erase(found);
    return ok;
}

int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *handle) {
    STREAM("cuMemcpyHtoDAsync_v2");
    Context *context = current;
    auto range = pinned.upper_bound(uint64_t(from));
    bool is_pinned = false;
    if (range != pinned.begin()) { --range; is_pinned = uint64_t(from) + bytes <= range->first + range->second; }
    if (is_pinned || stream->capture)
        return enqueue(*stream, {Item::work, [=] {
            if (int status = reach(context, to, bytes, "an upload")) return status;
            memcpy((void *)to, from, bytes);
            return int(ok);
        }, nullptr});
    // Other memory is copied away at once, as the real driver does.
    auto copy = std::make_shared<std::vector<uint8_t>>((const uint8_t *)from, (const uint8_t *)from + bytes);
    return enqueue(*stream, {Item::work, [=] {
        if (int status = reach(context, to, bytes, "an upload")) return status;
        memcpy((void *)to, copy->data(), bytes);
        return int(ok);
    }, nullptr});
}

int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *handle) {
    STREAM("cuMemcpyDtoHAsync_v2");
    Context *context = current;
    return enqueue(*stream, {Item::work, [=] {
        if (int status = reach(context, from, bytes, "a download")) return status;
        memcpy(to, (void *)from, bytes);
        return int(ok);
    }, nullptr});
}

int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *handle) {
    STREAM("cuMemcpyDtoDAsync_v2");
    Context *context = current;
    return enqueue(*stream, {Item::work, [=] {
        if (int status = reach(context, from, bytes, "a copy")) return status;
        if (int status = reach(context, to, bytes, "a copy")) return status;
        memmove((void *)to, (void *)from, bytes);
        return int(ok);
    }, nullptr});
}

int cuMemcpyPeerAsync(uint64_t to, void *to_context, uint64_t from, void *from_context, size_t bytes, void *handle) {
    STREAM("cuMemcpyPeerAsync");
    Context *source = (Context *)from_context, *target = (Context *)to_context;
    int known = 0;
    for (auto &[device, context] : contexts) known += (context.get() == source) + (context.get() == target);
    if (known != 2) return invalid_context;
    return enqueue(*stream, {Item::work, [=] {
        if (int status = reach(source, from, bytes, "a copy to a peer")) return status;
        if (int status = reach(target, to, bytes, "a copy to a peer")) return status;
        memmove((void *)to, (void *)from, bytes);
        return int(ok);
    }, nullptr});
}

int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *handle) {
    STREAM("cuMemsetD8Async");
    Context *context = current;
    return enqueue(*stream, {Item::work, [=] {
        if (int status = reach(context, to, bytes, "filling")) return status;
        memset((void *)to, value, bytes);
        return int(ok);
    }, nullptr});
}

}  // extern "C"
