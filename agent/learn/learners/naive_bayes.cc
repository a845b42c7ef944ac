// See naive_bayes.h; layout: naive_bayes_layout.h. Inverse variances and the product of their roots are kept
// per class, as of the class's last label, so that an answer needs no division, root or logarithm per input.
#include "agent/learn/learners/naive_bayes.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "agent/learn/learners/naive_bayes_layout.h"
#include "agent/learn/learners/naive_bayes_scaled.h"
#include "agent/learn/learners/pairs.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn {
namespace {

using namespace bayes;

constexpr uint32_t kMaxInputs = 512;
constexpr uint32_t kMaxClasses = 64;
constexpr uint32_t kMaxCategories = 1024;
constexpr double kLargestWeight = 1e6;
constexpr double kLargestInput = 1e30;

constexpr double kOutlierDeviations = 20.0;
constexpr double kOutlierCount = 30.0;
constexpr uint64_t kLabelsPerBounds = 16;  // between two renewals of the bounds that follow from them
// A deviation below this part of the mean is float32 rounding, not variation.
constexpr double kFlatRelativeVariance = 1e-14;
constexpr double kFlatVariance = 1e-70;
// Observations of the overall variance, and of each value of a nominal input, that a class begins with.
constexpr double kPriorCount = 1.0;
// A thousandth of the overall deviation is about one step of a 10 to 12 bit converter: no class is narrower.
constexpr double kLeastRelativeVariance = 1e-6;
// Where faded weights are scaled back; far from the ends of double even times a squared input.
constexpr double kUnitLimit = 0x1p200;
constexpr double kLeastCount = 1e-100;  // below this, a count that faded away is none
constexpr double kLargestCount = 1e90;
constexpr double kUnseen = -1e300;  // score of a class without labels
constexpr double kLargestLogScale = 1e6;
// How fast the evidence is tempered, per unit of surprise, and how much one label can surprise.
constexpr double kTemperRate = 0.005;
constexpr double kLargestSurprise = 3.0;
constexpr double kLeastTemper = 1e-3, kLargestTemper = 2.0;
// Of inverse variances (1e-62 .. 1e76) four can be multiplied before the product needs its exponent taken
// out.
constexpr uint64_t kPairsPerFold = 4;

// Doubles of one nominal input's counts.
uint64_t CountsOf(uint32_t categories, uint32_t classes) { return (uint64_t{categories} + 2) * classes; }

/// The values of the numeric inputs of a row; missing ones are NaN.
struct Values {
  alignas(16) double x[kMaxInputs];
  bool missing;
};

/// The numeric inputs of a row, one after another; `room` is only needed where there are nominal ones.
const float* NumericOf(const NaiveBayesConfig& config, std::span<const float> x, float* room) {
  if (config.categories.empty()) return x.data();
  uint64_t count = 0;
  for (uint32_t i = 0; i < config.inputs; ++i) {
    if (config.categories[i] == 0) room[count++] = x[i];
  }
  return room;
}

/// Reads the numeric inputs, cut to `low` .. `high`.
void ReadNumeric(const NaiveBayesConfig& config, const View& view, std::span<const float> x, Values* out) {
  float room[kMaxInputs];
  const float* from = NumericOf(config, x, room);
  const double* low = view.overall + 3 * view.stride;
  const double* high = low + view.stride;
  const uint64_t pairs = view.numeric / 2 * 2;
  PairBits present = Both(0.0) == Both(0.0);
  const auto read = [&](uint64_t i, Pair value) {
    present &= value == value;
    // In this order the comparisons let NaN pass.
    StoreAligned(out->x + i, Smaller(LoadAligned(high + i), Larger(LoadAligned(low + i), value)));
  };
  for (uint64_t i = 0; i < pairs; i += 2) read(i, LoadFloats(from + i));
  if (pairs < view.stride) read(pairs, Pair{static_cast<double>(from[pairs]), 0.0});
  out->missing = !AllTrue(present);
}

/// Which value of a nominal input `x` is: 0 .. categories - 1, or categories for any other.
uint32_t NominalValue(float x, uint32_t categories) {
  const double value = static_cast<double>(x);
  return value >= 0.0 && value < static_cast<double>(categories) ? SaturatingToInt<uint32_t>(value)
                                                                 : categories;
}

/// Calls visit(counts of all values, counts of x's value, values) per nominal input that is present.
template <typename Visit>
void VisitNominal(const NaiveBayesConfig& config, double* counts, std::span<const float> x, Visit visit) {
  for (uint32_t i = 0; i < config.inputs; ++i) {
    const uint32_t categories = config.categories[i];
    if (categories == 0) continue;
    if (!IsNan(x[i])) {
      const uint64_t value = NominalValue(x[i], categories);
      visit(counts, counts + (1 + value) * config.outputs, static_cast<double>(categories) + 1.0);
    }
    counts += CountsOf(categories, config.outputs);
  }
}

/// Adds the logarithms of the frequencies of x's nominal values to each class's score.
void AddNominal(const NaiveBayesConfig& config, const View& view, std::span<const float> x, double* score) {
  Scaled products[kMaxClasses];
  for (uint32_t c = 0; c < config.outputs; ++c) products[c] = {1.0, 0};
  const double prior = kPriorCount * view.head->unit;
  VisitNominal(config, view.nominal, x, [&](const double* all, const double* same, double values) {
    for (uint32_t c = 0; c < config.outputs; ++c)
      products[c].Multiply((same[c] + prior) / (all[c] + prior * values));
  });
  for (uint32_t c = 0; c < config.outputs; ++c) score[c] += products[c].LogOf();
}

void LearnNominal(const NaiveBayesConfig& config, const View& view, std::span<const float> x, uint32_t label,
                  double weight) {
  VisitNominal(config, view.nominal, x, [&](double* all, double* same, double) {
    all[label] += weight;
    same[label] += weight;
  });
}

/// Sum over the inputs of (x - mean)^2 / variance.
double Distance(const View& view, const double* moments, const double* x) {
  const double* mean = moments + view.stride;
  const double* inverse = moments + 3 * view.stride;
  return PairSum(view.stride, [=](size_t i) {
    const Pair deviation = LoadAligned(x + i) - LoadAligned(mean + i);
    return deviation * deviation * LoadAligned(inverse + i);
  });
}

/// Logarithm of the density of the inputs that are present.
double ScoreOfPresent(const View& view, const double* moments, const double* x) {
  const double* mean = moments + view.stride;
  const double* inverse = moments + 3 * view.stride;
  Scaled product = {1.0, 0};
  double sum = 0;
  for (uint64_t i = 0; i < view.stride; ++i) {
    if (IsNan(x[i]) || !(inverse[i] > 0.0)) continue;
    const double deviation = x[i] - mean[i];
    sum += deviation * deviation * inverse[i];
    product.Multiply(inverse[i]);
  }
  return 0.5 * (product.LogOf() - sum);
}

/// Multiplies by e^score, all scores lowered so that the greatest is 0.
void MultiplyByExp(std::span<const double> score, std::span<double> out) {
  if (score.size() == 2) {
    // No branch: which of two classes is likelier is what nobody can guess.
    const double lead = score[1] - score[0];
    const double less = Exp(-std::fabs(lead));
    out[0] *= lead > 0.0 ? less : 1.0;
    out[1] *= lead > 0.0 ? 1.0 : less;
    return;
  }
  double greatest = score[0];
  for (const double one : score) greatest = one > greatest ? one : greatest;
  for (size_t c = 0; c < score.size(); ++c) {
    if (score[c] < greatest) out[c] *= Exp(score[c] - greatest);
  }
}

/// Moments of two inputs, of one class or overall.
struct Moments {
  Pair count;
  Pair mean;
  Pair variance;
};

Pair LeastVariance(Pair mean) {
  return Larger(Both(kFlatRelativeVariance) * (mean * mean), Both(kFlatVariance));
}

/// One weighted value per input joins the moments (West 1979). kMissing: where `weight` is 0 nothing changes.
template <bool kMissing>
Moments Join(Pair value, Pair weight, const Moments& m) {
  const Pair deviation = value - m.mean;
  const Pair count = m.count + weight;
  const Pair rate = weight / (kMissing ? Larger(count, Both(kLeastCount)) : count);
  const Pair step = rate * deviation;
  return {count, m.mean + step, (Both(1.0) - rate) * (m.variance + step * deviation)};
}

/// Inverse variances of a class's inputs, 0 for an input that does not vary.
Pair Inverse(Pair prior, Pair count, Pair variance, const Moments& overall) {
  const Pair all = prior + count;
  const Pair squares = Larger(prior * overall.variance + count * variance,
                              all * (Both(kLeastRelativeVariance) * overall.variance));
  return OrZero(overall.variance > LeastVariance(overall.mean), all / squares);
}

/// Product of the inverse deviations of all inputs that vary, even and odd inputs apart until the end.
void StoreScale(const View& view, uint32_t index) {
  using Words = uint64_t __attribute__((vector_size(16)));
  const double* inverse = view.class_moments(index) + 3 * view.stride;
  Pair part = Both(1.0);
  Words exponents = {};
  for (uint64_t i = 0; i < view.stride;) {
    const uint64_t end = i + 2 * kPairsPerFold < view.stride ? i + 2 * kPairsPerFold : view.stride;
    for (; i < end; i += 2) {
      const Pair factor = LoadAligned(inverse + i);
      part *= factor > Both(0.0) ? factor : Both(1.0);
    }
    Words bits;
    std::memcpy(&bits, &part, sizeof bits);
    exponents += (bits >> 52) - kExponentBias;
    bits = (bits & kMantissaBits) | kOneBits;
    std::memcpy(&part, &bits, sizeof bits);
  }
  Scaled product = {part[0], static_cast<int32_t>(exponents[0] + exponents[1])};
  product.Multiply(part[1]);
  view.classes[index].log_scale = 0.5 * product.LogOf();
}

/// Renews what is kept of a class's variances.
void Refresh(const View& view, uint32_t index) {
  const double* overall = view.overall;
  double* moments = view.class_moments(index);
  const Pair prior = Both(kPriorCount * view.head->unit);
  for (uint64_t i = 0; i < view.stride; i += 2) {
    const Moments all = {LoadAligned(overall + i), LoadAligned(overall + view.stride + i),
                         LoadAligned(overall + 2 * view.stride + i)};
    const Pair count = LoadAligned(moments + i);
    const Pair variance = LoadAligned(moments + 2 * view.stride + i);
    // An input that this class never saw is expected where it is overall.
    const Pair mean = LoadAligned(moments + view.stride + i);
    StoreAligned(moments + view.stride + i, count > Both(0.0) ? mean : all.mean);
    StoreAligned(moments + 3 * view.stride + i, Inverse(prior, count, variance, all));
  }
  StoreScale(view, index);
}

/// A class learns the values of its inputs. Returns whether one began or ceased to vary since the class's
/// variances were last renewed.
template <bool kMissing>
bool LearnNumeric(const View& view, double* moments, const double* x, double weight) {
  const uint64_t stride = view.stride;
  double* overall = view.overall;
  const Pair prior = Both(kPriorCount * view.head->unit);
  PairBits same = Both(0.0) == Both(0.0);
  for (uint64_t i = 0; i < stride; i += 2) {
    Pair value = LoadAligned(x + i);
    Pair weights = Both(weight);
    if (kMissing) {
      weights = value == value ? weights : Both(0.0);
      value = value == value ? value : Both(0.0);
    }
    const Moments all = Join<kMissing>(
        value, weights,
        {LoadAligned(overall + i), LoadAligned(overall + stride + i), LoadAligned(overall + 2 * stride + i)});
    StoreAligned(overall + i, all.count);
    StoreAligned(overall + stride + i, all.mean);
    StoreAligned(overall + 2 * stride + i, all.variance);
    const Moments own = Join<kMissing>(
        value, weights,
        {LoadAligned(moments + i), LoadAligned(moments + stride + i), LoadAligned(moments + 2 * stride + i)});
    const Pair inverse = Inverse(prior, own.count, own.variance, all);
    const Pair before = LoadAligned(moments + 3 * stride + i);
    same &= ~((before > Both(0.0)) ^ (inverse > Both(0.0)));
    StoreAligned(moments + i, own.count);
    // An input that this class never saw is expected where it is overall.
    const Pair mean = kMissing ? (own.count > Both(0.0) ? own.mean : all.mean) : own.mean;
    StoreAligned(moments + stride + i, mean);
    StoreAligned(moments + 2 * stride + i, own.variance);
    StoreAligned(moments + 3 * stride + i, inverse);
  }
  return !AllTrue(same);
}

/// Renews the bounds of what an input may be: once it has varied long enough, so many deviations.
void RenewBounds(const View& view) {
  double* overall = view.overall;
  const uint64_t stride = view.stride;
  for (uint64_t i = 0; i < stride; ++i) {
    const double mean = overall[stride + i];
    const double variance = overall[2 * stride + i];
    const bool bounded =
        overall[i] >= kOutlierCount * view.head->unit && variance > LeastVariance(Both(mean))[0];
    const double reach = bounded ? kOutlierDeviations * std::sqrt(variance) : 0.0;
    const double low = bounded ? mean - reach : -kLargestInput;
    const double high = bounded ? mean + reach : kLargestInput;
    overall[3 * stride + i] = low > -kLargestInput ? low : -kLargestInput;
    overall[4 * stride + i] = high < kLargestInput ? high : kLargestInput;
  }
}

/// One step down the gradient of the label's log loss by the logarithm of `temper`. `answer` is what was
/// predicted; what of it is due to the inputs is left when the class weights are divided out.
void Temper(const View& view, std::span<const double> answer, uint32_t label, double weight) {
  Head& head = *view.head;
  const double prior = kPriorCount * head.unit;
  if (!(view.classes[label].weight > 0.0 && answer[label] > 0.0)) return;
  const double own = (view.classes[label].weight + prior) / answer[label];
  double surprise = 0;
  for (uint32_t c = 0; c < answer.size(); ++c) {
    if (c == label || !(view.classes[c].weight > 0.0 && answer[c] > 0.0)) continue;
    surprise += answer[c] * RoughLog(answer[c] * own / (view.classes[c].weight + prior));
  }
  const double cut = surprise < kLargestSurprise ? surprise : kLargestSurprise;
  const double step = kTemperRate * (weight < 1.0 ? weight : 1.0);
  const double temper = head.temper * (1.0 - step * (cut > -kLargestSurprise ? cut : -kLargestSurprise));
  head.temper = temper < kLeastTemper ? kLeastTemper : (temper > kLargestTemper ? kLargestTemper : temper);
}

void ScaleBack(double* from, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    const double scaled = from[i] * (1.0 / kUnitLimit);
    from[i] = scaled > kLeastCount ? scaled : 0.0;
  }
}

uint64_t NominalDoubles(const NaiveBayesConfig& config) {
  uint64_t doubles = 0;
  for (const uint16_t categories : config.categories)
    doubles += categories == 0 ? 0 : CountsOf(categories, config.outputs);
  return base::AlignUp(doubles, 2);
}

/// Brings all weights back to the size of 1.
void ScaleBackAll(const NaiveBayesConfig& config, const View& view) {
  view.head->unit *= 1.0 / kUnitLimit;
  ScaleBack(&view.head->weight, 1);
  ScaleBack(view.overall, view.stride);
  for (uint32_t c = 0; c < config.outputs; ++c) {
    ScaleBack(&view.classes[c].weight, 1);
    ScaleBack(view.class_moments(c), view.stride);
    Refresh(view, c);
  }
  ScaleBack(view.nominal, NominalDoubles(config));
}

bool InRange(double x, double least, double greatest) { return x >= least && x <= greatest; }

bool AllInRange(const double* x, uint64_t count, double least, double greatest) {
  for (uint64_t i = 0; i < count; ++i) {
    if (!InRange(x[i], least, greatest)) return false;
  }
  return true;
}

bool GoodHeads(const NaiveBayesConfig& config, const View& view) {
  const Head& head = *view.head;
  if (!InRange(head.unit, 1.0, kUnitLimit) || !InRange(head.weight, 0.0, kLargestCount) ||
      !InRange(head.doubt, 0.0, 1.0) || !InRange(head.temper, kLeastTemper, kLargestTemper) ||
      std::bit_cast<uint64_t>(head.reserved) != 0) {
    return false;
  }
  for (uint32_t c = 0; c < config.outputs; ++c) {
    const ClassHead& own = view.classes[c];
    const bool good = InRange(own.weight, 0.0, kLargestCount) &&
                      InRange(own.log_scale, -kLargestLogScale, kLargestLogScale);
    if (!good) return false;
  }
  return true;
}

bool GoodMoments(const double* moments, uint64_t stride) {
  constexpr double kLargestVariance = 1e61;
  return AllInRange(moments, stride, 0.0, kLargestCount) &&
         AllInRange(moments + stride, stride, -2.0 * kLargestInput, 2.0 * kLargestInput) &&
         AllInRange(moments + 2 * stride, stride, 0.0, kLargestVariance);
}

}  // namespace

base::Result<uint64_t> NaiveBayes::StateBytes(const NaiveBayesConfig& config) {
  const bool shape = config.inputs >= 1 && config.inputs <= kMaxInputs && config.outputs >= 2 &&
                     config.outputs <= kMaxClasses && config.classification &&
                     (config.categories.empty() || config.categories.size() == config.inputs);
  if (!shape || !InRange(config.fading, 0.99, 1.0)) return base::Status::kInvalidArgument;
  for (const uint16_t categories : config.categories) {
    if (categories > kMaxCategories) return base::Status::kInvalidArgument;
  }
  return sizeof(Head) + sizeof(ClassHead) * config.outputs +
         sizeof(double) * (base::AlignUp(uint64_t{NumericInputs(config)}, 2) * (5 + 4 * config.outputs) +
                           NominalDoubles(config));
}

base::Status NaiveBayes::Create(const NaiveBayesConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  const View view(config, memory.data());
  view.head->unit = 1.0;
  view.head->doubt = 1.0;
  view.head->temper = 1.0;
  for (uint64_t i = 0; i < view.stride; ++i) {
    view.overall[3 * view.stride + i] = -kLargestInput;
    view.overall[4 * view.stride + i] = kLargestInput;
  }
  return base::Status::kOk;
}

base::Status NaiveBayes::Validate(const NaiveBayesConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const View view(config, const_cast<uint8_t*>(memory.data()));
  if (!GoodHeads(config, view) || !GoodMoments(view.overall, view.stride)) return base::Status::kDataLoss;
  const double* low = view.overall + 3 * view.stride;
  const double* high = low + view.stride;
  for (uint64_t i = 0; i < view.stride; ++i) {
    if (!(low[i] >= -kLargestInput && low[i] <= high[i] && high[i] <= kLargestInput))
      return base::Status::kDataLoss;
  }
  for (uint32_t c = 0; c < config.outputs; ++c) {
    const double* moments = view.class_moments(c);
    const double* inverse = moments + 3 * view.stride;
    if (!GoodMoments(moments, view.stride)) return base::Status::kDataLoss;
    for (uint64_t i = 0; i < view.stride; ++i) {
      if (inverse[i] != 0.0 && !InRange(inverse[i], 1e-62, 1e77)) return base::Status::kDataLoss;
    }
  }
  return AllInRange(view.nominal, NominalDoubles(config), 0.0, kLargestCount) ? base::Status::kOk
                                                                              : base::Status::kDataLoss;
}

void NaiveBayes::Predict(std::span<const float> x, std::span<double> out) const {
  DIPPER_CHECK(x.size() == config_.inputs && out.size() == config_.outputs);
  const View view(config_, memory_);
  const uint32_t classes = config_.outputs;
  const double uniform = 1.0 / static_cast<double>(classes);
  Values value;
  double score[kMaxClasses];
  ReadNumeric(config_, view, x, &value);
  for (uint32_t c = 0; c < classes; ++c) {
    const double* moments = view.class_moments(c);
    score[c] = value.missing ? ScoreOfPresent(view, moments, value.x)
                             : view.classes[c].log_scale - 0.5 * Distance(view, moments, value.x);
  }
  if (!config_.categories.empty()) AddNominal(config_, view, x, score);
  const double prior = kPriorCount * view.head->unit;
  for (uint32_t c = 0; c < classes; ++c) {
    const double weight = view.classes[c].weight;
    out[c] = weight > 0.0 ? weight + prior : 0.0;
    score[c] = weight > 0.0 ? score[c] * view.head->temper : kUnseen;
  }
  MultiplyByExp({score, classes}, out);
  const double sum = classes == 2 ? out[0] + out[1] : Sum(std::span<const double>(out));
  if (!(sum > 0.0)) {  // no label yet
    for (double& p : out) p = uniform;
    return;
  }
  const double scale = (1.0 - view.head->doubt) / sum;
  const double shared = view.head->doubt * uniform;
  for (uint32_t c = 0; c < classes; ++c) out[c] = out[c] * scale + shared;
}

void NaiveBayes::Learn(std::span<const float> x, std::span<const double> stored_out, double y,
                       double weight) {
  DIPPER_CHECK(x.size() == config_.inputs && stored_out.size() == config_.outputs);
  DIPPER_CHECK(y >= 0.0 && y < static_cast<double>(config_.outputs));
  if (!(weight > 0.0)) return;
  const View view(config_, memory_);
  const uint32_t label = SaturatingToInt<uint32_t>(y);
  Head& head = *view.head;
  ClassHead& own = view.classes[label];
  if (config_.tempered) Temper(view, stored_out, label, weight);
  const double weighted = (weight < kLargestWeight ? weight : kLargestWeight) * head.unit;
  Values value;
  ReadNumeric(config_, view, x, &value);
  head.labels += 1;
  head.weight += weighted;
  own.weight += weighted;
  double* moments = view.class_moments(label);
  const bool changed = value.missing ? LearnNumeric<true>(view, moments, value.x, weighted)
                                     : LearnNumeric<false>(view, moments, value.x, weighted);
  if (!config_.categories.empty()) LearnNominal(config_, view, x, label, weighted);
  StoreScale(view, label);
  if (head.labels % kLabelsPerBounds == 0) RenewBounds(view);
  // Densities compare only if they are of the same inputs.
  for (uint32_t c = 0; changed && c < config_.outputs; ++c) Refresh(view, c);
  // Nothing is surer than so many labels can tell.
  const double spread = static_cast<double>(config_.outputs) * head.unit;
  head.doubt = spread / (head.weight + spread);
  if (!(config_.fading < 1.0)) return;
  head.unit *= 1.0 / config_.fading;
  if (head.unit >= kUnitLimit) ScaleBackAll(config_, view);
}

}  // namespace dipper::learn
