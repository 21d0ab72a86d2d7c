// Devices, their primary contexts, what a thread has current, and how each of the driver's calls begins; part of cuda.cpp, which has
// the calls themselves.
#pragma once
#include "emulator.h"
#include "status.h"

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace {

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

struct Fault { int status; long after, calls; };

std::recursive_mutex lock;
bool initialised = false;
int device_count = 1, capability = 90;
bool peers = true;
Device devices[most_devices];
std::map<int, std::unique_ptr<Context>> contexts;
std::map<std::string, Fault> faults;
thread_local Context *current = nullptr;

}  // namespace

// Each call: locked, failing when told to.
#define CALL(name) std::lock_guard guard(lock); if (int status = kvcpu_fault(name)) return status; if (!initialised) return not_initialised
// Each call that needs a context that is well.
#define CONTEXT(name) CALL(name); if (!current) return invalid_context; if (current->sticky) return current->sticky
