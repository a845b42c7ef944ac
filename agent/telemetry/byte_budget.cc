// See byte_budget.h.
#include "agent/telemetry/byte_budget.h"

#include <algorithm>

#include "agent/base/time.h"

namespace dipper::telemetry {
namespace {

constexpr int64_t kDayNs = 86400 * base::kSecondNs;
constexpr int64_t kLeastPastNs = 60 * base::kSecondNs;  // to judge a rate by

}  // namespace

void ByteBudget::Restore(uint64_t day, uint64_t bytes) {
  day_ = day;
  spent_ = bytes;
}

void ByteBudget::Tick(int64_t wall_ns, int64_t monotonic_ns, bool synchronized) {
  const int64_t wall = std::max<int64_t>(wall_ns, 0);
  const auto day = static_cast<uint64_t>(wall / kDayNs);
  now_ns_ = monotonic_ns;
  if (since_ns_ < 0) since_ns_ = monotonic_ns;
  if (day > day_) {
    day_ = day;
    spent_ = here_ = 0;
    since_ns_ = monotonic_ns;
  }
  if (synchronized) day_ = day;
  passed_ = static_cast<double>(wall % kDayNs) / static_cast<double>(kDayNs);
}

bool ByteBudget::Below(double start, double rise) const {
  return max_bytes_ == 0 ||
         static_cast<double>(spent_) < static_cast<double>(max_bytes_) * (start + rise * passed_);
}

double ByteBudget::projected() const {
  const auto past_ns = static_cast<double>(std::max(now_ns_ - since_ns_, kLeastPastNs));
  const double left_ns = (1 - passed_) * static_cast<double>(kDayNs);
  return static_cast<double>(spent_) + static_cast<double>(here_) / past_ns * left_ns;
}

}  // namespace dipper::telemetry
