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
#include "emulator.h"

#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <elf.h>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace {

enum Status {
    ok = 0, invalid_value = 1, out_of_memory = 2, not_initialised = 3, no_device = 100, invalid_device = 101, invalid_image = 200,
    invalid_context = 201, no_binary = 209, peer_unsupported = 217, invalid_handle = 400, not_found = 500, not_ready = 600,
    illegal_address = 700, peer_enabled = 704, launch_failed = 719, capture_unsupported = 900, capture_invalidated = 901,
    capture_merge = 902, capture_unmatched = 903, capture_unjoined = 904, capture_isolation = 905, captured_event = 907,
};

constexpr size_t page = 4096, device_range = size_t(1) << 40;
constexpr int most_devices = 8, optin_shared = 232448;

struct Allocation { uint8_t *start, *end; size_t bytes, padded; };

struct Device {
    uint8_t *base = nullptr, *next = nullptr;
    size_t limit = 0, used = 0;
    std::map<uint64_t, Allocation> allocations;
};

struct Context {
    int device, references = 0, sticky = ok;
    std::set<int> peers;
};

struct Stream;

// One recording of an event.
struct Mark {
    std::shared_ptr<Stream> stream;
    bool done = false, asked = false;
    uint64_t time = 0;
};

struct Item {
    enum { work, record, wait } kind;
    std::function<int()> run;
    std::shared_ptr<Mark> mark;
};

struct Capture {
    struct Branch { std::vector<Item> items; size_t joined = 0; };
    Stream *origin;
    bool valid = true;
    std::map<Stream *, Branch> branches;
};

struct Stream {
    Context *context;
    std::deque<Item> items;
    bool asked = false;
    std::shared_ptr<Capture> capture;
};

struct Event {
    bool timed;
    std::shared_ptr<Mark> mark;
    // In a capture instead: which, whose branch, and after how many of its items.
    std::weak_ptr<Capture> capture;
    Stream *branch = nullptr;
    size_t position = 0;
};

struct Graph { Stream *origin; std::map<Stream *, Capture::Branch> branches; };

struct Module {
    void *library;
    int (*launch)(const char *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, size_t, void **);
    size_t (*parameter)(const char *, int);
    const char *(*error)();
};

struct Function { std::shared_ptr<Module> module; std::string name; size_t shared = 48 * 1024; };

struct Fault { int status; long after, calls; };

std::recursive_mutex lock;
bool initialised = false;
int device_count = 1, capability = 90;
bool peers = true;
Device devices[most_devices];
std::map<int, std::unique_ptr<Context>> contexts;
std::map<void *, std::shared_ptr<Stream>> streams;
std::map<void *, std::shared_ptr<Event>> events;
std::map<void *, std::shared_ptr<Graph>> graphs, instances;
std::map<void *, std::shared_ptr<Module>> modules;
std::map<void *, std::unique_ptr<Function>> functions;
std::map<uint64_t, size_t> pinned;
std::map<std::string, Fault> faults;
thread_local Context *current = nullptr;

const struct { int number; const char *name, *text; } names[] = {
    {ok, "CUDA_SUCCESS", "no error"}, {invalid_value, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {out_of_memory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}, {not_initialised, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {no_device, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}, {invalid_device, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {invalid_image, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}, {invalid_context, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {no_binary, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {peer_unsupported, "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", "peer access is not supported between these two devices"},
    {invalid_handle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}, {not_found, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {not_ready, "CUDA_ERROR_NOT_READY", "device not ready"}, {illegal_address, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {peer_enabled, "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", "peer access is already enabled"},
    {launch_failed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {capture_unsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {capture_invalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {capture_merge, "CUDA_ERROR_STREAM_CAPTURE_MERGE", "operation would result in a merge of separate capture sequences"},
    {capture_unmatched, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began"},
    {capture_unjoined, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {capture_isolation, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
    {captured_event, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

uint64_t now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return uint64_t(time.tv_sec) * 1000000000 + time.tv_nsec;
}

long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? atol(text) : otherwise;
}

// MARK: Memory

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

// MARK: Streams

int perform(Stream &stream, Item &item);

// Does a stream's work, all of it or until the mark is reached.
int drain(Stream &stream, const Mark *until) {
    while (!stream.items.empty() && !(until && until->done)) {
        Item item = std::move(stream.items.front());
        stream.items.pop_front();
        perform(stream, item);
    }
    return stream.context->sticky;
}

int perform(Stream &stream, Item &item) {
    Context *context = stream.context;
    switch (item.kind) {
    case Item::work:
        // After an error nothing more is done.
        if (context->sticky == ok) {
            const int status = item.run();
            if (status && context->sticky == ok) context->sticky = status;
        }
        break;
    case Item::record:
        item.mark->done = true;
        item.mark->time = now();
        item.mark->stream = nullptr;
        break;
    case Item::wait:
        if (!item.mark->done && item.mark->stream) drain(*std::shared_ptr<Stream>(item.mark->stream), item.mark.get());
        break;
    }
    return context->sticky;
}

int drain_device(int device) {
    int status = ok;
    auto all = streams;
    for (auto &[handle, stream] : all)
        if (stream->context->device == device && !stream->capture) if (int failed = drain(*stream, nullptr)) status = failed;
    return status;
}

int enqueue(Stream &stream, Item item) {
    if (stream.capture) {
        if (!stream.capture->valid) return capture_invalidated;
        stream.capture->branches[&stream].items.push_back(std::move(item));
        return ok;
    }
    stream.asked = false;
    stream.items.push_back(std::move(item));
    return ok;
}

// What must not be called while this thread's context has a capturing stream.
int forbidden() {
    int status = ok;
    for (auto &[handle, stream] : streams)
        if (stream->capture && stream->context == current) {
            stream->capture->valid = false;
            status = capture_unsupported;
        }
    return status;
}

// Runs a captured graph: each branch as a stream of its own, the origin's last moment first, so that a branch is as late as it may.
int replay(const Graph &graph, Context *context) {
    std::map<const Mark *, std::shared_ptr<Mark>> marks;
    std::map<Stream *, std::shared_ptr<Stream>> copies;
    for (auto &[original, branch] : graph.branches) copies[original] = std::make_shared<Stream>(Stream{original == graph.origin ? context : original->context, {}, false, nullptr});
    for (auto &[original, branch] : graph.branches)
        for (auto &item : branch.items)
            if (item.kind == Item::record) {
                marks[item.mark.get()] = std::make_shared<Mark>();
                marks[item.mark.get()]->stream = copies[original];
            }
    for (auto &[original, branch] : graph.branches)
        for (auto item : branch.items) {
            if (item.mark) item.mark = marks[item.mark.get()];
            copies[original]->items.push_back(std::move(item));
        }
    int status = drain(*copies[graph.origin], nullptr);
    for (auto &[original, copy] : copies) if (int failed = drain(*copy, nullptr)) status = failed;
    return status;
}

// MARK: Kernels

thread_local sigjmp_buf *escape = nullptr;
struct sigaction before;

void touched(int signal, siginfo_t *information, void *) {
    if (escape && owner(uint64_t(information->si_addr)) >= 0) siglongjmp(*escape, 1);
    sigaction(SIGSEGV, &before, nullptr);
    raise(signal);
}

int run_kernel(Context *context, Function &function, const unsigned *shape, size_t shared, std::vector<std::vector<uint8_t>> &arguments) {
    std::vector<void *> pointers;
    for (auto &argument : arguments) {
        pointers.push_back(argument.data());
        uint64_t value = 0;
        if (argument.size() == 8) memcpy(&value, argument.data(), 8);
        if (value && owner(value) >= 0) if (int status = reach(context, value, 0, function.name.c_str())) return status;
    }
    struct sigaction action = {};
    action.sa_sigaction = touched;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before);
    sigjmp_buf here;
    int status;
    if (sigsetjmp(here, 1) == 0) {
        escape = &here;
        status = function.module->launch(function.name.c_str(), shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shared, pointers.data());
        if (status) {
            fprintf(stderr, "emulated CUDA: %s: %s\n", function.name.c_str(), function.module->error ? function.module->error() : "failed");
            status = launch_failed;
        }
    } else {
        fprintf(stderr, "emulated CUDA: device %d: %s touches memory that is not allocated\n", context->device, function.name.c_str());
        status = illegal_address;
    }
    escape = nullptr;
    sigaction(SIGSEGV, &before, nullptr);
    return status;
}

// The bytes of an ELF file in memory: its tables and sections end it.
size_t elf_bytes(const void *image) {
    auto header = (const Elf64_Ehdr *)image;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return 0;
    size_t end = header->e_shoff + size_t(header->e_shnum) * header->e_shentsize;
    auto sections = (const Elf64_Shdr *)((const char *)image + header->e_shoff);
    for (int index = 0; index < header->e_shnum; index++)
        if (sections[index].sh_type != SHT_NOBITS) end = std::max(end, size_t(sections[index].sh_offset + sections[index].sh_size));
    return end;
}

template <class Type> Type *find(std::map<void *, std::shared_ptr<Type>> &known, void *handle) {
    auto found = known.find(handle);
    return found == known.end() ? nullptr : found->second.get();
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

// Each call: locked, failing when told to.
#define CALL(name) std::lock_guard guard(lock); if (int status = kvcpu_fault(name)) return status; if (!initialised) return not_initialised
// Each call that needs a context that is well.
#define CONTEXT(name) CALL(name); if (!current) return invalid_context; if (current->sticky) return current->sticky
#define STREAM(name) CONTEXT(name); Stream *stream = find(streams, handle); if (!stream) return invalid_handle; if (stream->context != current) return invalid_context

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

int cuGetErrorName(int status, const char **text) {
    for (auto &entry : names) if (entry.number == status) { *text = entry.name; return ok; }
    *text = nullptr;
    return invalid_value;
}

int cuGetErrorString(int status, const char **text) {
    for (auto &entry : names) if (entry.number == status) { *text = entry.text; return ok; }
    *text = nullptr;
    return invalid_value;
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

int cuStreamCreate(void **handle, unsigned) {
    CONTEXT("cuStreamCreate");
    auto stream = std::make_shared<Stream>(Stream{current, {}, false, nullptr});
    *handle = stream.get();
    streams[*handle] = stream;
    return ok;
}

int cuStreamDestroy_v2(void *handle) {
    CALL("cuStreamDestroy_v2");
    Stream *stream = find(streams, handle);
    if (!stream) return invalid_handle;
    if (!stream->capture) drain(*stream, nullptr);
    streams.erase(handle);
    return ok;
}

int cuStreamQuery(void *handle) {
    STREAM("cuStreamQuery");
    if (stream->capture) { stream->capture->valid = false; return capture_unsupported; }
    if (stream->items.empty()) return ok;
    // Not done when asked first.
    if (!stream->asked) { stream->asked = true; return not_ready; }
    stream->asked = false;
    return drain(*stream, nullptr);
}

int cuStreamWaitEvent(void *handle, void *event_handle, unsigned) {
    STREAM("cuStreamWaitEvent");
    Event *event = find(events, event_handle);
    if (!event) return invalid_handle;
    if (auto capture = event->capture.lock()) {
        if (stream->capture && stream->capture != capture) return capture_merge;
        stream->capture = capture;
        // A branch is joined when the origin waits for its last item.
        if (stream == capture->origin) capture->branches[event->branch].joined = event->position;
        return enqueue(*stream, {Item::wait, nullptr, event->mark});
    }
    if (!event->mark) return ok;
    if (stream->capture) { stream->capture->valid = false; return capture_isolation; }
    return enqueue(*stream, {Item::wait, nullptr, event->mark});
}

int cuEventCreate(void **handle, unsigned flags) {
    CONTEXT("cuEventCreate");
    auto event = std::make_shared<Event>();
    event->timed = !(flags & 2);
    *handle = event.get();
    events[*handle] = event;
    return ok;
}

int cuEventDestroy_v2(void *handle) {
    CALL("cuEventDestroy_v2");
    return events.erase(handle) ? ok : invalid_handle;
}

int cuEventRecord(void *event_handle, void *handle) {
    STREAM("cuEventRecord");
    Event *event = find(events, event_handle);
    if (!event) return invalid_handle;
    event->mark = std::make_shared<Mark>();
    event->capture = stream->capture;
    if (stream->capture) {
        const int status = enqueue(*stream, {Item::record, nullptr, event->mark});
        event->branch = stream;
        event->position = stream->capture->branches[stream].items.size();
        return status;
    }
    event->mark->stream = streams[handle];
    return enqueue(*stream, {Item::record, nullptr, event->mark});
}

int cuEventQuery(void *handle) {
    CONTEXT("cuEventQuery");
    Event *event = find(events, handle);
    if (!event) return invalid_handle;
    if (event->capture.lock()) return captured_event;
    if (!event->mark || event->mark->done) return ok;
    auto mark = event->mark;
    if (!mark->asked) { mark->asked = true; return not_ready; }
    return mark->stream ? drain(*std::shared_ptr<Stream>(mark->stream), mark.get()) : ok;
}

int cuEventElapsedTime(float *milliseconds, void *start_handle, void *end_handle) {
    CONTEXT("cuEventElapsedTime");
    Event *start = find(events, start_handle), *end = find(events, end_handle);
    if (!start || !end || !start->timed || !end->timed || !start->mark || !end->mark) return invalid_handle;
    if (!start->mark->done || !end->mark->done) return not_ready;
    *milliseconds = float(double(int64_t(end->mark->time - start->mark->time)) / 1e6);
    return ok;
}

int cuStreamBeginCapture_v2(void *handle, int) {
    STREAM("cuStreamBeginCapture_v2");
    if (stream->capture) return invalid_value;
    stream->capture = std::make_shared<Capture>(Capture{stream, true, {}});
    stream->capture->branches[stream];
    return ok;
}

int cuStreamEndCapture(void *handle, void **result) {
    STREAM("cuStreamEndCapture");
    *result = nullptr;
    if (!stream->capture) return invalid_value;
    auto capture = stream->capture;
    if (capture->origin != stream) return capture_unmatched;
    for (auto &[known, other] : streams) if (other->capture == capture) other->capture = nullptr;
    if (!capture->valid) return capture_invalidated;
    for (auto &[branch, content] : capture->branches)
        if (branch != stream && content.joined != content.items.size()) return capture_unjoined;
    auto graph = std::make_shared<Graph>(Graph{stream, capture->branches});
    *result = graph.get();
    graphs[*result] = graph;
    return ok;
}

int cuGraphInstantiateWithFlags(void **result, void *handle, unsigned long long) {
    CONTEXT("cuGraphInstantiateWithFlags");
    Graph *graph = find(graphs, handle);
    if (!graph) return invalid_handle;
    auto instance = std::make_shared<Graph>(*graph);
    *result = instance.get();
    instances[*result] = instance;
    return ok;
}

int cuGraphLaunch(void *instance_handle, void *handle) {
    STREAM("cuGraphLaunch");
    if (!find(instances, instance_handle)) return invalid_handle;
    auto instance = instances[instance_handle];
    Context *context = current;
    return enqueue(*stream, {Item::work, [=] { return replay(*instance, context); }, nullptr});
}

int cuGraphDestroy(void *handle) { CALL("cuGraphDestroy"); return graphs.erase(handle) ? ok : invalid_handle; }
int cuGraphExecDestroy(void *handle) { CALL("cuGraphExecDestroy"); return instances.erase(handle) ? ok : invalid_handle; }

int cuModuleLoadDataEx(void **result, const void *image, unsigned, int *, void **) {
    CONTEXT("cuModuleLoadDataEx");
    if (int status = forbidden()) return status;
    const size_t bytes = elf_bytes(image);
    if (!bytes) return invalid_image;
    // A name of its own: the loader takes files of one name for one file.
    const char *folder = getenv("TMPDIR");
    std::string path = std::string(folder && *folder ? folder : "/tmp") + "/kvcpu-module-XXXXXX";
    const int file = mkstemp(path.data());
    if (file < 0) return 999;
    const bool written = write(file, image, bytes) == ssize_t(bytes);
    close(file);
    void *library = written ? dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (!library) fprintf(stderr, "emulated CUDA: %s\n", written ? dlerror() : "a module cannot be written");
    unlink(path.c_str());
    if (!library) return invalid_image;
    auto module = std::make_shared<Module>();
    module->library = library;
    module->launch = (decltype(module->launch))dlsym(library, "kvcpu_launch");
    module->parameter = (decltype(module->parameter))dlsym(library, "kvcpu_parameter_bytes");
    module->error = (decltype(module->error))dlsym(library, "kvcpu_error");
    auto architecture = (const int *)dlsym(library, "kvcpu_architecture");
    auto is_binary = (const int *)dlsym(library, "kvcpu_is_binary");
    if (!module->launch || !module->parameter || !architecture || !is_binary) return invalid_image;
    if (*architecture > capability || (*is_binary && *architecture / 10 != capability / 10)) return no_binary;
    *result = module.get();
    modules[*result] = module;
    return ok;
}

int cuModuleUnload(void *handle) {
    CONTEXT("cuModuleUnload");
    if (int status = forbidden()) return status;
    drain_device(current->device);
    // Its library stays: graphs may hold its kernels.
    return modules.erase(handle) ? ok : invalid_handle;
}

int cuModuleGetFunction(void **result, void *handle, const char *name) {
    CONTEXT("cuModuleGetFunction");
    auto found = modules.find(handle);
    if (found == modules.end()) return invalid_handle;
    if (!dlsym(found->second->library, name)) return not_found;
    auto function = std::make_unique<Function>();
    function->module = found->second;
    function->name = name;
    *result = function.get();
    functions[*result] = std::move(function);
    return ok;
}

int cuFuncSetAttribute(void *handle, int attribute, int value) {
    CONTEXT("cuFuncSetAttribute");
    auto found = functions.find(handle);
    if (found == functions.end()) return invalid_handle;
    if (attribute != 8 || value < 0 || value > optin_shared) return invalid_value;
    found->second->shared = size_t(value);
    return ok;
}

int cuLaunchKernel(void *function_handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *handle, void **parameters, void **) {
    STREAM("cuLaunchKernel");
    auto found = functions.find(function_handle);
    if (found == functions.end()) return invalid_handle;
    Function *function = found->second.get();
    if (!gx || !gy || !gz || !bx || !by || !bz || gx > 0x7fffffff || gy > 65535 || gz > 65535) return invalid_value;
    if (size_t(bx) * by * bz > 1024 || shared > function->shared) return invalid_value;
    std::vector<std::vector<uint8_t>> arguments;
    for (int index = 0;; index++) {
        const size_t bytes = function->module->parameter(function->name.c_str(), index);
        if (!bytes) break;
        arguments.emplace_back((const uint8_t *)parameters[index], (const uint8_t *)parameters[index] + bytes);
    }
    const std::vector<unsigned> shape = {gx, gy, gz, bx, by, bz};
    Context *context = current;
    return enqueue(*stream, {Item::work, [=]() mutable {
        return run_kernel(context, *function, shape.data(), shared, arguments);
    }, nullptr});
}

}  // extern "C"
