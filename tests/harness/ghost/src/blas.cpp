// Stands in for libcublas.so.13: handles know their stream, and every product is a launch.
#include "ghost.h"

namespace {
struct Handle {
  void* stream = nullptr;
  int math = 0, pointer = 0;
};
enum { kAllocationFailed = 3, kExecutionFailed = 13 };  // cublasStatus_t
}  // namespace

API int cublasCreate_v2(Handle** handle) {
  if (ghost_unsafe("cublasCreate, which allocates")) return kAllocationFailed;
  *handle = new Handle;
  return 0;
}
API int cublasDestroy_v2(Handle* handle) { delete handle; return 0; }
API int cublasSetStream_v2(Handle* handle, void* stream) { handle->stream = stream; return 0; }
API int cublasGetStream_v2(Handle* handle, void** stream) { *stream = handle->stream; return 0; }
API int cublasSetWorkspace_v2(Handle*, void*, size_t) { return 0; }
API int cublasSetMathMode(Handle* handle, int mode) { handle->math = mode; return 0; }
API int cublasGetMathMode(Handle* handle, int* mode) { *mode = handle->math; return 0; }
API int cublasSetPointerMode_v2(Handle* handle, int mode) { handle->pointer = mode; return 0; }
API int cublasGetPointerMode_v2(Handle* handle, int* mode) { *mode = handle->pointer; return 0; }
API int cublasGetVersion_v2(Handle*, int* version) { *version = 130000; return 0; }
API const char* cublasGetStatusString(int) { return "a status of the ghost card"; }

#define PRODUCT(name) \
  API int name(Handle* handle) { return ghost_launch(#name, handle->stream) ? kExecutionFailed : 0; }
PRODUCT(cublasSgemm_v2)
PRODUCT(cublasDgemm_v2)
PRODUCT(cublasGemmEx)
PRODUCT(cublasSgemmEx)
PRODUCT(cublasGemmStridedBatchedEx)
PRODUCT(cublasSgemmStridedBatched)
PRODUCT(cublasDgemmStridedBatched)
PRODUCT(cublasSgemv_v2)
PRODUCT(cublasDgemv_v2)
PRODUCT(cublasSdot_v2)
PRODUCT(cublasDdot_v2)
PRODUCT(cublasDotEx)
