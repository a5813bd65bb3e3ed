// llama.cpp's own quantiser, from the shared library that node-llama-cpp brings: the peer of `millrace compress`.
// usage: llama-quantize LIBLLAMA IN.gguf OUT.gguf FTYPE THREADS PURE
// Only what of the parameters' layout has stayed over the years is used; what the library writes beyond it lands in
// padding. Without an importance matrix: how the library takes one changes from version to version.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

// llama_model_quantize_params as of 2025/26, followed by room for what later versions add.
struct Parameters {
  int32_t threads;
  int32_t fileType;
  int32_t outputType;
  int32_t embeddingType;
  bool allowRequantize;
  bool quantizeOutput;
  bool onlyCopy;
  bool pure;
  char rest[236];
};

template <typename F>
F find(void* library, const char* name) {
  void* symbol = dlsym(library, name);
  if (!symbol) {
    std::fprintf(stderr, "no %s: %s\n", name, dlerror());
    std::exit(1);
  }
  return reinterpret_cast<F>(symbol);
}

}  // namespace

int main(int count, char** words) {
  if (count != 7) {
    std::fprintf(stderr, "usage: llama-quantize LIBLLAMA IN OUT FTYPE THREADS PURE\n");
    return 2;
  }
  void* library = dlopen(words[1], RTLD_NOW | RTLD_GLOBAL);
  if (!library) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  find<void (*)()>(library, "llama_backend_init")();
  auto parameters = find<Parameters (*)()>(library, "llama_model_quantize_default_params")();
  parameters.fileType = std::atoi(words[4]);
  parameters.threads = std::atoi(words[5]);
  parameters.allowRequantize = true;
  parameters.pure = std::atoi(words[6]) != 0;
  const auto quantize =
      find<uint32_t (*)(const char*, const char*, const Parameters*)>(library, "llama_model_quantize");
  return static_cast<int>(quantize(words[2], words[3], &parameters));
}
