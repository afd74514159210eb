// What the stand-in libraries ask of the ghost card: a GPU that obeys CUDA's rules and computes nothing.
// `card.cpp` keeps it, inside the stand-in for the runtime; the other libraries link to that one.
#pragma once
#include <cstddef>

#define API extern "C" __attribute__((visibility("default")))

// A kernel, or a copy, on a stream: counted, and recorded where the stream is being captured. 0, or CUDA's error.
API int ghost_launch(const char* kernel, void* stream);
// Whether a stream is being captured.
API int ghost_capturing(void* stream);
// A call that a capture may forbid ("potentially unsafe", CUDA's guide, section on stream capture). 0, or the error.
API int ghost_unsafe(const char* call);
// Counts a call under a name.
API void ghost_count(const char* name);
// The body of every function that torch links to and nobody wrote: counted as "stub: NAME", and successful.
API int ghost_stub(const char* name);
// Calls back at every launch outside captures: for the stand-in of the profiler's library.
API void ghost_on_launch(void (*listener)(const char* kernel));
