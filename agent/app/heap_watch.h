// HeapWatch: notices a model whose code takes more heap memory with every sample, which none may: a model
// works in the image memory that it was given. Sits between the runners and the run note. One thread.
#pragma once

#include <array>
#include <cstdint>

#include "agent/app/config/config.h"
#include "agent/base/bytes.h"
#include "agent/runtime/run_marker.h"

namespace dipper::app {

/// Heap bytes in use by the process. About 10 us with glibc, which counts its free blocks; 0 where the C
/// library cannot tell.
uint64_t HeapBytesInUse();

/// One package's measurements. Where labels are records of their own, only the samples' calls may grow.
/// Judged by windows, so that what other threads allocate meanwhile condemns nobody: they give back as often,
/// and are in few of the calls.
class HeapJudge {
 public:
  static constexpr uint32_t kWindow = 32;      ///< Measured calls of a window.
  static constexpr uint32_t kWindowsOver = 3;  ///< So many windows in a row condemn.
  static constexpr uint32_t kOneIn = 17;  ///< Calls measured while nothing grows; odd, to meet both kinds.

  /// The next call is to be measured: every one while something grows.
  bool Due() { return calls_++ % kOneIn == 0 || grew_ > 0 || in_row_ > 0; }
  void Add(uint64_t before_bytes, uint64_t after_bytes) {
    grew_ += after_bytes > before_bytes ? 1 : 0;
    shrank_ += after_bytes < before_bytes ? 1 : 0;
    if (++count_ < kWindow) return;
    const bool over = grew_ > kWindow / 4 && shrank_ * 4 < grew_;
    in_row_ = over ? in_row_ + 1 : 0;
    count_ = grew_ = shrank_ = 0;
  }
  bool condemned() const { return in_row_ >= kWindowsOver; }

 private:
  uint32_t calls_ = 0, count_ = 0, grew_ = 0, shrank_ = 0, in_row_ = 0;
};

class HeapWatch final : public runtime::RunMarker {
 public:
  using Meter = uint64_t (*)();

  /// @param next  Told the same; outlives this.
  explicit HeapWatch(runtime::RunMarker& next, Meter meter = HeapBytesInUse) : next_(next), meter_(meter) {}

  void Enter(uint32_t model, const base::Digest& package) override;
  void Leave() override;

  /// True: this package's code was found to take more and more since it was last asked about; it is judged
  /// anew from here on.
  bool TakeCondemned(base::Digest* package);

 private:
  struct Entry {
    base::Digest package{};
    HeapJudge judge;
  };

  Entry& Find(const base::Digest& package);

  runtime::RunMarker& next_;
  const Meter meter_;
  std::array<Entry, size_t{kMaxModels} * 2> entries_{};  ///< Champion and challenger of every model.
  size_t oldest_ = 0;
  Entry* measured_ = nullptr;  ///< Of the call under way, if it is measured.
  Entry* condemned_ = nullptr;
  uint64_t before_bytes_ = 0;
};

}  // namespace dipper::app
