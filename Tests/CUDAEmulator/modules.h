// Modules: shared objects as kernel.h makes them, their functions, and launches of these; part of cuda.cpp.
#pragma once
#include "memory.h"

#include <algorithm>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <map>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

struct Module {
    void *library;
    int (*launch)(const char *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, size_t, void **);
    size_t (*parameter)(const char *, int);
    const char *(*error)();
};

struct Function { std::shared_ptr<Module> module; std::string name; size_t shared = 48 * 1024; };

std::map<void *, std::shared_ptr<Module>> modules;
std::map<void *, std::unique_ptr<Function>> functions;

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

}  // namespace

extern "C" {

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
