// Stands in for libcuda.so.1, the driver: for Triton, for Inductor's launcher and for torch's own driver calls.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "ghost.h"

extern "C" int cudaDeviceGetAttribute(int*, int, int);
extern "C" int cudaMemGetInfo(size_t*, size_t*);
extern "C" int cudaStreamIsCapturing(void*, int*);
extern "C" int cudaStreamSynchronize(void*);

namespace {
struct Function {
  std::string name;
};
struct Configuration {  // CUlaunchConfig
  unsigned grid[3], block[3], shared;
  void* stream;
  void* attributes;
  unsigned attribute_count;
};
int context;
enum { kNotFound = 500, kCaptureUnsupported = 900 };  // CUresult

int load(void** module) {
  if (ghost_unsafe("cuModuleLoad")) return kCaptureUnsupported;
  *module = malloc(8);
  return 0;
}
}  // namespace

API int cuInit(unsigned) { return 0; }
API int cuDriverGetVersion(int* version) { *version = 13000; return 0; }
API int cuDeviceGetCount(int* count) { *count = 1; return 0; }
API int cuDeviceGet(int* device, int) { *device = 0; return 0; }
API int cuDeviceGetName(char* text, int size, int) { snprintf(text, size, "GHOST H100"); return 0; }
API int cuDeviceGetAttribute(int* value, int attribute, int) { return cudaDeviceGetAttribute(value, attribute, 0); }
API int cuDeviceTotalMem_v2(size_t* bytes, int) { size_t free; return cudaMemGetInfo(&free, bytes); }

API int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  if (flags) *flags = 0;
  *active = 1;
  return 0;
}
API int cuDevicePrimaryCtxRetain(void** made, int) { *made = &context; return 0; }
API int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
API int cuCtxGetCurrent(void** current) { *current = &context; return 0; }
API int cuCtxSetCurrent(void*) { return 0; }
API int cuCtxGetDevice(int* device) { *device = 0; return 0; }
API int cuCtxPushCurrent_v2(void*) { return 0; }
API int cuCtxPopCurrent_v2(void** current) { *current = &context; return 0; }
API int cuCtxGetLimit(size_t* value, int) { *value = 1024; return 0; }
API int cuCtxSetLimit(int, size_t) { return 0; }
API int cuGetErrorString(int, const char** text) { *text = "an error of the ghost card"; return 0; }
API int cuGetErrorName(int, const char** name) { *name = "CUDA_ERROR_UNKNOWN"; return 0; }

API int cuModuleLoad(void** module, const char*) { return load(module); }
API int cuModuleLoadData(void** module, const void*) { return load(module); }
API int cuModuleLoadDataEx(void** module, const void*, unsigned, void*, void*) { return load(module); }
API int cuModuleUnload(void*) { return 0; }
API int cuModuleGetFunction(void** function, void*, const char* name) { *function = new Function{name}; return 0; }
API int cuFuncSetAttribute(void*, int, int) { return 0; }
API int cuFuncSetCacheConfig(void*, int) { return 0; }
API int cuFuncGetAttribute(int* value, int attribute, void*) {
  *value = attribute == 0 ? 1024 : attribute == 4 ? 32 : 0;  // threads of a block; registers
  return 0;
}
API int cuLaunchKernel(void* function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                       void* stream, void**, void**) {
  return ghost_launch(((Function*)function)->name.c_str(), stream);
}
API int cuLaunchKernelEx(const Configuration* configuration, void* function, void**, void**) {
  return ghost_launch(((Function*)function)->name.c_str(), configuration->stream);
}
API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int, size_t) { *blocks = 2; return 0; }
API int cuOccupancyMaxActiveClusters(int* clusters, void*, void*) { *clusters = 1; return 0; }

API int cuPointerGetAttribute(void* out, int attribute, unsigned long long pointer) {
  if (attribute == 3) *(unsigned long long*)out = pointer;  // CU_POINTER_ATTRIBUTE_DEVICE_POINTER
  else *(int*)out = 2;                                      // CU_MEMORYTYPE_DEVICE
  return 0;
}
API int cuPointerGetAttributes(unsigned, void*, void*, unsigned long long) { return 0; }
API int cuStreamSynchronize(void* stream) { return cudaStreamSynchronize(stream); }
API int cuStreamIsCapturing(void* stream, int* status) { return cudaStreamIsCapturing(stream, status); }
API int cuStreamGetCaptureInfo_v2(void* stream, int* status, unsigned long long*, void*, void*, void*) {
  return cudaStreamIsCapturing(stream, status);
}
API int cuTensorMapEncodeTiled(...) { return 0; }
API int cuTensorMapEncodeIm2col(...) { return 0; }

API int cuGetProcAddress_v2(const char* name, void** function, int, unsigned long long, int* status) {
  *function = dlsym(RTLD_DEFAULT, name);
  if (!*function) *function = dlsym(RTLD_DEFAULT, (std::string(name) + "_v2").c_str());
  if (status) *status = *function ? 0 : 1;
  return *function ? 0 : kNotFound;
}
API int cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
