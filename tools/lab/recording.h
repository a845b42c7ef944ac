// Recording: a flight recorder's file taken apart: its segments, oldest first, with what each opens with.
// docs/reference/recording.md has every byte. Errors are lab::Error: 5, it is no recording, or of another
// version. Not thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/package/crypto.h"
#include "agent/runtime/recording/recorder_records.h"
#include "agent/store/recorder_format.h"

namespace dipper::lab {

/// The content key of an encrypted package; none: it is not at hand.
using ContentKeys = std::function<std::optional<package::Secret>(const base::Digest& package)>;

/// One lane as the segment opens. Empty spec: no model.
struct LaneOpening {
  std::vector<uint8_t> spec, image;
};

struct RecordedSegment {
  store::SegmentHead head;
  runtime::SegmentAbout about;
  base::ByteView bytes;  ///< In the recording.
  std::string damage;    ///< Why it cannot be used; empty: it can.

  uint64_t page_count() const { return (bytes.size() - head.pages_offset) / store::kRecorderPageBytes; }
};

class Recording {
 public:
  Recording(std::vector<uint8_t> bytes, std::string name);
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  const std::string& name() const { return name_; }
  std::vector<RecordedSegment>& segments() { return segments_; }

  /// Bodies of a segment, decrypted and checked. Sets `damage` and returns false when they are not what was
  /// written. Throws Error (5) when a key is missing, with the digest of the package to ask for.
  static bool Open(RecordedSegment* segment, const ContentKeys& keys,
                   std::array<LaneOpening, runtime::kLanes>* lanes, std::vector<uint8_t>* gate);
  /// Records of one page, decrypted. None: not whole. `page` is room for it.
  static std::optional<base::ByteView> OpenPage(const RecordedSegment& segment, uint64_t index,
                                                const ContentKeys& keys, std::vector<uint8_t>* page,
                                                store::RecorderPage* about);

 private:
  std::string name_;
  std::vector<uint8_t> bytes_;
  std::vector<RecordedSegment> segments_;
};

}  // namespace dipper::lab
