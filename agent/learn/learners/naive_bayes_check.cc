// See naive_bayes.h: sizes, and taking over an image after checking it.
#include "agent/learn/learners/naive_bayes.h"
#include "agent/learn/learners/naive_bayes_layout.h"
#include "agent/learn/math/counts.h"

namespace dipper::learn {
namespace {

using namespace bayes;  // NOLINT(google-build-using-namespace): this learner's own layout

bool InRange(double x, double least, double greatest) { return x >= least && x <= greatest; }

bool AllInRange(const double* x, uint64_t count, double least, double greatest) {
  for (uint64_t i = 0; i < count; ++i) {
    if (!InRange(x[i], least, greatest)) return false;
  }
  return true;
}

bool GoodHeads(const NaiveBayesConfig& config, const View& view) {
  const Head& head = *view.head;
  if (!ValidCounts(head.labels) || !InRange(head.unit, 1.0, kUnitLimit) ||
      !InRange(head.weight, 0.0, kLargestCount) || !InRange(head.doubt, 0.0, 1.0) ||
      !InRange(head.temper, kLeastTemper, kLargestTemper) || head.gaps > 1) {
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

bool GoodMoments(const View& view, const double* moments) {
  constexpr double kLargestVariance = 1e61;
  const uint64_t stride = view.stride;
  return AllInRange(moments, stride, 0.0, view.head->gaps != 0 ? kLargestCount : 0.0) &&
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
  if (!GoodHeads(config, view) || !GoodMoments(view, view.overall)) return base::Status::kDataLoss;
  const double* low = view.overall + 3 * view.stride;
  const double* high = low + view.stride;
  for (uint64_t i = 0; i < view.stride; ++i) {
    if (!(low[i] >= -kLargestInput && low[i] <= high[i] && high[i] <= kLargestInput))
      return base::Status::kDataLoss;
  }
  for (uint32_t c = 0; c < config.outputs; ++c) {
    const double* moments = view.class_moments(c);
    const double* inverse = moments + 3 * view.stride;
    if (!GoodMoments(view, moments)) return base::Status::kDataLoss;
    for (uint64_t i = 0; i < view.stride; ++i) {
      if (inverse[i] != 0.0 && !InRange(inverse[i], 1e-62, 1e77)) return base::Status::kDataLoss;
    }
  }
  return AllInRange(view.nominal, NominalDoubles(config), 0.0, kLargestCount) ? base::Status::kOk
                                                                              : base::Status::kDataLoss;
}

}  // namespace dipper::learn
