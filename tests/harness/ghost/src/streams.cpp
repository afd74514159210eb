// The runtime's streams, events, captures and graphs, by the rules of CUDA's guide: what a capture forbids, what joins
// it, and what must have joined by its end.
#include <algorithm>

#include "state.h"

// ---- streams

static cudaError_t make(cudaStream_t* stream, unsigned flags, int priority) {
  *stream = (cudaStream_t) new Stream{(flags & cudaStreamNonBlocking) != 0, priority};
  return cudaSuccess;
}

API cudaError_t cudaStreamCreate(cudaStream_t* stream) { return make(stream, 0, 0); }
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) { return make(stream, flags, 0); }
API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return make(stream, flags, priority);
}
API cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }  // leaked: an event may still name it

API cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  *priority = stream_of(stream)->priority;
  return cudaSuccess;
}

API cudaError_t cudaStreamSynchronize(cudaStream_t on) {
  {
    Guard guard(card().lock);
    Stream* stream = stream_of(on);
    if (stream->capture)
      return refuse("cudaStreamSynchronize on a capturing stream", cudaErrorStreamCaptureUnsupported, stream->capture);
    for (Capture* capture : card().captures)
      if (stream == &card().legacy && !capture->origin->nonblocking)
        return refuse("cudaStreamSynchronize on the default stream during a capture", cudaErrorStreamCaptureImplicit,
                      capture);
  }
  return waits("cudaStreamSynchronize");
}

API cudaError_t cudaStreamQuery(cudaStream_t stream) {
  Guard guard(card().lock);
  if (Capture* capture = stream_of(stream)->capture)
    return refuse("cudaStreamQuery on a capturing stream", cudaErrorStreamCaptureUnsupported, capture);
  return cudaSuccess;
}

// ---- events

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = (cudaEvent_t) new Event;
  return cudaSuccess;
}
API cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete (Event*)event;
  return cudaSuccess;
}

API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t on, unsigned) {
  Guard guard(card().lock);
  if (card().failed) return error((cudaError_t)card().fail_with);
  Stream* stream = stream_of(on);
  *(Event*)event = Event{std::chrono::steady_clock::now(), true, stream, stream->capture};
  return cudaSuccess;
}
API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, 0);
}

static Capture* alive(const Event* event) {
  return event->capture && card().captures.count(event->capture) ? event->capture : nullptr;
}

// A stream that waits for a captured event joins its capture; the event's own stream has then been joined.
API cudaError_t cudaStreamWaitEvent(cudaStream_t on, cudaEvent_t what, unsigned) {
  Guard guard(card().lock);
  Event* event = (Event*)what;
  Stream* stream = stream_of(on);
  if (Capture* capture = alive(event)) {
    if (stream->capture && stream->capture != capture)
      return refuse("two captures would be merged", cudaErrorStreamCaptureMerge, stream->capture);
    if (!stream->capture) {
      if (stream == &card().legacy)
        return refuse("the default stream joins a capture", cudaErrorStreamCaptureImplicit, capture);
      stream->capture = capture;
      capture->streams.insert(stream);
      capture->unjoined.insert(stream);
    }
    capture->unjoined.erase(event->stream);
  } else if (stream->capture && event->recorded) {
    return refuse("a capturing stream waits for an event from outside", cudaErrorStreamCaptureIsolation,
                  stream->capture);
  }
  return cudaSuccess;
}

API cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (int e = ghost_unsafe("cudaEventQuery")) return (cudaError_t)e;
  Guard guard(card().lock);
  if (Capture* capture = alive((Event*)event))
    return refuse("cudaEventQuery on a captured event", cudaErrorCapturedEvent, capture);
  return cudaSuccess;
}

API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Guard guard(card().lock);
  if (Capture* capture = alive((Event*)event))
    return refuse("cudaEventSynchronize on a captured event", cudaErrorCapturedEvent, capture);
  return waits("cudaEventSynchronize");
}

// The host's time between the two; at least a microsecond, since rates are divided by it.
API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  std::chrono::duration<float, std::milli> between = ((Event*)to)->at - ((Event*)from)->at;
  *milliseconds = std::max(1e-3f, between.count());
  return cudaSuccess;
}

// ---- captures

API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode());
  return cudaSuccess;
}

API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  Guard guard(card().lock);
  Capture* capture = stream_of(stream)->capture;
  *status = !capture           ? cudaStreamCaptureStatusNone
            : capture->invalid ? cudaStreamCaptureStatusInvalidated
                               : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                         cudaGraph_t* graph, const cudaGraphNode_t** nodes,
                                         const cudaGraphEdgeData** edges, size_t* count) {
  Guard guard(card().lock);
  Capture* capture = stream_of(stream)->capture;
  if (id) *id = capture ? capture->id : 0;
  if (graph) *graph = nullptr;
  if (nodes) *nodes = nullptr;
  if (edges) *edges = nullptr;
  if (count) *count = 0;
  return cudaStreamIsCapturing(stream, status);
}

API cudaError_t cudaStreamBeginCapture(cudaStream_t on, cudaStreamCaptureMode mode) {
  static unsigned long long captures = 0;
  Guard guard(card().lock);
  Stream* stream = stream_of(on);
  if (stream == &card().legacy) return error(cudaErrorStreamCaptureUnsupported);
  if (stream->capture) return error(cudaErrorIllegalState);
  stream->capture = new Capture{++captures, mode, pthread_self(), stream};
  stream->capture->streams.insert(stream);
  card().captures.insert(stream->capture);
  ghost_count("capture");
  return cudaSuccess;
}

API cudaError_t cudaStreamEndCapture(cudaStream_t on, cudaGraph_t* graph) {
  Guard guard(card().lock);
  Capture* capture = stream_of(on)->capture;
  *graph = nullptr;
  if (!capture) return error(cudaErrorIllegalState);
  for (Stream* stream : capture->streams) stream->capture = nullptr;
  card().captures.erase(capture);  // kept otherwise: events may still name it
  if (capture->invalid) return refuse("a capture ended invalid", cudaErrorStreamCaptureInvalidated);
  if (!capture->unjoined.empty()) return refuse("a capture ended with unjoined work", cudaErrorStreamCaptureUnjoined);
  *graph = (cudaGraph_t) new Graph{capture->nodes};
  card().called["nodes captured"] += (long)capture->nodes.size();
  return cudaSuccess;
}

// ---- graphs

API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = ((Graph*)graph)->nodes.size();
  return cudaSuccess;
}

API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  if (int e = ghost_unsafe("cudaGraphInstantiate")) return (cudaError_t)e;
  *made = (cudaGraphExec_t) new Graph(*(Graph*)graph);
  return cudaSuccess;
}
API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiateWithFlags(made, graph, flags);
}

API cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  Guard guard(card().lock);
  if (card().failed) return error((cudaError_t)card().fail_with);
  if (++card().launches >= card().fail_at && card().fail_at >= 0) {
    card().failed = true;
    return refuse("the planted error", (cudaError_t)card().fail_with);
  }
  if (Capture* capture = stream_of(stream)->capture)
    return refuse("a graph launched inside a capture", cudaErrorStreamCaptureUnsupported, capture);
  card().called["graph launch"]++;
  card().called["nodes replayed"] += (long)((Graph*)graph)->nodes.size();
  return cudaSuccess;
}

API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete (Graph*)graph;
  return cudaSuccess;
}
API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete (Graph*)graph;
  return cudaSuccess;
}
API cudaError_t cudaGraphDebugDotPrint(cudaGraph_t, const char*, unsigned) { return cudaSuccess; }
