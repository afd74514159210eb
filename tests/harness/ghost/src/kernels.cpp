// The runtime's kernels: registered by torch's libraries, launched by name, and not computed but for fills.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "state.h"

void zero(void* at, size_t bytes);

namespace {
struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

std::unordered_map<const void*, std::string>& names() {  // host function to kernel
  static auto* all = new std::unordered_map<const void*, std::string>;
  return *all;
}

std::unordered_map<const void*, size_t>& variables() {  // host variable to bytes
  static auto* all = new std::unordered_map<const void*, size_t>;
  return *all;
}

// Bytes of the type that a mangled name goes on with, or 0.
size_t size_of(const char* type) {
  if (strchr("dlmxy", *type)) return 8;
  if (strchr("fij", *type)) return 4;
  if (strchr("st", *type) || !strncmp(type, "N3c108BFloat16", 14) || !strncmp(type, "N3c104Half", 10)) return 2;
  return strchr("hab", *type) ? 1 : 0;
}

// torch.zeros and its like are done for real: a counter must not begin with what its memory held before. Large blocks of
// anything but zero are left as they are: nobody reads them, and written pages would take the host's memory.
void fill(const std::string& kernel, void** arguments) {
  auto at = kernel.find("FillFunctorI");
  if (at == std::string::npos || kernel.find("vectorized_elementwise_kernel") == std::string::npos || !arguments)
    return;
  size_t size = size_of(kernel.c_str() + at + strlen("FillFunctorI"));
  if (!size) return;
  size_t count = *(int*)arguments[0];
  const char* value = (const char*)arguments[1];
  char* out = *(char**)arguments[2];
  Guard guard(card().lock);
  auto block = card().device_blocks.upper_bound(out);
  if (block == card().device_blocks.begin()) return;
  --block;
  if (out + count * size > (char*)block->first + block->second) return;
  if (std::all_of(value, value + size, [](char byte) { return byte == 0; })) {
    zero(out, count * size);
    return;
  }
  if (count * size > 1 << 20) return;
  for (size_t i = 0; i < count; i++) memcpy(out + i * size, value, size);
}

cudaError_t launch(const void* function, void** arguments, cudaStream_t stream) {
  std::string kernel = "unknown kernel";
  {
    Guard guard(card().lock);
    auto found = names().find(function);
    if (found != names().end()) kernel = found->second;
  }
  int e = ghost_launch(kernel.c_str(), stream);
  if (!e && !ghost_capturing(stream)) fill(kernel, arguments);
  return error((cudaError_t)e);
}
}  // namespace

API void** __cudaRegisterFatBinary(void*) { return (void**)malloc(8); }
API void __cudaRegisterFatBinaryEnd(void**) {}
API void __cudaUnregisterFatBinary(void**) {}
API char __cudaInitModule(void**) { return 1; }
API void __cudaRegisterManagedVar(void**, void**, char*, const char*, int, size_t, int, int) {}

API void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                                int*) {
  Guard guard(card().lock);
  names()[host] = name;
}

API void __cudaRegisterVar(void**, char* host, char*, const char*, int, size_t size, int, int) {
  Guard guard(card().lock);
  variables()[host] = size;
}

API cudaError_t cudaGetSymbolAddress(void** pointer, const void* symbol) {
  static std::map<const void*, void*> made;
  Guard guard(card().lock);
  void*& memory = made[symbol];
  if (!memory) memory = calloc(1, std::max<size_t>(variables()[symbol], 64));
  *pointer = memory;
  return cudaSuccess;
}

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}

API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  if (configurations.empty()) return cudaErrorMissingConfiguration;
  Configuration top = configurations.back();
  configurations.pop_back();
  *grid = top.grid;
  *block = top.block;
  *shared = top.shared;
  *(cudaStream_t*)stream = top.stream;
  return cudaSuccess;
}

API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  *kernel = (cudaKernel_t)host;
  return cudaSuccess;
}

API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3, dim3, void** arguments, size_t, cudaStream_t stream) {
  return launch(kernel, arguments, stream);
}

API cudaError_t cudaLaunchKernel(const void* host, dim3, dim3, void** arguments, size_t, cudaStream_t stream) {
  return launch(host, arguments, stream);
}

API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* configuration, const void* host, void** arguments) {
  return launch(host, arguments, configuration->stream);
}

API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  if (!ghost_capturing(stream)) function(data);
  return error((cudaError_t)ghost_launch("host function", stream));
}

API cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t function, void* data, unsigned) {
  function(stream, cudaSuccess, data);
  return cudaSuccess;
}

API cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* found, const void*) {
  memset(found, 0, sizeof *found);
  found->maxThreadsPerBlock = 1024;
  found->numRegs = 32;
  found->binaryVersion = found->ptxVersion = 90;
  return cudaSuccess;
}

API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, size_t) {
  *blocks = 2;
  return cudaSuccess;
}

API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, size_t,
                                                                       unsigned) {
  *blocks = 2;
  return cudaSuccess;
}
