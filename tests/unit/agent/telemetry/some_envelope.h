// What tests of messages share: room for one and its mirror, and an envelope that shows every field.
#pragma once

#include <array>

#include "agent/telemetry/encoders.h"

namespace dipper::telemetry {

template <size_t kMessageBytes>
struct Buffers {
  alignas(16) std::array<uint8_t, kMessageBytes> message;
  std::array<uint8_t, kJsonBufferBytes> text;
};

inline Envelope SomeEnvelope() { return {"boot-1", 0xFEDCBA9876543210u, 42, 1700000000123456789, "main"}; }

}  // namespace dipper::telemetry
