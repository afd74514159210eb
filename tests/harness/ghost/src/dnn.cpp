// Stands in for libcudnn.so.9: descriptors remember which convolution they belong to, and one plan is found for each.
// BatchNorm's three kernels are declared with some thirty parameters; here they take the first, the handle.
#define cudnnBatchNormalizationForwardTrainingEx declared_forward_training
#define cudnnBatchNormalizationForwardInference declared_forward_inference
#define cudnnBatchNormalizationBackwardEx declared_backward
#include <cudnn.h>
#undef cudnnBatchNormalizationForwardTrainingEx
#undef cudnnBatchNormalizationForwardInference
#undef cudnnBatchNormalizationBackwardEx

#include <cstdlib>

#include "ghost.h"

struct cudnnContext {
  void* stream = nullptr;
};

namespace {
struct Descriptor {
  int type, operation;
};
constexpr size_t kWorkspace = 1 << 20;  // of a convolution, in bytes; real ones are from none to gigabytes

cudnnStatus_t done(cudnnHandle_t handle, const char* kernel) {
  return ghost_launch(kernel, handle->stream) ? CUDNN_STATUS_EXECUTION_FAILED : CUDNN_STATUS_SUCCESS;
}
}  // namespace

API size_t cudnnGetVersion() { return 91900; }
API size_t cudnnGetCudartVersion() { return 13000; }
API void cudnnGetLastErrorString(char* text, size_t size) { if (size) *text = 0; }
API const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS ? "CUDNN_STATUS_SUCCESS" : "a status of the ghost card";
}
API cudnnStatus_t cudnnGetProperty(libraryPropertyType property, int* value) {
  *value = property == MAJOR_VERSION ? 9 : property == MINOR_VERSION ? 19 : 0;
  return CUDNN_STATUS_SUCCESS;
}
API cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (ghost_unsafe("cudnnCreate, which allocates")) return CUDNN_STATUS_EXECUTION_FAILED;
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
API cudnnStatus_t cudnnDestroy(cudnnHandle_t) { return CUDNN_STATUS_SUCCESS; }
API cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}
API cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  *stream = (cudaStream_t)handle->stream;
  return CUDNN_STATUS_SUCCESS;
}

// ---- convolutions

API cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* made) {
  *made = (cudnnBackendDescriptor_t) new Descriptor{type, type};
  return CUDNN_STATUS_SUCCESS;
}
API cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete (Descriptor*)descriptor;
  return CUDNN_STATUS_SUCCESS;
}
API cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  if (((Descriptor*)descriptor)->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) ghost_count("cudnn plan");
  return CUDNN_STATUS_SUCCESS;
}

// From operation to graph to heuristic to engine to configuration to plan, each names the one before.
API cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                           cudnnBackendAttributeType_t, int64_t, const void* values) {
  switch (name) {
    case CUDNN_ATTR_OPERATIONGRAPH_OPS:
    case CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH:
    case CUDNN_ATTR_ENGINE_OPERATION_GRAPH:
    case CUDNN_ATTR_ENGINECFG_ENGINE:
    case CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG:
      ((Descriptor*)descriptor)->operation = (*(Descriptor* const*)values)->operation;
      break;
    default:
      break;
  }
  return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor, cudnnBackendAttributeName_t name,
                                           cudnnBackendAttributeType_t, int64_t asked, int64_t* given, void* out) {
  int64_t count = 1;
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
    case CUDNN_ATTR_ENGINECFG_ENGINE:
      if (out && asked) (*(Descriptor**)out)->operation = ((const Descriptor*)descriptor)->operation;
      break;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
      if (out) *(int64_t*)out = 0;
      break;
    case CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT:
      if (out) *(int64_t*)out = 1;
      break;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
      if (out) *(int64_t*)out = kWorkspace;
      break;
    default:
      count = 0;
  }
  if (given) *given = count;
  return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t) {
  switch (((Descriptor*)plan)->operation) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR: return done(handle, "cudnn conv fprop");
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR: return done(handle, "cudnn conv dgrad");
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR: return done(handle, "cudnn conv wgrad");
    default: return done(handle, "cudnn other");
  }
}

// ---- BatchNorm

#define DESCRIPTOR(name)                                                          \
  API cudnnStatus_t cudnnCreate##name##Descriptor(cudnn##name##Descriptor_t* made) { \
    *made = (cudnn##name##Descriptor_t)calloc(1, 256);                            \
    return CUDNN_STATUS_SUCCESS;                                                  \
  }                                                                               \
  API cudnnStatus_t cudnnDestroy##name##Descriptor(cudnn##name##Descriptor_t made) { \
    free(made);                                                                   \
    return CUDNN_STATUS_SUCCESS;                                                  \
  }
DESCRIPTOR(Tensor)
DESCRIPTOR(Filter)
DESCRIPTOR(Activation)

using Tensor = cudnnTensorDescriptor_t;
using Activation = cudnnActivationDescriptor_t;

API cudnnStatus_t cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(cudnnHandle_t, cudnnBatchNormMode_t,
                                                                           cudnnBatchNormOps_t, Tensor, Tensor, Tensor,
                                                                           Tensor, Activation, size_t* bytes) {
  *bytes = 1 << 16;
  return CUDNN_STATUS_SUCCESS;
}
API cudnnStatus_t cudnnGetBatchNormalizationTrainingExReserveSpaceSize(cudnnHandle_t, cudnnBatchNormMode_t,
                                                                       cudnnBatchNormOps_t, Activation, Tensor,
                                                                       size_t* bytes) {
  *bytes = 1 << 12;
  return CUDNN_STATUS_SUCCESS;
}
API cudnnStatus_t cudnnGetBatchNormalizationBackwardExWorkspaceSize(cudnnHandle_t, cudnnBatchNormMode_t,
                                                                    cudnnBatchNormOps_t, Tensor, Tensor, Tensor,
                                                                    Tensor, Tensor, Tensor, Activation,
                                                                    size_t* bytes) {
  *bytes = 1 << 16;
  return CUDNN_STATUS_SUCCESS;
}
API cudnnStatus_t cudnnBatchNormalizationForwardTrainingEx(cudnnHandle_t h) { return done(h, "cudnn BN training"); }
API cudnnStatus_t cudnnBatchNormalizationForwardInference(cudnnHandle_t h) { return done(h, "cudnn BN inference"); }
API cudnnStatus_t cudnnBatchNormalizationBackwardEx(cudnnHandle_t h) { return done(h, "cudnn BN backward"); }
