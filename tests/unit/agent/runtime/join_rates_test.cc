// Joined sources a million times apart in rate, 10 kHz and 0.01 Hz: every record is in a sample or counted.
#include <gtest/gtest.h>

#include <string>

#include "agent/runtime/join.h"
#include "tests/support/hand_clock.h"

namespace dipper::runtime {
namespace {

using base::Status;
using test::HandClock;

constexpr int64_t kFastNs = 100'000;          // 10 kHz
constexpr int64_t kSlowNs = 100'000'000'000;  // 0.01 Hz
constexpr int64_t kRunNs = 250'000'000'000;   // three readings of the slow one
constexpr int64_t kMaxAgeNs = 5'000'000'000;
constexpr auto kFastReadings = static_cast<uint64_t>(kRunNs / kFastNs);
constexpr uint64_t kSlowReadings = 3;

/// Counts its readings: 0, 1, 2, ... at multiples of its period.
class Metronome final : public hal::SampleSource {
 public:
  Metronome(HandClock& clock, std::string name, int64_t period_ns)
      : clock_(clock), header_(std::move(name)), period_ns_(period_ns) {}
  Status Poll(hal::Record* record) override {
    *record = {};
    if (!told_) {
      told_ = true;
      record->kind = hal::RecordKind::kHeader;
      record->payload = base::AsBytes(header_);
      return Status::kOk;
    }
    if (clock_.now_ns < NextDueNs()) return Status::kNotFound;
    record->kind = hal::RecordKind::kSample;
    text_ = std::to_string(given_++);
    record->payload = base::AsBytes(text_);
    return Status::kOk;
  }
  int64_t NextDueNs() override { return static_cast<int64_t>(given_) * period_ns_; }
  void Answer(uint32_t, std::string_view) override {}
  hal::SourceTotals totals() const override { return {}; }
  uint64_t given() const { return given_; }

 private:
  HandClock& clock_;
  std::string header_, text_;
  int64_t period_ns_;
  uint64_t given_ = 0;
  bool told_ = false;
};

struct Ran {
  uint64_t samples = 0;
  uint64_t with_slow = 0;
  uint64_t wrong = 0;  ///< Not the newest reading of each, or an older one that should be missing.
  hal::SourceTotals totals;
};

class JoinRatesTest : public ::testing::Test {
 protected:
  Ran Run(JoinConfig config, int64_t max_age_ns) {
    Join join(clock_, config,
              {{.source = &fast_, .name = "fast", .columns = {"f"}, .max_age_ns = max_age_ns},
               {.source = &slow_, .name = "slow", .columns = {"s"}, .max_age_ns = max_age_ns}});
    Ran ran;
    hal::Record record;
    for (clock_.now_ns = 0; clock_.now_ns < kRunNs; clock_.now_ns += kFastNs) {
      for (Status status = Status::kOk; status != Status::kNotFound;) {
        status = join.Poll(&record);
        if (status != Status::kOk) continue;
        const std::string text(base::AsText(record.payload));
        const int64_t age_ns = clock_.now_ns % kSlowNs;
        const bool has_slow = max_age_ns == 0 || age_ns <= max_age_ns;
        std::string wanted = "{\"f\":\"" + std::to_string(fast_.given() - 1) + "\"";
        if (has_slow) wanted += ",\"s\":\"" + std::to_string(slow_.given() - 1) + "\"";
        ran.wrong += text != wanted + "}" ? 1U : 0U;
        if (text != wanted + "}" && ran.wrong == 1) ADD_FAILURE() << text << ", not " << wanted << "}";
        ++ran.samples;
        ran.with_slow += has_slow ? 1U : 0U;
      }
    }
    ran.totals = join.totals();
    EXPECT_EQ(fast_.given(), kFastReadings);
    EXPECT_EQ(slow_.given(), kSlowReadings);
    return ran;
  }
  HandClock clock_;
  Metronome fast_{clock_, "f", kFastNs};
  Metronome slow_{clock_, "s", kSlowNs};
};

TEST_F(JoinRatesTest, AFastPrimaryHasTheSlowValueInEachSample) {
  const Ran ran = Run({.primary = 0}, 0);
  EXPECT_EQ(ran.samples, kFastReadings);
  EXPECT_EQ(ran.with_slow, kFastReadings);
  EXPECT_EQ(ran.wrong, 0U);
  EXPECT_EQ(ran.totals.superseded + ran.totals.stale + ran.totals.late + ran.totals.skipped, 0U);
}

TEST_F(JoinRatesTest, ASlowValueIsMissingOutsideItsAgeAndCounted) {
  const Ran ran = Run({.primary = 0}, kMaxAgeNs);
  EXPECT_EQ(ran.samples, kFastReadings);
  EXPECT_EQ(ran.with_slow, kSlowReadings * (kMaxAgeNs / kFastNs + 1));
  EXPECT_EQ(ran.totals.stale, kFastReadings - ran.with_slow);
  EXPECT_EQ(ran.totals.skipped, 0U);
}

TEST_F(JoinRatesTest, OrTheSampleIsLeftOutAndCounted) {
  const Ran ran = Run({.primary = 0, .skip_missing = true}, kMaxAgeNs);
  EXPECT_EQ(ran.samples, kSlowReadings * (kMaxAgeNs / kFastNs + 1));
  EXPECT_EQ(ran.samples + ran.totals.skipped, kFastReadings);
  EXPECT_EQ(ran.totals.stale, ran.totals.skipped);
}

TEST_F(JoinRatesTest, ASlowPrimaryTakesTheNewestFastOneAndCountsTheOthers) {
  const Ran ran = Run({.primary = 1}, 0);
  EXPECT_EQ(ran.samples, kSlowReadings);
  EXPECT_EQ(ran.wrong, 0U);
  // In a sample, replaced by a newer one, or held since the last sample.
  EXPECT_EQ(ran.samples + ran.totals.superseded + 1, kFastReadings);
}

TEST_F(JoinRatesTest, TheSlowestGivesTheTick) {
  const Ran ran = Run({.primary = 0, .slowest = true}, 0);
  EXPECT_EQ(ran.samples, kSlowReadings);
  EXPECT_EQ(ran.wrong, 0U);
  EXPECT_EQ(ran.samples + ran.totals.superseded + 1, kFastReadings);
}

}  // namespace
}  // namespace dipper::runtime
