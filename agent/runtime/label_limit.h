// LabelLimit: how many labels a second a model takes from the network. Labels decide what "worse" means to
// the health gate (docs/explanation/threat-model.md), so whoever may publish them may not do so without
// limit. A bucket of one second's labels, at least one. Not thread-safe. No heap.
#pragma once

#include <algorithm>
#include <cstdint>

namespace dipper::runtime {

class LabelLimit {
 public:
  /// @param per_s  Labels a second in the long run; 0: none at all.
  explicit LabelLimit(double per_s)
      : per_s_(per_s), most_(per_s > 0 ? std::max(per_s, 1.0) : 0), left_(most_) {}

  /// Whether one more may be taken now.
  /// @param now_ns  Monotonic time.
  bool Spend(int64_t now_ns) {
    if (since_ns_ != 0 && now_ns > since_ns_)
      left_ = std::min(most_, left_ + static_cast<double>(now_ns - since_ns_) * 1e-9 * per_s_);
    since_ns_ = now_ns;
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  double per_s_, most_, left_;
  int64_t since_ns_ = 0;
};

}  // namespace dipper::runtime
