// AnswerMark: what a recording keeps of a model's answer to one input, so that a replay finds the first
// record whose answer is another one. Byte layout: docs/reference/recording.md. Thread-safe: pure functions.
// No heap.
#pragma once

#include <cstdint>

#include "agent/runtime/sample_feed.h"

namespace dipper::runtime {

/// Four bytes a record and model: a number that says how far apart two answers are, and a check of all of
/// them.
struct AnswerMark {
  uint16_t value = 0;  ///< Upper half of the main number as a float32: two to three digits of it.
  uint16_t check = 0;  ///< Lower half of the CRC-32C of everything that was answered.
  bool operator==(const AnswerMark&) const = default;
};

/// The number that people ask for first: the forecast, the class, the anomaly score; of a label alone the
/// loss. Not-a-number: nothing was answered.
double MainNumber(const FeedAnswer& answer);

/// Every bit of output and outcome counts but the sign and payload of a not-a-number, which machines choose.
/// One difference in 65,536 is missed here, and seen in the records after it or in the next digest.
/// Cost: about 180 bytes of CRC-32C, 8 more a class.
AnswerMark MarkOf(const FeedAnswer& answer);

/// The mark's number again, as far as it is kept.
double MarkedNumber(const AnswerMark& mark);

}  // namespace dipper::runtime
