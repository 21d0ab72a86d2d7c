// A stand-in for libcuda.so.1: devices made of host memory, so that everything above the driver runs without one.
//
// Made to find mistakes that a real device hides most of the time:
// * Streams are queues, and work is done as late as possible: when a stream is asked about for the second time or something that must
//   wait is called. Streams are ordered by events alone, so work that should have waited for an event sees old data, each time.
// * Memory of an allocation ends at a page that cannot be touched, is filled with NaNs at first, and belongs to one device: work of
//   another device's context must not touch it unless peer access is enabled. Whoever does gets CUDA_ERROR_ILLEGAL_ADDRESS, which
//   stays until the context is gone, and a line on stderr.
// * Pinned memory is read and written when the stream comes to it.
//
// Environment, read by cuInit: KVCPU_FAKE_DEVICES (1), KVCPU_FAKE_MEMORY (bytes of a device, 1 GiB), KVCPU_FAKE_CAPABILITY (9.0),
// KVCPU_FAKE_PEERS (1; 0: no device reaches another), KVCPU_FAKE_FAULT: call:status[:after=n],… makes a call fail, from its nth + 1 on.
// KVCPU_FAKE_DRIVER (12040) is read by cuDriverGetVersion.
//
// Kernels are shared objects as kernel.h makes them, given as "cubin" by nvrtc.cpp. Types are plain C's; cuda.h is not needed.
//
// Here: what the other stand-ins call (emulator.h), and the driver's calls for devices and contexts. Its other calls lie with what
// they are about, in status.h, streams.h, memory.h, graphs.h and modules.h, which this file alone includes.
#include "emulator.h"
#include "devices.h"
#include "streams.h"
#include "memory.h"
#include "graphs.h"
#include "modules.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <sys/mman.h>

namespace {

long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? atol(text) : otherwise;
}

}  // namespace

int kvcpu_fault(const char *call) {
    std::lock_guard guard(lock);
    auto found = faults.find(call);
    if (found == faults.end()) return ok;
    return found->second.calls++ >= found->second.after ? found->second.status : ok;
}

int kvcpu_enqueue(void *handle, std::function<int()> work) {
    std::lock_guard guard(lock);
    Stream *stream = find(streams, handle);
    if (!stream) return invalid_handle;
    if (stream->context != current) return invalid_context;
    if (current->sticky) return current->sticky;
    return enqueue(*stream, {Item::work, std::move(work), nullptr});
}

int kvcpu_reach(void *handle, uint64_t address, size_t bytes, const char *what) {
    std::lock_guard guard(lock);
    Stream *stream = find(streams, handle);
    return stream ? reach(stream->context, address, bytes, what) : invalid_handle;
}

extern "C" {

int cuInit(unsigned flags) {
    std::lock_guard guard(lock);
    if (flags) return invalid_value;
    faults.clear();
    if (const char *text = getenv("KVCPU_FAKE_FAULT")) {
        std::string rest = text;
        while (!rest.empty()) {
            const std::string one = rest.substr(0, rest.find(','));
            rest = one.size() < rest.size() ? rest.substr(one.size() + 1) : "";
            const size_t colon = one.find(':'), after = one.find(":after=");
            if (colon == std::string::npos) continue;
            faults[one.substr(0, colon)] = {atoi(one.c_str() + colon + 1), after == std::string::npos ? 0 : atol(one.c_str() + after + 7), 0};
        }
    }
    if (int status = kvcpu_fault("cuInit")) return status;
    device_count = int(std::min<long>(number("KVCPU_FAKE_DEVICES", 1), most_devices));
    peers = number("KVCPU_FAKE_PEERS", 1) != 0;
    const char *text = getenv("KVCPU_FAKE_CAPABILITY");
    const double value = text ? atof(text) : 9.0;
    capability = int(value * 10 + 0.5);
    for (int index = 0; index < device_count; index++) {
        Device &device = devices[index];
        device.limit = size_t(number("KVCPU_FAKE_MEMORY", 1l << 30));
        if (device.base) continue;
        void *base = mmap(nullptr, device_range, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED) return out_of_memory;
        device.base = device.next = (uint8_t *)base;
    }
    initialised = true;
    return device_count > 0 ? ok : no_device;
}

int cuDriverGetVersion(int *version) {
    *version = int(number("KVCPU_FAKE_DRIVER", 12040));
    return ok;
}

int cuDeviceGetCount(int *count) { CALL("cuDeviceGetCount"); *count = device_count; return ok; }

int cuDeviceGet(int *device, int ordinal) {
    CALL("cuDeviceGet");
    if (ordinal < 0 || ordinal >= device_count) return invalid_device;
    *device = ordinal;
    return ok;
}

int cuDeviceGetName(char *name, int length, int device) {
    CALL("cuDeviceGetName");
    snprintf(name, size_t(length), "Emulated device %d", device);
    return ok;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    CALL("cuDeviceGetAttribute");
    if (device < 0 || device >= device_count) return invalid_device;
    switch (attribute) {
    case 16: *value = 4; return ok;
    case 75: *value = capability / 10; return ok;
    case 76: *value = capability % 10; return ok;
    case 97: *value = optin_shared; return ok;
    default: return invalid_value;
    }
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    CALL("cuDeviceTotalMem_v2");
    if (device < 0 || device >= device_count) return invalid_device;
    *bytes = devices[device].limit;
    return ok;
}

int cuDeviceCanAccessPeer(int *answer, int from, int to) {
    CALL("cuDeviceCanAccessPeer");
    if (from < 0 || to < 0 || from >= device_count || to >= device_count) return invalid_device;
    *answer = peers && from != to;
    return ok;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    CALL("cuDevicePrimaryCtxRetain");
    if (device < 0 || device >= device_count) return invalid_device;
    auto &known = contexts[device];
    if (!known) { known = std::make_unique<Context>(); known->device = device; }
    known->references++;
    *context = known.get();
    return ok;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    CALL("cuDevicePrimaryCtxRelease_v2");
    auto found = contexts.find(device);
    if (found == contexts.end()) return invalid_context;
    if (--found->second->references > 0) return ok;
    Context *context = found->second.get();
    drain_device(device);
    for (auto at = streams.begin(); at != streams.end();) at = at->second->context == context ? streams.erase(at) : std::next(at);
    while (!devices[device].allocations.empty()) release(devices[device], devices[device].allocations.begin()->first);
    for (auto &[index, other] : contexts) other->peers.erase(device);
    if (current == context) current = nullptr;
    contexts.erase(found);
    return ok;
}

int cuCtxSetCurrent(void *context) {
    CALL("cuCtxSetCurrent");
    if (!context) { current = nullptr; return ok; }
    for (auto &[device, known] : contexts) if (known.get() == context) { current = known.get(); return ok; }
    return invalid_context;
}

int cuCtxEnablePeerAccess(void *peer, unsigned flags) {
    CONTEXT("cuCtxEnablePeerAccess");
    if (flags) return invalid_value;
    for (auto &[device, known] : contexts) {
        if (known.get() != peer) continue;
        if (known.get() == current) return invalid_device;
        if (!peers) return peer_unsupported;
        return current->peers.insert(device).second ? ok : peer_enabled;
    }
    return invalid_context;
}

}  // extern "C"
