// A stand-in for libnvrtc.so.12: compiles CUDA source as C++ for this processor, with kernel.h before it, into a shared object that is
// the "cubin" (and the "PTX") that cuda.cpp loads.
//
// Environment: KVCPU_EMULATOR, the folder of kernel.h; CXX, the compiler (clang++); KVCPU_FAKE_ARCHITECTURES (80,90,100), what it claims to know.
#include "emulator.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

struct Program { std::string source, name, log; std::vector<char> image; };

std::vector<int> architectures() {
    const char *text = getenv("KVCPU_FAKE_ARCHITECTURES");
    std::vector<int> all;
    for (std::string rest = text && *text ? text : "80,90,100"; !rest.empty();) {
        all.push_back(atoi(rest.c_str()));
        const size_t comma = rest.find(',');
        rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
    }
    return all;
}

std::string contents(const std::string &path) {
    std::string text;
    if (FILE *file = fopen(path.c_str(), "rb")) {
        char buffer[65536];
        for (size_t count; (count = fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, count);
        fclose(file);
    }
    return text;
}

std::string quoted(const std::string &text) {
    std::string result = "'";
    for (char byte : text) result += byte == '\'' ? "'\\''" : std::string(1, byte);
    return result + "'";
}

bool begins(const std::string &text, const char *with) { return text.rfind(with, 0) == 0; }

}  // namespace

#define FAULT(name) if (int status = kvcpu_fault(name)) return status

extern "C" {

const char *nvrtcGetErrorString(int status) {
    switch (status) {
    case 0: return "NVRTC_SUCCESS";
    case 1: return "NVRTC_ERROR_OUT_OF_MEMORY";
    case 4: return "NVRTC_ERROR_INVALID_PROGRAM";
    case 5: return "NVRTC_ERROR_INVALID_OPTION";
    case 6: return "NVRTC_ERROR_COMPILATION";
    case 11: return "NVRTC_ERROR_INTERNAL_ERROR";
    default: return "NVRTC_ERROR unknown";
    }
}

// A version that NVIDIA's never has, so that a cache does not mix up their code.
int nvrtcVersion(int *major, int *minor) { *major = 12; *minor = 99; return 0; }

int nvrtcGetNumSupportedArchs(int *count) { *count = int(architectures().size()); return 0; }

int nvrtcGetSupportedArchs(int *numbers) {
    for (int number : architectures()) *numbers++ = number;
    return 0;
}

int nvrtcCreateProgram(void **result, const char *source, const char *name, int headers, const char **, const char **) {
    FAULT("nvrtcCreateProgram");
    if (headers) return 3;
    *result = new Program{source, name, "", {}};
    return 0;
}

int nvrtcDestroyProgram(void **program) {
    delete (Program *)*program;
    *program = nullptr;
    return 0;
}

int nvrtcCompileProgram(void *handle, int count, const char **options) {
    FAULT("nvrtcCompileProgram");
    Program &program = *(Program *)handle;
    std::string defines, target;
    for (int index = 0; index < count; index++) {
        const std::string option = options[index];
        if (begins(option, "--gpu-architecture=")) target = option.substr(strlen("--gpu-architecture="));
        else if (begins(option, "-D") && option.size() > 2) defines += " " + quoted(option);
        else if (begins(option, "--define-macro=")) defines += " " + quoted("-D" + option.substr(strlen("--define-macro=")));
        else if (!begins(option, "--std=") && !begins(option, "-std=") && !begins(option, "--use_fast_math") && !begins(option, "--fmad=")
                 && option != "-lineinfo" && option != "--generate-line-info" && option != "--extra-device-vectorization"
                 && option != "--restrict" && option != "-default-device" && !begins(option, "--maxrregcount=")) {
            program.log = "nvrtc: error: unrecognized option " + option + " found\n";
            return 5;
        }
    }
    const size_t line = target.find('_');
    const bool binary = begins(target, "sm_");
    const int architecture = line == std::string::npos ? 0 : atoi(target.c_str() + line + 1);
    bool known = false;
    for (int number : architectures()) known |= number == architecture;
    if (!known) {
        program.log = "nvrtc: error: invalid value for --gpu-architecture (" + target + ")\n";
        return 5;
    }
    const char *emulator = getenv("KVCPU_EMULATOR"), *compiler = getenv("CXX"), *temporary = getenv("TMPDIR");
    if (!emulator) {
        program.log = "KVCPU_EMULATOR is not set\n";
        return 11;
    }
    std::string folder = std::string(temporary && *temporary ? temporary : "/tmp") + "/kvcpu-nvrtc-XXXXXX";
    if (!mkdtemp(folder.data())) return 11;
    const std::string source = folder + "/kernels.cpp", library = folder + "/kernels.so", log = folder + "/log";
    FILE *file = fopen(source.c_str(), "w");
    if (!file) return 11;
    fprintf(file, "#define KVCPU_EMULATED 1\n#include \"%s/kernel.h\"\n", emulator);
    fprintf(file, "extern \"C\" { extern const int kvcpu_architecture, kvcpu_is_binary; const int kvcpu_architecture = %d, kvcpu_is_binary = %d; }\n",
            architecture, int(binary));
    fprintf(file, "#line 1 \"%s\"\n%s\n", program.name.c_str(), program.source.c_str());
    fclose(file);
    const std::string command = quoted(compiler && *compiler ? compiler : "clang++") + " -std=c++20 -O2 -shared -fPIC -w" + defines + " -o "
        + quoted(library) + " " + quoted(source) + " >" + quoted(log) + " 2>&1";
    const int status = system(command.c_str());
    program.log = contents(log);
    const std::string image = contents(library);
    program.image.assign(image.begin(), image.end());
    for (auto &path : {source, library, log}) unlink(path.c_str());
    rmdir(folder.c_str());
    return status == 0 && !program.image.empty() ? 0 : 6;
}

int nvrtcGetCUBINSize(void *program, size_t *bytes) { *bytes = ((Program *)program)->image.size(); return 0; }
int nvrtcGetCUBIN(void *program, char *to) { auto &image = ((Program *)program)->image; memcpy(to, image.data(), image.size()); return 0; }
int nvrtcGetPTXSize(void *program, size_t *bytes) { return nvrtcGetCUBINSize(program, bytes); }
int nvrtcGetPTX(void *program, char *to) { return nvrtcGetCUBIN(program, to); }
int nvrtcGetProgramLogSize(void *program, size_t *bytes) { *bytes = ((Program *)program)->log.size() + 1; return 0; }
int nvrtcGetProgramLog(void *program, char *to) { auto &log = ((Program *)program)->log; memcpy(to, log.c_str(), log.size() + 1); return 0; }

}  // extern "C"
