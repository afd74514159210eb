// The ghost card itself: what may be launched when, and the counters that tests read (`ghost_report`).
#include "state.h"

Card& card() {
  static Card* one = new Card;  // never destroyed: torch's own statics call us at exit
  return *one;
}

cudaError_t& last_error() {
  thread_local cudaError_t last = cudaSuccess;
  return last;
}

cudaStreamCaptureMode& thread_mode() {
  thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  return mode;
}

cudaError_t error(cudaError_t e) {
  if (e != cudaSuccess) last_error() = e;
  return e;
}

cudaError_t refuse(const std::string& what, cudaError_t e, Capture* spoilt) {
  if (spoilt) spoilt->invalid = true;
  card().problems.push_back(what);
  return error(e);
}

cudaError_t waits(const char* call) {
  Guard guard(card().lock);
  card().called[std::string("wait: ") + call]++;
  return card().failed ? error((cudaError_t)card().fail_with) : cudaSuccess;
}

Stream* stream_of(void* stream) {
  bool legacy = !stream || stream == (void*)cudaStreamLegacy || stream == (void*)cudaStreamPerThread;
  return legacy ? &card().legacy : (Stream*)stream;
}

// CUDA's guide, cudaStreamBeginCapture: a global capture forbids such calls to every thread that did not relax its
// mode, a thread-local one to its own thread only.
API int ghost_unsafe(const char* call) {
  Guard guard(card().lock);
  if (card().failed) return error((cudaError_t)card().fail_with);
  if (thread_mode() == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  bool forbidden = false;
  for (Capture* capture : card().captures) {
    bool mine = pthread_equal(capture->thread, pthread_self());
    bool everywhere = thread_mode() == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal;
    if ((mine && capture->mode != cudaStreamCaptureModeRelaxed) || everywhere) capture->invalid = forbidden = true;
  }
  if (!forbidden) return cudaSuccess;
  return refuse(std::string("unsafe call inside a capture: ") + call, cudaErrorStreamCaptureUnsupported);
}

API int ghost_launch(const char* kernel, void* on) {
  Guard guard(card().lock);
  if (card().failed) return card().fail_with;
  if (++card().launches >= card().fail_at && card().fail_at >= 0) {
    card().failed = true;
    return refuse("the planted error", (cudaError_t)card().fail_with);
  }
  Stream* stream = stream_of(on);
  if (stream->capture) {
    if (stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    stream->capture->nodes.push_back(kernel);
  } else {
    for (Capture* capture : card().captures) {
      // The default stream waits for every blocking one.
      if (stream == &card().legacy && !capture->origin->nonblocking)
        return refuse(std::string("on the default stream during a capture: ") + kernel,
                      cudaErrorStreamCaptureImplicit, capture);
      card().problems.push_back(std::string("launched beside a capture: ") + kernel);
    }
    if (card().listener) card().listener(kernel);
  }
  card().launched[kernel]++;
  return cudaSuccess;
}

API int ghost_capturing(void* stream) {
  Guard guard(card().lock);
  return stream_of(stream)->capture != nullptr;
}

API void ghost_count(const char* name) {
  Guard guard(card().lock);
  card().called[name]++;
}

API int ghost_stub(const char* name) {
  ghost_count((std::string("stub: ") + name).c_str());
  return 0;
}

API void ghost_on_launch(void (*listener)(const char*)) {
  Guard guard(card().lock);
  card().listener = listener;
}

// ---- what tests read and set

API void ghost_reset() {
  Guard guard(card().lock);
  card().launched.clear();
  card().called.clear();
  card().problems.clear();
  card().launches = 0;
  card().peak = card().in_use;
}

// Lines of kind ("launch", "call" or "problem"), number and name, with tabs between; valid until the next call.
API const char* ghost_report() {
  Guard guard(card().lock);
  static std::string report;
  report.clear();
  auto line = [](const char* kind, long number, const std::string& name) {
    report += std::string(kind) + "\t" + std::to_string(number) + "\t" + name + "\n";
  };
  for (auto& [name, number] : card().launched) line("launch", number, name);
  for (auto& [name, number] : card().called) line("call", number, name);
  for (auto& name : card().problems) line("problem", 1, name);
  return report.c_str();
}

API void ghost_set_memory(size_t bytes) { card().total = bytes; }
API size_t ghost_peak_memory() { return card().peak; }

// Every call fails from `launches` launches on (negative: never), with CUDA's error `code`.
API void ghost_fail(long launches, int code) {
  Guard guard(card().lock);
  card().fail_at = launches < 0 ? -1 : card().launches + launches;
  card().fail_with = code;
  card().failed = false;
}
