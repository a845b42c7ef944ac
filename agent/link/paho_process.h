// What Paho and OpenSSL ask of a process, once. Both are the process's own, not a session's.
#pragma once

namespace dipper::link {

/// Called before a session makes its client; every call after the first costs nothing. Makes it safe that
/// Paho's threads say they have stopped a moment before they end. Thread-safe.
void PreparePaho();

}  // namespace dipper::link
