// See hoeffding_tree_leaf.h.
#include "agent/learn/learners/hoeffding_tree_leaf.h"

#include <cmath>

#include "agent/learn/learners/hoeffding_tree_observer.h"
#include "agent/learn/learners/pairs.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn::tree {
namespace {

constexpr double kSquaredRate = 0.005;  // of normalized least mean squares, after the leaf's first labels
constexpr double kFirstLabels = 10;
constexpr double kBitsPerNat = 0x1.71547652b82fep+0;
// Least squares: memory of about a thousand labels; variance of a weight before the first label (in units of
// the noise), below which it stays; least variance of a direction; labels that a parent's knowledge counts in
// a child; and a bound of the factors far from what learning reaches.
constexpr double kGrowth = 1.001;
constexpr double kPrior = 30.0;
constexpr double kLeastD = 1e-12;
constexpr double kInheritedLabels = 20;
constexpr double kLargestFactor = 1e6;
constexpr double kLeastWeight = 1e-9;
constexpr double kRefresh = 64;  // labels between refreshments of the standardization, once there are as many
constexpr double kFlat = 1e-60;  // a variance below is none
constexpr double kLeastTotal = 1e-300;
constexpr float kLargestFloat = 3.4028235e38F;
constexpr float kLargestInput = 5.0F;  // standard deviations that one input counts in the linear model
// Of a linear weight: targets go to 1e30, and sums of all terms stay far from infinity.
constexpr float kLargestLinear = 1e32F;

double Cut(double x, double limit) { return x > limit ? limit : (x < -limit ? -limit : x); }

uint32_t DenseWidth(const PoolHeader& header) { return (header.numeric + 1 + 3) / 4 * 4; }

/// Calls visit(weight index) for the one-hot weight of every nominal input that is present.
template <typename Visit>
void VisitNominal(const View& view, std::span<const float> x, Visit visit) {
  if (!view.has_nominal()) return;
  for (uint32_t i = view.header->numeric; i < view.header->inputs; ++i) {
    const Column& column = view.columns[i];
    const float value = x[column.input];
    if (IsFinite(value)) visit(column.linear_float + NominalValue(value, column.categories));
  }
}

double SquaredNorm(const View& view, const Sample& sample) {
  double norm = static_cast<double>(QuadSum(DenseWidth(*view.header), [&](uint32_t i) {
    const Quad z = LoadQuad(sample.z + i);
    return z * z;
  }));
  VisitNominal(view, sample.x, [&](uint32_t) { norm += 1.0; });
  return norm;
}

float CutLinear(float x) {
  return x > kLargestLinear ? kLargestLinear : (x < -kLargestLinear ? -kLargestLinear : x);
}

/// Targets may be great enough for a weight to need the cut; class scores are not.
template <bool kCut>
void StepRow(const View& view, float* row, const Sample& sample, float step) {
  const uint32_t width = DenseWidth(*view.header);
  for (uint32_t i = 0; i < width; i += 4) {
    const Quad moved = LoadQuad(row + i) + All(step) * LoadQuad(sample.z + i);
    StoreQuad(row + i, kCut ? Larger(Smaller(moved, All(kLargestLinear)), All(-kLargestLinear)) : moved);
  }
  VisitNominal(view, sample.x, [&](uint32_t at) { row[at] = CutLinear(row[at] + step); });
}

/// Recursive least squares over the numeric inputs and the bias: Bierman's update of the factors of the
/// covariance U D U' (Factorization methods for discrete sequential estimation, 1977, chapter V). U's columns
/// above the diagonal are packed with D behind each.
void LeastSquaresStep(const View& view, ModelHead* model, const Sample& sample, double error, double weight) {
  const uint32_t size = view.header->numeric + 1;
  double gain[kMaxLeastSquares];
  float* column = view.covariance(model);
  double alpha = 1.0 / (weight > kLeastWeight ? weight : kLeastWeight);
  for (uint32_t j = 0; j < size; column += ++j) {
    double f = static_cast<double>(sample.z[j]);
    for (uint32_t i = 0; i < j; ++i) f += static_cast<double>(column[i]) * static_cast<double>(sample.z[i]);
    const double kept = static_cast<double>(column[j]) * kGrowth;
    const double d = kept < kPrior ? kept : kPrior;
    const double v = d * f;
    const double before = alpha;
    alpha += f * v;
    gain[j] = v;
    const double shrunk = d * (before / alpha);
    column[j] = static_cast<float>(shrunk > kLeastD ? shrunk : kLeastD);
    const double lambda = -f / before;
    for (uint32_t i = 0; i < j; ++i) {
      const double old = static_cast<double>(column[i]);
      column[i] = static_cast<float>(Cut(old + lambda * gain[i], kLargestFactor));
      gain[i] += v * old;
    }
  }
  float* row = view.linear(model);
  const double step = error / alpha;
  for (uint32_t i = 0; i < size; ++i)
    row[i] = CutLinear(ToFloat(static_cast<double>(row[i]) + step * gain[i]));
}

/// Least squares for the numeric inputs, if there are not too many; normalized steps for the rest.
void ValueStep(const View& view, ModelHead* model, const Sample& sample, double error, double weight) {
  const double rate = weight * (kSquaredRate + 1.0 / (kFirstLabels + model->weight));
  float* row = view.linear(model);
  if (!UsesLeastSquares(view)) {
    StepRow<true>(view, row, sample, ToFloat(rate * error / (1.0 + SquaredNorm(view, sample) * rate)));
    return;
  }
  LeastSquaresStep(view, model, sample, error, weight);
  double present = 0;
  VisitNominal(view, sample.x, [&](uint32_t) { present += 1.0; });
  const float step = ToFloat(rate * error / (1.0 + present * rate));
  VisitNominal(view, sample.x, [&](uint32_t at) { row[at] = CutLinear(row[at] + step); });
}

}  // namespace

bool UsesLeastSquares(const View& view) { return view.header->numeric + 1 <= kMaxLeastSquares; }

void StartCovariance(const View& view, ModelHead* model) {
  if (view.classification() || !UsesLeastSquares(view)) return;
  float* column = view.covariance(model);
  for (uint32_t j = 0; j <= view.header->numeric; column += ++j) column[j] = static_cast<float>(kPrior);
}

void LoosenCovariance(const View& view, ModelHead* model) {
  if (view.classification() || !UsesLeastSquares(view)) return;
  float* column = view.covariance(model);
  const double factor = model->weight > kInheritedLabels ? model->weight / kInheritedLabels : 1.0;
  for (uint32_t j = 0; j <= view.header->numeric; column += ++j) {
    const double d = static_cast<double>(column[j]) * factor;
    column[j] = static_cast<float>(d < kPrior ? d : kPrior);
  }
}

void Standardize(const View& view, std::span<const float> x, Sample* sample) {
  const uint32_t numeric = view.header->numeric;
  const uint32_t width = view.Width();
  sample->x = x;
  for (uint32_t i = 0; i < numeric; ++i) sample->value[i] = x[view.columns[i].input];
  for (uint32_t i = numeric; i < width; ++i) sample->value[i] = 0.0F;
  QuadInt all_there = AllInt(-1);
  const Quad most = All(kLargestObserved);
  const Quad limit = All(kLargestInput);
  for (uint32_t i = 0; i < width; i += 4) {
    const Quad raw = LoadQuad(sample->value + i);
    const QuadInt there = (raw <= All(kLargestFloat)) & (raw >= All(-kLargestFloat));
    all_there &= there;
    const Quad value = Larger(Smaller(raw, most), -most);
    StoreQuad(sample->value + i, there ? value : All(CanonicalNanFloat()));
    const Quad z = (value - LoadQuad(view.moments.center + i)) * LoadQuad(view.moments.scale + i);
    StoreQuad(sample->z + i, there ? Larger(Smaller(z, limit), -limit) : All(0.0F));
  }
  sample->missing = (all_there[0] & all_there[1] & all_there[2] & all_there[3]) == 0;
  for (uint32_t i = width; i < DenseWidth(*view.header); ++i) sample->z[i] = 0.0F;
  sample->z[numeric] = 1.0F;
}

Predictor BestPredictor(const View& view, const Node& leaf) {
  const ModelHead& head = *view.model(leaf.model);
  Predictor best = Predictor::kBase;
  double least = head.base_error;
  if (leaf.stats != kNone && view.classification() && head.bayes_error <= least) {
    best = Predictor::kBayes;
    least = head.bayes_error;
  }
  return head.linear_error < least ? Predictor::kLinear : best;
}

void BaseProbabilities(const View& view, const Node& leaf, std::span<double> out) {
  const double* weights = view.class_weights(view.model(leaf.model));
  double total = 0;
  for (size_t c = 0; c < out.size(); ++c) total += weights[c];
  for (size_t c = 0; c < out.size(); ++c)
    out[c] = total > 0.0 ? weights[c] / total : 1.0 / static_cast<double>(out.size());
}

void LinearScores(const View& view, const Node& leaf, const Sample& sample, std::span<double> out) {
  const float* row = view.linear(view.model(leaf.model));
  const float* z = sample.z;
  const uint32_t width = DenseWidth(*view.header);
  for (uint32_t k = 0; k < view.header->linear_rows; ++k, row += view.header->linear_width) {
    double score =
        static_cast<double>(QuadSum(width, [=](uint32_t i) { return LoadQuad(row + i) * LoadQuad(z + i); }));
    VisitNominal(view, sample.x, [&](uint32_t at) { score += static_cast<double>(row[at]); });
    out[k] = score;
  }
}

double AddLinearTerms(const View& view, const Node& leaf, const Sample& sample, uint32_t k, double scale,
                      std::span<double> terms) {
  const float* row = view.linear(view.model(leaf.model)) + k * view.header->linear_width;
  double sum = 0;
  const auto add = [&](uint32_t column, double term) {
    sum += term;
    if (!terms.empty()) terms[view.columns[column].input] += scale * term;
  };
  for (uint32_t i = 0; i < view.header->numeric; ++i)
    add(i, static_cast<double>(row[i]) * static_cast<double>(sample.z[i]));
  for (uint32_t i = view.header->numeric; i < view.header->inputs; ++i) {
    const Column& column = view.columns[i];
    const float value = sample.x[column.input];
    if (IsFinite(value))
      add(i, static_cast<double>(row[column.linear_float + NominalValue(value, column.categories)]));
  }
  return sum;
}

void Softmax(std::span<double> scores) {
  const uint32_t count = static_cast<uint32_t>(scores.size());
  const double greatest = scores[Greatest(scores)];
  alignas(16) float powers[kMaxOutputs];
  for (uint32_t i = 0; i < count; ++i) {
    // Also what is left of two infinities becomes -126.
    const double power = (scores[i] - greatest) * kBitsPerNat;
    powers[i] = power > -126.0 ? static_cast<float>(power) : -126.0F;
  }
  for (uint32_t i = count; i % 4 != 0; ++i) powers[i] = -126.0F;
  for (uint32_t i = 0; i < count; i += 4) StoreQuad(powers + i, QuadExp2(LoadQuad(powers + i)));
  double sum = 0;
  for (uint32_t i = 0; i < count; ++i) sum += static_cast<double>(powers[i]);
  const double scale = 1.0 / sum;
  for (uint32_t i = 0; i < count; ++i) scores[i] = static_cast<double>(powers[i]) * scale;
}

void LinearAnswer(const View& view, const Node& leaf, const Sample& sample, std::span<double> out) {
  if (!view.classification()) {
    double offset = 0;
    LinearScores(view, leaf, sample, {&offset, 1});
    out[0] = view.model(leaf.model)->mean + offset;
  } else if (view.header->linear_rows == 1) {
    double score = 0;
    LinearScores(view, leaf, sample, {&score, 1});
    const double power = Cut(score, 80.0) * -kBitsPerNat;
    out[1] = 1.0 / (1.0 + static_cast<double>(QuadExp2(All(static_cast<float>(power)))[0]));
    out[0] = 1.0 - out[1];
  } else {
    LinearScores(view, leaf, sample, out);
    Softmax(out);
  }
}

void LeafAnswer(const View& view, const Node& leaf, const Sample& sample, std::span<double> out) {
  switch (BestPredictor(view, leaf)) {
    case Predictor::kLinear:
      LinearAnswer(view, leaf, sample, out);
      return;
    case Predictor::kBayes:
      BayesScores(view, view.stats_head(leaf.stats), sample, out);
      if (out[Greatest(out)] > kUnseen) {
        Softmax(out);
        return;
      }
      break;  // no label yet
    case Predictor::kBase:
      break;
  }
  if (view.classification()) {
    BaseProbabilities(view, leaf, out);
  } else {
    out[0] = view.model(leaf.model)->mean;
  }
}

void LinearStep(const View& view, const Node& leaf, const Sample& sample, std::span<const double> answer,
                double y, double weight, double rate) {
  ModelHead* model = view.model(leaf.model);
  float* row = view.linear(model);
  // A heavy weight may not step past the optimum of a sample.
  const double capped = weight < 4.0 ? weight : 4.0;
  if (!view.classification()) {
    ValueStep(view, model, sample, y - answer[0], capped);
    return;
  }
  for (uint32_t k = 0; k < view.header->linear_rows; ++k, row += view.header->linear_width) {
    const uint32_t row_class = view.header->linear_rows == 1 ? 1 : k;
    const double error = (y == static_cast<double>(row_class) ? 1.0 : 0.0) - answer[row_class];
    StepRow<false>(view, row, sample, static_cast<float>(capped * rate * error));
  }
}

void UpdateMoments(const View& view, const Sample& sample, double weight) {
  const Moments& moments = view.moments;
  const uint32_t width = view.Width();
  for (uint32_t i = 0; i < width; i += 2) {
    const Pair raw = {static_cast<double>(sample.value[i]), static_cast<double>(sample.value[i + 1])};
    const Pair mean = LoadPair(moments.mean + i);
    const Pair there = raw == raw ? Both(weight) : Both(0.0);
    const Pair value = raw == raw ? raw : mean;
    const Pair total = LoadPair(moments.weight + i) + there;
    const Pair before = value - mean;
    const Pair moved = mean + before * (there / learn::Larger(total, Both(kLeastTotal)));
    StorePair(moments.weight + i, total);
    StorePair(moments.mean + i, moved);
    // Rounding of the mean can make a zero term negative.
    StorePair(moments.square + i,
              learn::Larger(LoadPair(moments.square + i) + there * before * (value - moved), Both(0.0)));
  }
  // A square root and two divisions for every input and label would be a good part of the cost of learning.
  const double labels = view.header->labels;
  if (labels >= kRefresh && !(std::floor(labels / kRefresh) > std::floor((labels - weight) / kRefresh)))
    return;
  for (uint32_t i = 0; i < view.header->numeric; ++i) {
    const double total = moments.weight[i];
    const double variance = total > 0.0 ? moments.square[i] / total : 0.0;
    moments.center[i] = static_cast<float>(moments.mean[i]);
    moments.scale[i] = variance > kFlat ? static_cast<float>(1.0 / std::sqrt(variance)) : 0.0F;
  }
}

}  // namespace dipper::learn::tree
