// Health: when a start counts as healthy, and when a further healthy period has passed. Every component must
// have answered recently, without a break, for the configured time. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>

namespace dipper::runtime {

/// Who must answer.
enum class Component : uint8_t { kSource = 0, kModel = 1, kStorage = 2, kUpdate = 3 };
inline constexpr uint32_t kComponents = 4;

class Health {
 public:
  /// @param period_ns   How long all must have answered.
  /// @param silence_ns  After that long without an answer a component counts as not answering.
  Health(int64_t period_ns, int64_t silence_ns, int64_t now_ns)
      : period_ns_(period_ns), silence_ns_(silence_ns), since_ns_(now_ns) {
    last_ns_.fill(now_ns);
  }

  void Answered(Component component, int64_t now_ns) { last_ns_[static_cast<size_t>(component)] = now_ns; }

  /// True once for every full period in which all components answered.
  bool PeriodPassed(int64_t now_ns) {
    for (int64_t last : last_ns_) {
      if (now_ns - last > silence_ns_) {
        since_ns_ = now_ns;
        return false;
      }
    }
    if (now_ns - since_ns_ < period_ns_) return false;
    since_ns_ = now_ns;
    return true;
  }

 private:
  int64_t period_ns_;
  int64_t silence_ns_;
  int64_t since_ns_;
  std::array<int64_t, kComponents> last_ns_{};
};

}  // namespace dipper::runtime
