// Health: who answers. Two questions are asked of the same register: does every part still answer at all
// (only then is the watchdog patted), and has every part worked without a break for the healthy time. A
// storage that says "disk full" answers and does not work. Not thread-safe. No heap.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "agent/base/fixed.h"

namespace dipper::runtime {

/// Parts of the main loop whose work the healthy time asks for.
enum class Component : uint8_t { kSource = 0, kModel = 1, kStorage = 2, kUpdate = 3 };
inline constexpr uint32_t kComponents = 4;

/// Whoever must answer, each with the time after which it counts as silent.
class Answers {
 public:
  static constexpr uint32_t kMost = 16;

  /// @param name      For messages; it outlives this.
  /// @param limit_ns  Silent after that long without an answer.
  /// @returns its number.
  uint32_t Add(std::string_view name, int64_t limit_ns, int64_t now_ns) {
    DIPPER_CHECK(Ok(members_.PushBack({name, limit_ns, now_ns, now_ns})));
    return static_cast<uint32_t>(members_.size() - 1);
  }
  /// It answered; `good`: and did what it is for.
  void Answered(uint32_t who, int64_t now_ns, bool good = true) {
    members_[who].answered_ns = now_ns;
    if (good) members_[who].good_ns = now_ns;
  }
  /// The first that does not answer any more; empty: all do.
  std::string_view Silent(int64_t now_ns) const {
    for (const Member& member : members_) {
      if (now_ns - member.answered_ns > member.limit_ns) return member.name;
    }
    return {};
  }
  bool Works(uint32_t who, int64_t now_ns) const {
    return now_ns - members_[who].good_ns <= members_[who].limit_ns;
  }

 private:
  struct Member {
    std::string_view name;
    int64_t limit_ns = 0;
    int64_t answered_ns = 0;
    int64_t good_ns = 0;
  };
  base::FixedVector<Member, kMost> members_;
};

class Health {
 public:
  /// @param period_ns   How long all must have worked.
  /// @param silence_ns  After that long without an answer a component counts as not answering.
  Health(int64_t period_ns, int64_t silence_ns, int64_t now_ns) : period_ns_(period_ns), since_ns_(now_ns) {
    for (const char* name : {"source", "model", "storage", "update"}) answers_.Add(name, silence_ns, now_ns);
  }

  /// Others may be added to the register: they count for the watchdog, not for the healthy time.
  Answers& answers() { return answers_; }

  void Answered(Component component, int64_t now_ns, bool good = true) {
    answers_.Answered(static_cast<uint32_t>(component), now_ns, good);
  }

  /// True once for every full period in which all components worked.
  bool PeriodPassed(int64_t now_ns) {
    for (uint32_t component = 0; component < kComponents; ++component) {
      if (answers_.Works(component, now_ns)) continue;
      since_ns_ = now_ns;
      return false;
    }
    if (now_ns - since_ns_ < period_ns_) return false;
    since_ns_ = now_ns;
    return true;
  }

 private:
  int64_t period_ns_;
  int64_t since_ns_;
  Answers answers_;
};

}  // namespace dipper::runtime
