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

using namespace bayes;  // NOLINT(google-build-using-namespace): this learner's own layout

constexpr double kLargestWeight = 1e6;

constexpr double kOutlierDeviations = 20.0;
constexpr double kOutlierCount = 30.0;
// Bounds, and which inputs vary at all, are found anew at each of the first labels, then now and then.
constexpr uint64_t kLabelsPerBounds = 16;
constexpr uint64_t kFirstLabels = 64;
// A deviation below this part of the mean is float32 rounding, not variation.
constexpr double kFlatRelativeVariance = 1e-14;
constexpr double kFlatVariance = 1e-70;
// A thousandth of the overall deviation is about one step of a 10 to 12 bit converter: no class is narrower.
constexpr double kLeastRelativeVariance = 1e-6;
constexpr double kLeastCount = 1e-100;  // below this, a count that faded away is none
constexpr double kUnseen = -1e300;      // score of a class without labels
// How fast the evidence is tempered, per unit of surprise, and how much one label can surprise.
constexpr double kTemperRate = 0.005;
constexpr double kLargestSurprise = 3.0;
// Of inverse variances (1e-62 .. 1e76) four can be multiplied before the product needs its exponent taken
// out.
constexpr uint32_t kPairsPerFold = 4;

/// The numeric inputs of a row, one after another.
void GatherNumeric(const NaiveBayesConfig& config, std::span<const float> x, float* out) {
  uint64_t count = 0;
  for (uint32_t i = 0; i < config.inputs; ++i) {
    if (config.categories[i] == 0) out[count++] = x[i];
  }
}

inline bool HasMissing(const float* x, uint64_t count) {
  PairBits present = Both(0.0) == Both(0.0);
  uint64_t i = 0;
  for (; i + 2 <= count; i += 2) {
    const Pair value = LoadFloats(x + i);
    present = BothTrue(present, value == value);
  }
  return !AllTrue(present) || (i < count && IsNan(x[i]));
}

/// Inputs i and i + 1, each cut to its `low` .. `high`; 0 beyond the last one. NaN passes.
inline Pair ValueAt(const View& view, const float* x, uint64_t i) {
  const Pair value = i + 1 < view.numeric ? LoadFloats(x + i) : Pair{static_cast<double>(x[i]), 0.0};
  const double* low = view.overall + 3 * view.stride;
  // In this order the comparisons let NaN pass.
  return Smaller(LoadAligned(low + view.stride + i), Larger(LoadAligned(low + i), value));
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
  return PairSum(static_cast<size_t>(view.stride), [=](size_t i) {
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
  double greatest = score[0];
  for (const double one : score) greatest = one > greatest ? one : greatest;
  for (size_t c = 0; c < score.size(); ++c) {
    if (score[c] < greatest) out[c] *= Exp(score[c] - greatest);
  }
}

/// Answers for two classes without a branch on which of them is likelier, which nobody could guess. Returns
/// false, and changes nothing, if a value is missing or a class has no labels yet.
bool PredictTwo(const View& view, const float* x, double* out) {
  const ClassHead& first = view.classes[0];
  const ClassHead& second = view.classes[1];
  const double* mean = view.class_moments(0) + view.stride;
  const double* inverse = mean + 2 * view.stride;
  const double* other_mean = view.class_moments(1) + view.stride;
  const double* other_inverse = other_mean + 2 * view.stride;
  PairBits present = Both(0.0) == Both(0.0);
  const double nearer = PairSum(static_cast<size_t>(view.stride), [&](size_t i) {
    const Pair value = ValueAt(view, x, i);
    present = BothTrue(present, value == value);
    const Pair deviation = value - LoadAligned(mean + i);
    const Pair other = value - LoadAligned(other_mean + i);
    return deviation * deviation * LoadAligned(inverse + i) - other * other * LoadAligned(other_inverse + i);
  });
  if (!AllTrue(present) || !(first.weight > 0.0) || !(second.weight > 0.0)) return false;
  const double lead = ((second.log_scale - first.log_scale) + 0.5 * nearer) * view.head->temper;
  const double less = Exp(-std::fabs(lead));
  const PairBits second_leads = Both(lead) > Both(0.0);
  const Pair prior = Both(kPriorCount * view.head->unit);
  const Pair weighed =
      (Pair{first.weight, second.weight} + prior) * (second_leads ? Pair{less, 1.0} : Pair{1.0, less});
  const double doubt = view.head->doubt;
  const double scale = (1.0 - doubt) / (weighed[0] + weighed[1]);
  StorePair(out, weighed * Both(scale) + Both(0.5 * doubt));
  return true;
}

/// Apart, so that its arrays cost nothing where they are not needed.
[[gnu::noinline]] void PredictAny(const NaiveBayesConfig& config, const View& view, std::span<const float> x,
                                  std::span<double> out) {
  float gathered[kMaxInputs];
  alignas(16) double value[kMaxInputs];
  double score[kMaxClasses];
  const uint32_t classes = config.outputs;
  if (view.mixed) GatherNumeric(config, x, gathered);
  const float* numeric = view.mixed ? gathered : x.data();
  for (uint64_t i = 0; i < view.stride; i += 2) StoreAligned(value + i, ValueAt(view, numeric, i));
  const bool missing = HasMissing(numeric, view.numeric);
  for (uint32_t c = 0; c < classes; ++c) {
    const double* moments = view.class_moments(c);
    score[c] = missing ? ScoreOfPresent(view, moments, value)
                       : view.classes[c].log_scale - 0.5 * Distance(view, moments, value);
  }
  if (view.mixed) AddNominal(config, view, x, score);
  const double prior = kPriorCount * view.head->unit;
  for (uint32_t c = 0; c < classes; ++c) {
    const double weight = view.classes[c].weight;
    out[c] = weight > 0.0 ? weight + prior : 0.0;
    score[c] = weight > 0.0 ? score[c] * view.head->temper : kUnseen;
  }
  MultiplyByExp({score, classes}, out);
  const double sum = Sum(std::span<const double>(out));
  const double uniform = 1.0 / static_cast<double>(classes);
  if (!(sum > 0.0)) {  // no label yet
    for (double& p : out) p = uniform;
    return;
  }
  const double scale = (1.0 - view.head->doubt) / sum;
  const double shared = view.head->doubt * uniform;
  for (uint32_t c = 0; c < classes; ++c) out[c] = out[c] * scale + shared;
}

/// Moments of two inputs, of one class or overall.
struct Moments {
  Pair mean;
  Pair variance;
};

inline Moments LoadMoments(const View& view, const double* from, uint64_t i) {
  return {LoadAligned(from + view.stride + i), LoadAligned(from + 2 * view.stride + i)};
}
inline void StoreMoments(const View& view, double* to, uint64_t i, const Moments& m) {
  StoreAligned(to + view.stride + i, m.mean);
  StoreAligned(to + 2 * view.stride + i, m.variance);
}

Pair LeastVariance(Pair mean) {
  return Larger(Both(kFlatRelativeVariance) * (mean * mean), Both(kFlatVariance));
}

/// One weighted value per input joins the moments (West 1979). rate: its part of the weight with it.
inline Moments Join(Pair value, Pair rate, const Moments& m) {
  const Pair deviation = value - m.mean;
  const Pair step = rate * deviation;
  return {m.mean + step, (Both(1.0) - rate) * (m.variance + step * deviation)};
}

/// Inverse variances of a class's inputs.
inline Pair Inverse(Pair prior, Pair count, Pair variance, Pair overall) {
  const Pair all = prior + count;
  const Pair least = Larger(Both(kLeastRelativeVariance) * overall, Both(kFlatVariance));
  return all / Larger(prior * overall + count * variance, all * least);
}

/// Product of the inverse deviations of all inputs that vary, even and odd inputs apart until the end.
class ScaleProduct {
 public:
  void Multiply(Pair inverse, PairBits varies) {
    part_ *= varies ? inverse : Both(1.0);
    if (++pairs_ % kPairsPerFold == 0) Fold();
  }
  Scaled Product() {
    if (pairs_ % kPairsPerFold != 0) Fold();
    Scaled product = {part_[0], static_cast<int32_t>(exponents_[0] + exponents_[1])};
    product.Multiply(part_[1]);
    return product;
  }

 private:
  using Words = uint64_t __attribute__((vector_size(16)));
  void Fold() {
    const Words bits = std::bit_cast<Words>(part_);
    exponents_ += (bits >> 52) - kExponentBias;
    part_ = std::bit_cast<Pair>((bits & kMantissaBits) | kOneBits);
  }
  Pair part_ = Both(1.0);
  Words exponents_ = {};
  uint32_t pairs_ = 0;
};

/// Renews what is kept of a class's variances, and of which inputs vary.
void Refresh(const View& view, uint32_t index) {
  double* moments = view.class_moments(index);
  const Pair prior = Both(kPriorCount * view.head->unit);
  const Pair weight = Both(view.classes[index].weight);
  ScaleProduct scale;
  for (uint64_t i = 0; i < view.stride; i += 2) {
    const Moments all = LoadMoments(view, view.overall, i);
    const Moments own = LoadMoments(view, moments, i);
    const Pair count = view.head->gaps != 0 ? LoadAligned(moments + i) : weight;
    // An input that this class never saw is expected where it is overall.
    StoreAligned(moments + view.stride + i, count > Both(0.0) ? own.mean : all.mean);
    const PairBits varies = all.variance > LeastVariance(all.mean);
    const Pair inverse = Inverse(prior, count, own.variance, all.variance);
    StoreAligned(moments + 3 * view.stride + i, OrZero(varies, inverse));
    scale.Multiply(inverse, varies);
  }
  view.classes[index].log_scale = 0.5 * scale.Product().LogOf();
}

/// The moments of a class and overall learn one row; `weight` is already in the weights of both. kGaps: every
/// input has weights of its own; else they are those of the class.
template <bool kGaps>
[[gnu::always_inline]] inline void LearnMoments(const View& view, uint32_t label, const float* x,
                                                double weight) {
  ClassHead& head = view.classes[label];
  double* overall = view.overall;
  double* moments = view.class_moments(label);
  const Pair prior = Both(kPriorCount * view.head->unit);
  const Pair rates = Both(weight) / Pair{view.head->weight, head.weight};
  Pair rate = Both(rates[0]);
  Pair own_rate = Both(rates[1]);
  Pair count = Both(head.weight);
  ScaleProduct scale;
  for (uint64_t i = 0; i < view.stride; i += 2) {
    Pair value = ValueAt(view, x, i);
    if (kGaps) {
      const PairBits present = value == value;
      const Pair weights = OrZero(present, Both(weight));
      value = OrZero(present, value);
      const Pair all_count = LoadAligned(overall + i) + weights;
      count = LoadAligned(moments + i) + weights;
      StoreAligned(overall + i, all_count);
      StoreAligned(moments + i, count);
      rate = weights / Larger(all_count, Both(kLeastCount));
      own_rate = weights / Larger(count, Both(kLeastCount));
    }
    const Moments all = Join(value, rate, LoadMoments(view, overall, i));
    StoreMoments(view, overall, i, all);
    Moments own = Join(value, own_rate, LoadMoments(view, moments, i));
    // An input that this class never saw is expected where it is overall.
    if (kGaps) own.mean = count > Both(0.0) ? own.mean : all.mean;
    StoreMoments(view, moments, i, own);
    const PairBits varies = LoadAligned(moments + 3 * view.stride + i) > Both(0.0);
    const Pair inverse = Inverse(prior, count, own.variance, all.variance);
    StoreAligned(moments + 3 * view.stride + i, OrZero(varies, inverse));
    scale.Multiply(inverse, varies);
  }
  head.log_scale = 0.5 * scale.Product().LogOf();
}

/// From now on every input has weights of its own.
void BeginGaps(const View& view, uint32_t classes) {
  view.head->gaps = 1;
  for (uint64_t i = 0; i < view.stride; ++i) view.overall[i] = view.head->weight;
  for (uint32_t c = 0; c < classes; ++c) {
    double* count = view.class_moments(c);
    for (uint64_t i = 0; i < view.stride; ++i) count[i] = view.classes[c].weight;
  }
}

/// The weights of all and of the class, and the moments of the numeric inputs. Always inlined: with a view of
/// its own, every store would make the compiler read the places anew.
[[gnu::always_inline]] inline void LearnNumeric(const NaiveBayesConfig& config, const View& view,
                                                const float* x, uint32_t label, double weight) {
  Head& head = *view.head;
  if (head.gaps == 0 && HasMissing(x, view.numeric)) BeginGaps(view, config.outputs);
  head.weight += weight;
  view.classes[label].weight += weight;
  if (head.gaps != 0) {
    LearnMoments<true>(view, label, x, weight);
  } else {
    LearnMoments<false>(view, label, x, weight);
  }
}

/// Renews the bounds of what an input may be: once it has varied long enough, so many deviations. If one
/// began or ceased to vary, renews all classes, since densities compare only if they are of the same inputs.
void RenewBounds(const NaiveBayesConfig& config, const View& view) {
  double* overall = view.overall;
  const uint64_t stride = view.stride;
  const double* inverse = view.class_moments(0) + 3 * stride;  // > 0 for the same inputs in every class
  bool changed = false;
  for (uint64_t i = 0; i < stride; ++i) {
    const double mean = overall[stride + i];
    const double variance = overall[2 * stride + i];
    const double count = view.head->gaps != 0 ? overall[i] : view.head->weight;
    const bool varies = variance > LeastVariance(Both(mean))[0];
    const bool bounded = varies && count >= kOutlierCount * view.head->unit;
    const double reach = bounded ? kOutlierDeviations * std::sqrt(variance) : 0.0;
    const double low = bounded ? mean - reach : -kLargestInput;
    const double high = bounded ? mean + reach : kLargestInput;
    overall[3 * stride + i] = low > -kLargestInput ? low : -kLargestInput;
    overall[4 * stride + i] = high < kLargestInput ? high : kLargestInput;
    changed |= varies != (inverse[i] > 0.0);
  }
  for (uint32_t c = 0; changed && c < config.outputs; ++c) Refresh(view, c);
}

/// One step down the gradient of the label's log loss by the logarithm of `temper`. `answer` is what was
/// predicted; what of it is due to the inputs is left when the class weights are divided out.
void Temper(const View& view, std::span<const double> answer, uint32_t label, double weight) {
  Head& head = *view.head;
  const double prior = kPriorCount * head.unit;
  const double own = view.classes[label].weight + prior;
  if (!(view.classes[label].weight > 0.0 && answer[label] > 0.0)) return;
  // Of two classes the other one; of more all, since the label's own term is 0.
  const uint32_t first = answer.size() == 2 ? 1 - label : 0;
  const uint32_t end = answer.size() == 2 ? 2 - label : static_cast<uint32_t>(answer.size());
  double surprise = 0;
  for (uint32_t c = first; c < end; ++c) {
    const double other = view.classes[c].weight;
    if (!(other > 0.0 && answer[c] > 0.0)) continue;
    surprise += answer[c] * RoughLog(answer[c] * own / (answer[label] * (other + prior)));
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

}  // namespace

void NaiveBayes::Predict(std::span<const float> x, std::span<double> out) const {
  DIPPER_CHECK(x.size() == config_.inputs && out.size() == config_.outputs);
  const View view(config_, memory_);
  if (out.size() == 2 && !view.mixed && PredictTwo(view, x.data(), out.data())) return;
  PredictAny(config_, view, x, out);
}

void NaiveBayes::Learn(std::span<const float> x, std::span<const double> stored_out, double y,
                       double weight) {
  DIPPER_CHECK(x.size() == config_.inputs && stored_out.size() == config_.outputs);
  DIPPER_CHECK(y >= 0.0 && y < static_cast<double>(config_.outputs));
  if (!(weight > 0.0)) return;
  const View view(config_, memory_);
  const uint32_t label = SaturatingToInt<uint32_t>(y);
  Head& head = *view.head;
  if (config_.tempered) Temper(view, stored_out, label, weight);
  const double weighted = (weight < kLargestWeight ? weight : kLargestWeight) * head.unit;
  head.labels += 1;
  float gathered[kMaxInputs];
  if (view.mixed) GatherNumeric(config_, x, gathered);
  LearnNumeric(config_, view, view.mixed ? gathered : x.data(), label, weighted);
  if (view.mixed) LearnNominal(config_, view, x, label, weighted);
  if (head.labels % kLabelsPerBounds == 0 || head.labels < kFirstLabels) RenewBounds(config_, view);
  // Nothing is surer than so many labels can tell.
  const double spread = static_cast<double>(config_.outputs) * head.unit;
  head.doubt = spread / (head.weight + spread);
  if (!(config_.fading < 1.0)) return;
  head.unit /= config_.fading;
  if (head.unit >= kUnitLimit) ScaleBackAll(config_, view);
}

}  // namespace dipper::learn
