// Paho's and OpenSSL's settings for the process.
#include "agent/link/paho_process.h"

#include <MQTTAsync.h>
#include <openssl/crypto.h>

namespace dipper::link {
namespace {

bool Prepare() {
  // OpenSSL's exit handler takes away what its threads give up as they end: a process that exits in that
  // moment crashes. The memory goes with the process anyway. Holds when OpenSSL hears it first of all.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
  // Paho notes each of its calls in a ring that it frees with its last client; a thread that ends after that
  // writes to the freed ring, or makes one of 125 kB that nobody frees. Nothing reads the ring.
  MQTTAsync_setTraceLevel(MQTTASYNC_TRACE_ERROR);
  return true;
}

}  // namespace

void PreparePaho() {
  static const bool prepared = Prepare();
  static_cast<void>(prepared);
}

}  // namespace dipper::link
