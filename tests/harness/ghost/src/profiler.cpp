// Stands in for libcupti.so.13: a kernel's record for each launch, tied to the operator that launched it.
#include <cupti.h>
#include <time.h>

#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ghost.h"

namespace {
std::mutex lock;
CUpti_BuffersCallbackRequestFunc request;
CUpti_BuffersCallbackCompleteFunc complete;
CUpti_TimestampCallbackFunc timestamp;
bool watching;
uint8_t* buffer;
size_t room, used;
std::deque<std::string> names;  // records point into them
// What torch pushed on this thread: the operators that a launch belongs to.
thread_local std::vector<std::pair<CUpti_ExternalCorrelationKind, uint64_t>> operators;

uint64_t now() {
  if (timestamp) return timestamp();
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

size_t rounded(size_t bytes) { return (bytes + 7) & ~(size_t)7; }

template <class Record>
Record blank(CUpti_ActivityKind kind) {
  Record record;
  memset(&record, 0, sizeof record);
  record.kind = kind;
  return record;
}

void hand_over() {
  if (buffer) complete(nullptr, 0, buffer, room, used);
  buffer = nullptr;
}

template <class Record>
void add(const Record& record) {
  if (buffer && used + rounded(sizeof record) > room) hand_over();
  if (!buffer) {
    size_t most = 0;
    used = 0;
    request(&buffer, &room, &most);
    if (!buffer) return;
  }
  memcpy(buffer + used, &record, sizeof record);
  used += rounded(sizeof record);
}

void on_launch(const char* kernel) {
  static uint32_t correlation = 0;
  static uint64_t busy_until = 0;  // the card's, in nanoseconds: a kernel takes two microseconds
  std::lock_guard<std::mutex> guard(lock);
  if (!watching) return;
  uint64_t called = now();
  correlation++;
  for (auto& [kind, id] : operators) {
    auto record = blank<CUpti_ActivityExternalCorrelation>(CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION);
    record.externalKind = kind;
    record.externalId = id;
    record.correlationId = correlation;
    add(record);
  }
  auto call = blank<CUpti_ActivityAPI>(CUPTI_ACTIVITY_KIND_RUNTIME);
  call.cbid = CUPTI_RUNTIME_TRACE_CBID_cudaLaunchKernel_v7000;
  call.start = called;
  call.end = called + 300;
  call.correlationId = correlation;
  add(call);
  names.emplace_back(kernel);
  auto run = blank<CUpti_ActivityKernel9>(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
  run.start = std::max(busy_until, called + 500);
  run.end = busy_until = run.start + 2000;
  run.correlationId = correlation;
  run.name = names.back().c_str();
  run.streamId = 7;
  run.contextId = 1;
  run.gridX = run.gridY = run.gridZ = run.blockY = run.blockZ = 1;
  run.blockX = 128;
  add(run);
}

size_t bytes_of(const CUpti_Activity* record) {
  switch (record->kind) {
    case CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION: return rounded(sizeof(CUpti_ActivityExternalCorrelation));
    case CUPTI_ACTIVITY_KIND_RUNTIME: return rounded(sizeof(CUpti_ActivityAPI));
    default: return rounded(sizeof(CUpti_ActivityKernel9));
  }
}
}  // namespace

API CUptiResult cuptiActivityEnable(CUpti_ActivityKind kind) {
  if (kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) return CUPTI_SUCCESS;
  watching = true;
  ghost_on_launch(on_launch);
  return CUPTI_SUCCESS;
}
API CUptiResult cuptiActivityDisable(CUpti_ActivityKind kind) {
  if (kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) return CUPTI_SUCCESS;
  watching = false;
  ghost_on_launch(nullptr);
  return CUPTI_SUCCESS;
}
API CUptiResult cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc asks,
                                               CUpti_BuffersCallbackCompleteFunc takes) {
  request = asks;
  complete = takes;
  return CUPTI_SUCCESS;
}
API CUptiResult cuptiActivityRegisterTimestampCallback(CUpti_TimestampCallbackFunc clock) {
  timestamp = clock;
  return CUPTI_SUCCESS;
}
API CUptiResult cuptiActivityPushExternalCorrelationId(CUpti_ExternalCorrelationKind kind, uint64_t id) {
  operators.emplace_back(kind, id);
  return CUPTI_SUCCESS;
}
API CUptiResult cuptiActivityPopExternalCorrelationId(CUpti_ExternalCorrelationKind kind, uint64_t* id) {
  for (size_t i = operators.size(); i-- > 0;) {
    if (operators[i].first != kind) continue;
    if (id) *id = operators[i].second;
    operators.erase(operators.begin() + (long)i);
    return CUPTI_SUCCESS;
  }
  return CUPTI_ERROR_QUEUE_EMPTY;
}
API CUptiResult cuptiActivityFlushAll(uint32_t) {
  std::lock_guard<std::mutex> guard(lock);
  hand_over();
  return CUPTI_SUCCESS;
}
API CUptiResult cuptiActivityGetNextRecord(uint8_t* from, size_t valid, CUpti_Activity** record) {
  uint8_t* next = *record ? (uint8_t*)*record + bytes_of(*record) : from;
  if (next >= from + valid) return CUPTI_ERROR_MAX_LIMIT_REACHED;
  *record = (CUpti_Activity*)next;
  return CUPTI_SUCCESS;
}
API CUptiResult cuptiActivityGetNumDroppedRecords(CUcontext, uint32_t, size_t* dropped) {
  *dropped = 0;
  return CUPTI_SUCCESS;
}
API CUptiResult cuptiGetVersion(uint32_t* version) { *version = 130000; return CUPTI_SUCCESS; }
API CUptiResult cuptiGetResultString(CUptiResult, const char** text) {
  *text = "a result of the ghost card";
  return CUPTI_SUCCESS;
}
API CUptiResult cuptiGetCallbackName(CUpti_CallbackDomain, uint32_t, const char** name) {
  *name = "call";
  return CUPTI_SUCCESS;
}
