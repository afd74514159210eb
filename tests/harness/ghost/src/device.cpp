// The runtime's device, its memory and its errors: memory is the host's, and counted.
#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "state.h"

API cudaError_t cudaGetDeviceCount(int* count) { *count = 1; return cudaSuccess; }
API cudaError_t cudaGetDevice(int* device) { *device = 0; return cudaSuccess; }
API cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : error(cudaErrorInvalidDevice); }
API cudaError_t cudaDriverGetVersion(int* version) { *version = 13000; return cudaSuccess; }
API cudaError_t cudaRuntimeGetVersion(int* version) { *version = 13000; return cudaSuccess; }
API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { *can = 0; return cudaSuccess; }
API cudaError_t cudaProfilerStart() { return cudaSuccess; }
API cudaError_t cudaProfilerStop() { return cudaSuccess; }

// An H100's figures, as NVIDIA's Hopper tuning guide and deviceQuery give them.
API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  memset(p, 0, sizeof *p);
  strcpy(p->name, "GHOST H100");
  p->major = 9;
  p->multiProcessorCount = 132;
  p->totalGlobalMem = card().total;
  p->warpSize = 32;
  p->sharedMemPerBlock = 49152;
  p->sharedMemPerBlockOptin = 232448;
  p->sharedMemPerMultiprocessor = 233472;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->maxBlocksPerMultiProcessor = 32;
  p->l2CacheSize = 50 << 20;
  int threads[3] = {1024, 1024, 64}, grid[3] = {2147483647, 65535, 65535};
  std::copy(threads, threads + 3, p->maxThreadsDim);
  std::copy(grid, grid + 3, p->maxGridSize);
  p->memoryBusWidth = 5120;
  p->unifiedAddressing = p->concurrentKernels = p->cooperativeLaunch = p->pciBusID = 1;
  p->textureAlignment = 512;
  for (int i = 0; i < 16; i++) p->uuid.bytes[i] = (char)(i + 1);
  return cudaSuccess;
}

API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = 49152; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 232448; break;
    case cudaDevAttrClockRate: *value = 1980000; break;
    case cudaDevAttrMemoryClockRate: *value = 2619000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = 5120; break;
    default: *value = 1;
  }
  return cudaSuccess;
}

API cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int) {
  snprintf(text, size, "0000:01:00.0");
  return cudaSuccess;
}

API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return cudaSuccess;
}

API cudaError_t cudaDeviceSynchronize() {
  if (int e = ghost_unsafe("cudaDeviceSynchronize")) return (cudaError_t)e;
  return waits("cudaDeviceSynchronize");
}

API cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                                 cudaDriverEntryPointQueryResult* result) {
  *function = dlsym(RTLD_DEFAULT, name);
  if (!*function) ghost_count((std::string("missing driver entry point: ") + name).c_str());
  if (result) *result = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

// ---- errors

API cudaError_t cudaPeekAtLastError() { return last_error(); }

API cudaError_t cudaGetLastError() {
  cudaError_t last = last_error();
  last_error() = card().failed ? (cudaError_t)card().fail_with : cudaSuccess;
  return last;
}

struct Words {
  const char *name, *text;
};

static Words words(cudaError_t e) {  // CUDA's own, since the suite and torch read some of them
  switch (e) {
    case cudaSuccess: return {"cudaSuccess", "no error"};
    case cudaErrorMemoryAllocation: return {"cudaErrorMemoryAllocation", "out of memory"};
    case cudaErrorIllegalAddress: return {"cudaErrorIllegalAddress", "an illegal memory access was encountered"};
    case cudaErrorNotReady: return {"cudaErrorNotReady", "device not ready"};
    case cudaErrorStreamCaptureUnsupported:
      return {"cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"};
    case cudaErrorStreamCaptureInvalidated:
      return {"cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"};
    case cudaErrorStreamCaptureImplicit:
      return {"cudaErrorStreamCaptureImplicit",
              "operation would make the legacy stream depend on a capturing blocking stream"};
    case cudaErrorStreamCaptureUnjoined: return {"cudaErrorStreamCaptureUnjoined", "capture has unjoined work"};
    case cudaErrorCapturedEvent:
      return {"cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"};
    default: return {"cudaErrorUnknown", "an error of the ghost card"};
  }
}

API const char* cudaGetErrorName(cudaError_t e) { return words(e).name; }
API const char* cudaGetErrorString(cudaError_t e) { return words(e).text; }

// ---- memory

static cudaError_t take(void** pointer, size_t bytes, bool device) {
  Guard guard(card().lock);
  if (device && card().in_use + bytes > card().total) return error(cudaErrorMemoryAllocation);
  // Pages that nobody writes take no memory: 80 GiB can be had.
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* found = mmap(nullptr, std::max<size_t>(bytes, 4096), PROT_READ | PROT_WRITE, flags, -1, 0);
  if (found == MAP_FAILED) return error(cudaErrorMemoryAllocation);
  (device ? card().device_blocks : card().host_blocks)[found] = bytes;
  if (device) card().peak = std::max(card().peak, card().in_use += bytes);
  *pointer = found;
  return cudaSuccess;
}

static cudaError_t give_back(void* pointer, bool device) {
  Guard guard(card().lock);
  auto& blocks = device ? card().device_blocks : card().host_blocks;
  auto found = blocks.find(pointer);
  if (found == blocks.end()) return error(cudaErrorInvalidValue);
  munmap(pointer, std::max<size_t>(found->second, 4096));
  if (device) card().in_use -= found->second;
  blocks.erase(found);
  return cudaSuccess;
}

static bool inside(const std::map<const void*, size_t>& blocks, const void* pointer) {
  auto after = blocks.upper_bound(pointer);
  if (after == blocks.begin()) return false;
  --after;
  return (const char*)pointer < (const char*)after->first + after->second;
}

API cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  if (int e = ghost_unsafe("cudaMalloc")) return (cudaError_t)e;
  return take(pointer, bytes, true);
}

API cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  if (int e = ghost_unsafe("cudaFree")) return (cudaError_t)e;
  return give_back(pointer, true);
}

API cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  if (int e = ghost_unsafe("cudaHostAlloc")) return (cudaError_t)e;
  return take(pointer, bytes, false);
}

API cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return cudaHostAlloc(pointer, bytes, 0); }
API cudaError_t cudaFreeHost(void* pointer) { return pointer ? give_back(pointer, false) : cudaSuccess; }
API cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) { return take(pointer, bytes, true); }
API cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return give_back(pointer, true); }
API cudaError_t cudaHostRegister(void*, size_t, unsigned) { return cudaSuccess; }
API cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }

API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  Guard guard(card().lock);
  *free = card().total > card().in_use ? card().total - card().in_use : 0;
  *total = card().total;
  return cudaSuccess;
}

API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* found, const void* pointer) {
  Guard guard(card().lock);
  memset(found, 0, sizeof *found);
  found->type = inside(card().device_blocks, pointer) ? cudaMemoryTypeDevice
                : inside(card().host_blocks, pointer) ? cudaMemoryTypeHost
                                                      : cudaMemoryTypeUnregistered;
  found->devicePointer = found->hostPointer = (void*)pointer;
  return cudaSuccess;
}

static bool pageable(const void* pointer) {
  cudaPointerAttributes found;
  cudaPointerGetAttributes(&found, pointer);
  return found.type == cudaMemoryTypeUnregistered;
}

// Copies are done for real, so that what is read back was once written.
API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  bool up = kind == cudaMemcpyHostToDevice, down = kind == cudaMemcpyDeviceToHost;
  if (ghost_capturing(stream) && ((up && pageable(from)) || (down && pageable(to)))) {
    Guard guard(card().lock);
    return refuse("a copy of pageable memory inside a capture", cudaErrorStreamCaptureUnsupported,
                  stream_of(stream)->capture);
  }
  if (int e = ghost_launch(up ? "Memcpy HtoD" : down ? "Memcpy DtoH" : "Memcpy DtoD", stream))
    return error((cudaError_t)e);
  if (!ghost_capturing(stream)) memmove(to, from, bytes);
  return cudaSuccess;
}

API cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (int e = ghost_unsafe("cudaMemcpy")) return (cudaError_t)e;
  waits("cudaMemcpy");
  memmove(to, from, bytes);
  return cudaSuccess;
}

API cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                                  size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  for (size_t row = 0; row < height; row++) {
    const char* source = (const char*)from + row * from_pitch;
    if (auto e = cudaMemcpyAsync((char*)to + row * to_pitch, source, width, kind, stream)) return e;
  }
  return cudaSuccess;
}

API cudaError_t cudaMemset(void* at, int value, size_t bytes) {
  if (int e = ghost_unsafe("cudaMemset")) return (cudaError_t)e;
  memset(at, value, bytes);
  return cudaSuccess;
}

// Large blocks become fresh pages instead: written zeros would take the host's memory.
void zero(void* at, size_t bytes) {
  if (bytes <= 1 << 20) {
    memset(at, 0, bytes);
    return;
  }
  char* first = (char*)(((size_t)at + 4095) & ~4095ul);
  char* last = (char*)(((size_t)at + bytes) & ~4095ul);
  memset(at, 0, first - (char*)at);
  madvise(first, last - first, MADV_DONTNEED);
  memset(last, 0, (char*)at + bytes - last);
}

API cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t stream) {
  if (int e = ghost_launch("Memset", stream)) return error((cudaError_t)e);
  if (ghost_capturing(stream)) return cudaSuccess;
  if (value == 0) zero(at, bytes);
  else memset(at, value, bytes);
  return cudaSuccess;
}
