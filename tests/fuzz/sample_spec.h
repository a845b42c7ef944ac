// A small spec of each task for the sample decoders, and what a decoded sample must keep. Not thread-safe.
#pragma once

#include <span>

#include "agent/stream/decoder.h"

namespace dipper::fuzz {

/// Features temperature (numeric), mode (eco, boost), humidity (numeric); label `state`.
/// @param task  0 classification with a spare class, 1 regression, 2 anomaly (a label is 0 or 1).
const schema::Spec& SampleSpec(int task);

/// Values finite or the canonical not-a-number, categories whole and in range, labels in range; the counts
/// agree with the values. Anything else ends the run.
void CheckSample(const schema::Spec& spec, std::span<const float> values,
                 const stream::DecodedSample& sample);
void CheckLabel(const schema::Spec& spec, const stream::Label& label);

}  // namespace dipper::fuzz
