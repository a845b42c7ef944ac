// The fixed structures of a model image; byte for byte in docs/reference/model-image.md. Internal to
// agent/learn/image. Thread-safe: plain values.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"

namespace dipper::learn {

inline constexpr uint64_t kImageMagic = 0x474D494D50504944ULL;  // "DIPPMIMG"
inline constexpr uint64_t kFlagFrozen = 1;

/// A forecast goes i / 4 of the learner's step away from the last value; i with the least faded error is
/// used.
inline constexpr uint32_t kStepShares = 5;

struct ImageHeader {
  uint64_t magic;
  uint32_t layout_version;
  uint32_t numerics_version;
  uint64_t total_bytes;
  base::Digest spec_digest;
  uint64_t flags;
  uint64_t samples;
  uint64_t last_id;
  int64_t last_time_ns;
  uint64_t skipped;
  uint64_t series;
  uint64_t missing_values;
  uint64_t clamped_values;
  uint64_t labels;
  uint64_t learned;
  uint64_t unmatched_labels;
  uint64_t rejected_labels;
  uint64_t lost_samples;
  uint64_t pending_head;   // place of the oldest entry
  uint64_t pending_count;  // entries from there on, done ones between waiting ones included
  uint64_t truth_head;
  uint64_t truth_count;
  double last_actual;               // FeatureAhead: the newest known value of the target feature, or missing
  double residual_scale;            // anomaly: decayed mean of cut absolute residuals; 0 before the first
  double anomaly_residual;          // the newest scored residual
  double step_losses[kStepShares];  // FeatureAhead: faded absolute error of each share of the learner's step
  uint64_t background_labels;       // 1 + learned by the background learner since it began; 0: there is none
  double background_loss;           // summed over them: its own,
  double foreground_loss;           // and the learner's
  uint64_t replacements;            // times the background learner took over
  uint64_t resets;                  // times an alarm started the learner anew
  uint64_t reserved[3];
};
static_assert(sizeof(ImageHeader) == 320);

/// One sample that waits for its label; then `outputs` doubles, then `inputs` floats, zeros up to a multiple
/// of 16.
struct PendingEntry {
  uint64_t id;
  uint64_t sample;   // header.samples when it was observed
  double base;       // FeatureAhead, numeric: the value that the forecast starts from
  double value;      // the stored answer: value or class index
  double trivial;    // the trivial rival's answer: value or class index
  uint64_t learned;  // header.learned when it was observed: tells whether the learner has moved since
  uint32_t waiting;  // 1, or 0 when it is done but an older one is not
  uint32_t resets;   // header.resets when it was observed, its low half: another learner answered
  double
      issued;  // radius of the interval or set that was answered, Conformal::kUnbounded, 0 without intervals
};
static_assert(sizeof(PendingEntry) == 64);

/// FeatureAhead: a scored sample that waits for the truth about anomalies.
struct TruthEntry {
  uint64_t id;
  double score;
};
static_assert(sizeof(TruthEntry) == 16);

}  // namespace dipper::learn
