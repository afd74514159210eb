// The state of the ghost card, for the files of the stand-in runtime only. Whoever reads or writes it holds the lock.
#pragma once
#include <cuda_runtime_api.h>
#include <pthread.h>

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "ghost.h"

struct Capture;

struct Stream {
  bool nonblocking = false;
  int priority = 0;
  Capture* capture = nullptr;
};

struct Event {
  std::chrono::steady_clock::time_point at;
  bool recorded = false;
  Stream* stream = nullptr;
  Capture* capture = nullptr;  // the one that it was recorded in
};

struct Capture {
  unsigned long long id;
  cudaStreamCaptureMode mode;
  pthread_t thread;
  Stream* origin;
  std::set<Stream*> streams, unjoined;
  std::vector<std::string> nodes;
  bool invalid = false;
};

struct Graph {
  std::vector<std::string> nodes;
};

struct Card {
  std::recursive_mutex lock;
  // Memory, in bytes; 80 GiB as an H100 has.
  size_t total = 80ull << 30, in_use = 0, peak = 0;
  std::map<const void*, size_t> device_blocks, host_blocks;
  // Since ghost_reset: launches by kernel, calls by name, and what a real card would have refused.
  std::map<std::string, long> launched, called;
  std::vector<std::string> problems;
  long launches = 0;
  // A sticky error: from so many launches on every call fails, as after an illegal access.
  long fail_at = -1;
  int fail_with = 0;
  bool failed = false;
  Stream legacy;  // the default stream
  std::set<Capture*> captures;
  void (*listener)(const char*) = nullptr;
};

Card& card();
using Guard = std::lock_guard<std::recursive_mutex>;

// Remembers an error for cudaGetLastError, by thread, and returns it.
cudaError_t error(cudaError_t e);
// Notes what a real card would have refused, and invalidates the capture that is spoilt by it.
cudaError_t refuse(const std::string& what, cudaError_t e, Capture* spoilt = nullptr);
// A call that waits for the device.
cudaError_t waits(const char* call);
// cudaThreadExchangeStreamCaptureMode's state.
cudaStreamCaptureMode& thread_mode();
cudaError_t& last_error();
Stream* stream_of(void* stream);
