// Replay: runs a recording on this machine and compares each answer, and now and then images and gate, digest
// for digest, with what they were on the device. Errors are lab::Error: 5, the recording cannot be run here.
// Not thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/lab/recording.h"

namespace dipper::lab {

/// Where a replay leaves the device's course. Of an answer or a decision of the gate: `record` is the
/// first one that was answered or decided otherwise. Of an image or the gate, while all answers are equal:
/// somewhere after `equal_at`, the last record where the digests were equal, up to `record`.
struct Parting {
  uint64_t segment = 0;
  uint64_t equal_at = 0, record = 0;
  uint64_t sample_id = 0;  ///< Of this record, or of the last sample before.
  int64_t time_ns = 0;     ///< The same.
  std::string what;        ///< "champion", "challenger", "gate"
  std::string of;          ///< "answer", "decision"; "image", "state", "numbers"
  std::string recorded, computed;
  bool exact() const { return of == "answer" || of == "decision"; }
};

struct ReplayResult {
  uint64_t segments = 0;  ///< That were run.
  uint64_t first_record = 0, last_record = 0;
  uint64_t inputs = 0, labels = 0;  ///< Samples and labels that came on their own.
  uint64_t compared = 0;            ///< Digests.
  uint64_t answers = 0;             ///< Compared; an older agent's recording has none.
  uint64_t left_out = 0;            ///< Records of the source that the device did not record.
  uint64_t update_steps = 0, commands = 0;
  uint64_t decisions = 0;           ///< Of the gate, made here again.
  std::vector<int64_t> timings_ns;  ///< The challenger's measured times.
  int64_t first_time_ns = 0, last_time_ns = 0;
  uint64_t last_id = 0;
  std::vector<std::string> notes;  ///< What was missing or damaged.
  std::optional<Parting> parting;
  runtime::SegmentAbout newest;                      ///< Of the last segment that was run.
  std::array<base::Digest, runtime::kLanes> images;  ///< At the end; zero: no model.
};

/// From the oldest whole segment to the end, or to the parting.
/// @param keys      For encrypted models; may be empty.
/// @param progress  Called now and then with the bytes read so far; may be empty.
/// Throws Error (5): no whole segment, another numerics version, a key is missing.
ReplayResult Replay(Recording& recording, const ContentKeys& keys,
                    const std::function<void(uint64_t)>& progress = {});

}  // namespace dipper::lab
