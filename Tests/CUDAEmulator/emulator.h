// What the stand-ins for CUDA's libraries share; see cuda.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

// The status that KVCPU_FAKE_FAULT wants of this call now, 0 for none.
int kvcpu_fault(const char *call);
// Puts work into a stream (or its capture) as the driver's own calls do; the status is the call's.
int kvcpu_enqueue(void *stream, std::function<int()> work);
// Whether work of this stream's context may touch [address, address + bytes): 0, or CUDA_ERROR_ILLEGAL_ADDRESS with a line on stderr.
int kvcpu_reach(void *stream, uint64_t address, size_t bytes, const char *what);
