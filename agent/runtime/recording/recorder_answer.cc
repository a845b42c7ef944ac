// Implementation of recorder_answer.h.
#include "agent/runtime/recording/recorder_answer.h"

#include <array>
#include <bit>
#include <initializer_list>

#include "agent/base/bytes.h"
#include "agent/base/crc32c.h"

namespace dipper::runtime {
namespace {

constexpr uint32_t kHalfBits = 16;
constexpr size_t kMostWords = 24;  // of what has a fixed size

/// CRC of words, little-endian, gathered so that the table is entered once.
class WordSum {
 public:
  void Add(uint64_t word) {
    if (count_ == kMostWords) Flush();
    base::Store(bytes_.data() + 8 * count_++, word);
  }
  void Add(double value) { Add(std::bit_cast<uint64_t>(learn::Canonical(value))); }
  uint32_t Finish() {
    Flush();
    return crc_;
  }

 private:
  void Flush() {
    crc_ = base::Crc32c(base::ByteView(bytes_).first(8 * count_), crc_);
    count_ = 0;
  }
  std::array<uint8_t, 8 * kMostWords> bytes_{};
  size_t count_ = 0;
  uint32_t crc_ = 0;
};

uint64_t Flags(std::initializer_list<bool> flags) {
  uint64_t word = 0;
  for (const bool flag : flags) word = word << 1 | (flag ? 1 : 0);
  return word;
}

void AddOutput(const learn::Output& out, WordSum* sum) {
  sum->Add(Flags({out.cold, out.has_interval, out.unbounded, out.has_score, out.anomaly_active,
                  out.anomaly_raised, out.anomaly_cleared, out.drift_warning, out.drift_alarm}));
  sum->Add(static_cast<uint64_t>(static_cast<uint32_t>(out.class_index)) << 32 |
           static_cast<uint32_t>(out.drift_feature));
  for (const double value :
       {out.value, out.low, out.high, out.anomaly_score, out.anomaly_raw, out.anomaly_residual})
    sum->Add(value);
  sum->Add(out.class_set);
  for (const double share : out.probabilities) sum->Add(share);
}

void AddOutcome(const learn::Outcome& outcome, WordSum* sum) {
  sum->Add(Flags({outcome.valid, outcome.drift_warning, outcome.drift_alarm, outcome.has_score,
                  outcome.anomaly_active, outcome.anomaly_raised, outcome.anomaly_cleared}));
  sum->Add(outcome.id);
  for (const double value :
       {outcome.label, outcome.predicted, outcome.loss, outcome.trivial_loss, outcome.anomaly_score})
    sum->Add(value);
}

}  // namespace

double MainNumber(const FeedAnswer& answer) {
  if (!answer.observed) return answer.learned ? answer.outcome.loss : learn::CanonicalNan();
  const learn::Output& out = answer.output;
  if (out.class_index >= 0) return out.class_index;
  // Without labels there is no forecast.
  return out.value == 0 && out.has_score ? out.anomaly_score : out.value;
}

AnswerMark MarkOf(const FeedAnswer& answer) {
  WordSum sum;
  sum.Add(Flags({answer.observed, answer.learned}));
  if (answer.observed) AddOutput(answer.output, &sum);
  if (answer.learned) AddOutcome(answer.outcome, &sum);
  const float narrow = learn::Canonical(static_cast<float>(MainNumber(answer)));
  return {.value = static_cast<uint16_t>(std::bit_cast<uint32_t>(narrow) >> kHalfBits),
          .check = static_cast<uint16_t>(sum.Finish())};
}

double MarkedNumber(const AnswerMark& mark) {
  return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(mark.value) << kHalfBits));
}

}  // namespace dipper::runtime
