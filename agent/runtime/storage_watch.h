// StorageWatch: tells once that a medium cannot be written and once that it can be again, from counts of
// writes that failed and that did not. A full disk and a file system that became read-only stop no learning.
// Not thread-safe. No heap.
#pragma once

#include <cstdint>

namespace dipper::runtime {

class StorageWatch {
 public:
  enum class News : uint8_t { kNothing, kTrouble, kRecovered };

  /// @param failures, successes  Counts since the start; they never go back.
  News Look(uint64_t failures, uint64_t successes) {
    News news = News::kNothing;
    if (failures > failures_) {
      if (!trouble_) {
        news = News::kTrouble;
        before_ = failures_;
      }
      trouble_ = true;
    } else if (trouble_ && successes > successes_) {
      news = News::kRecovered;
      trouble_ = false;
    }
    failures_ = failures;
    successes_ = successes;
    return news;
  }

  bool trouble() const { return trouble_; }
  /// Writes that failed since the trouble began.
  uint64_t failed() const { return failures_ - before_; }

 private:
  bool trouble_ = false;
  uint64_t failures_ = 0;
  uint64_t before_ = 0;
  uint64_t successes_ = 0;
};

}  // namespace dipper::runtime
