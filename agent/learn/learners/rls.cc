// See rls.h. State: a head, D (stride doubles), the columns of U packed (column j: its j elements above the
// diagonal), one weight row of stride doubles per output. The constant input 1 (the bias) follows the last
// input.
#include "agent/learn/learners/rls.h"

#include <array>
#include <cmath>

#include "agent/learn/math/counts.h"
#include "agent/learn/math/lanes.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kMaxRlsInputs = 256;
constexpr uint32_t kMaxRlsOutputs = 64;
constexpr size_t kRoom = kMaxRlsInputs + kLanes;

constexpr double kLargestAnswer = 1e30;
constexpr double kLeastVariance = 1e-200;  // of one direction: far above denormals
constexpr double kPriorHeadroom = 1e3;     // D may not grow beyond the prior variance times this
constexpr double kLeastProbability = 0.005;

uint32_t Size(const RlsConfig& config) { return config.inputs + 1; }
uint64_t Stride(const RlsConfig& config) { return base::AlignUp(Size(config), kLanes); }
uint64_t Packed(const RlsConfig& config) {
  const uint64_t size = Size(config);
  return base::AlignUp(size * (size - 1) / 2, 2);
}
// Two classes need one regression, more need one each.
uint32_t Rows(const RlsConfig& config) { return config.outputs > 2 ? config.outputs : 1; }

double Cut(double x, double limit) { return x > limit ? limit : (x < -limit ? -limit : x); }

void Widen(std::span<const float> x, double* out) {
  const size_t count = x.size();
  const size_t stride = base::AlignUp(count + 1, kLanes);
  for (size_t i = count; i < stride; ++i) out[i] = 0.0;
  for (size_t i = 0; i < count; ++i) out[i] = IsNan(x[i]) ? 0.0 : static_cast<double>(x[i]);
  out[count] = 1.0;
}

double DotRow(const double* weight, const double* x, uint64_t stride) {
  return Dot(std::span<const double>(weight, stride), std::span<const double>(x, stride));
}

// The variance of each direction, so that no update can overflow.
base::Status ValidateCovariance(const double* d, const double* u, uint32_t size) {
  std::array<double, kRoom> variance{};
  for (uint32_t j = 0; j < size; u += j, ++j) {
    variance[j] += d[j];
    for (uint32_t i = 0; i < j; ++i) variance[i] += u[i] * u[i] * d[j];
  }
  for (uint32_t i = 0; i < size; ++i) {
    if (!(variance[i] <= 1e40)) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

double ToProbability(double answer) {
  const double p = 0.5 * (answer + 1.0);
  return p < kLeastProbability ? kLeastProbability
                               : (p > 1.0 - kLeastProbability ? 1.0 - kLeastProbability : p);
}

}  // namespace

struct Rls::Head {
  uint64_t labels;
  uint64_t reserved;
};

struct Rls::Parts {
  double* d;
  double* u;
  double* weights;
};

base::Result<uint64_t> Rls::StateBytes(const RlsConfig& config) {
  static_assert(sizeof(Head) == 16);
  const bool outputs = config.classification ? config.outputs >= 2 : config.outputs == 1;
  if (config.inputs < 1 || config.inputs > kMaxRlsInputs || !outputs || config.outputs > kMaxRlsOutputs ||
      !(config.forgetting >= 0.9 && config.forgetting <= 1.0) ||
      !(config.regularization >= 1e-9 && config.regularization <= 1e6)) {
    return base::Status::kInvalidArgument;
  }
  return sizeof(Head) + sizeof(double) * (Stride(config) * (1 + Rows(config)) + Packed(config));
}

base::Status Rls::Create(const RlsConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  const Rls rls(config, memory);
  for (uint32_t i = 0; i < Size(config); ++i) rls.parts().d[i] = 1.0 / config.regularization;
  return base::Status::kOk;
}

base::Status Rls::Validate(const RlsConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const Head head = base::Load<Head>(memory.data());
  if (!ValidCounts(head.labels) || head.reserved != 0) return base::Status::kDataLoss;
  const double* d = PlaceOf<double>(memory.data() + sizeof(Head));
  const uint64_t stride = Stride(config);
  for (uint64_t i = 0; i < stride; ++i) {
    const bool good = i < Size(config) ? d[i] >= kLeastVariance && d[i] <= 1e20 : d[i] == 0.0;
    if (!good) return base::Status::kDataLoss;
  }
  const double* u = d + stride;
  DIPPER_RETURN_IF_ERROR(ValidateCovariance(d, u, Size(config)));
  const uint64_t rest = Packed(config) + Rows(config) * stride;
  for (uint64_t i = 0; i < rest; ++i) {
    if (!(u[i] >= -1e120 && u[i] <= 1e120)) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

Rls::Parts Rls::parts() const {
  double* d = PlaceOf<double>(memory_ + sizeof(Head));
  double* u = d + Stride(config_);
  return {d, u, u + Packed(config_)};
}

void Rls::RaiseRate() {
  const Parts p = parts();
  for (uint32_t i = 0; i < Size(config_); ++i) p.d[i] = 1.0 / config_.regularization;
  for (uint64_t i = 0; i < Packed(config_); ++i) p.u[i] = 0.0;
}

void Rls::Predict(std::span<const float> x, std::span<double> out) const {
  DIPPER_CHECK(x.size() == config_.inputs && out.size() == config_.outputs);
  alignas(16) double wide[kRoom];
  Widen(x, wide);
  const uint64_t stride = Stride(config_);
  const double* weights = parts().weights;
  if (!config_.classification) {
    out[0] = Cut(DotRow(weights, wide, stride), kLargestAnswer);
    return;
  }
  if (config_.outputs == 2) {
    out[1] = ToProbability(DotRow(weights, wide, stride));
    out[0] = 1.0 - out[1];
    return;
  }
  for (uint32_t i = 0; i < config_.outputs; ++i)
    out[i] = ToProbability(DotRow(weights + i * stride, wide, stride));
  const double scale = 1.0 / Sum(std::span<const double>(out));
  for (uint32_t i = 0; i < config_.outputs; ++i) out[i] *= scale;
}

void Rls::AddContributions(std::span<const float> x, uint32_t output, double share,
                           std::span<double> terms) const {
  DIPPER_CHECK(x.size() == config_.inputs && output < config_.outputs && terms.size() == x.size() + 2);
  double answers[kMaxRlsOutputs];
  Predict(x, {answers, config_.outputs});
  const bool two = config_.outputs == 2;
  const double* weights = parts().weights + (config_.outputs > 2 ? output * Stride(config_) : 0);
  double scale = share;
  double base = 0.0;
  if (config_.classification) {
    // A class's probability is half of 1 and its regression, of two classes of their one; the regressions
    // sum to what makes those one.
    scale = (two && output == 0 ? -0.5 : 0.5) * share;
    base = 0.5 * share;
  }
  double rest = share * answers[output] - base;
  terms[x.size()] += base;
  for (size_t i = 0; i <= x.size(); ++i) {
    const double value = i == x.size() ? 1.0 : (IsNan(x[i]) ? 0.0 : static_cast<double>(x[i]));
    const double term = scale * weights[i] * value;
    terms[i] += term;
    rest -= term;
  }
  terms[x.size() + 1] += rest;
}

void Rls::Importance(std::span<double> out) const {
  DIPPER_CHECK(out.size() == config_.inputs);
  const uint64_t stride = Stride(config_);
  const uint32_t rows = Rows(config_);
  for (size_t i = 0; i < out.size(); ++i) {
    double sum = 0.0;
    for (uint32_t j = 0; j < rows; ++j) sum += std::fabs(parts().weights[j * stride + i]);
    out[i] = sum / static_cast<double>(rows);
  }
}

double Rls::Update(const double* x, double noise, double* gain) {
  // Bierman's rank-one update: f = U' x, v = D f; `gain` collects the gain column by column.
  const Parts p = parts();
  const uint32_t size = Size(config_);
  double alpha = noise;
  double* column = p.u;
  for (uint32_t j = 0; j < size; ++j) {
    const double f = x[j] + Dot(std::span<const double>(column, j), std::span<const double>(x, j));
    const double v = p.d[j] * f;
    const double before = alpha;
    alpha += f * v;
    gain[j] = v;
    const double shrunk = p.d[j] * (before / alpha);
    p.d[j] = shrunk > kLeastVariance ? shrunk : kLeastVariance;
    const double lambda = -f / before;
    for (uint32_t i = 0; i < j; ++i) {
      const double old = column[i];
      column[i] = old + lambda * gain[i];
      gain[i] += v * old;
    }
    column += j;
  }
  return alpha;
}

void Rls::Forget() {
  // Dividing by the forgetting factor inflates every direction; the direction whose turn it is gets the
  // information back that the prior holds in it, without moving a weight.
  const Parts p = parts();
  const uint32_t size = Size(config_);
  const double growth = 1.0 / config_.forgetting;
  const double largest = kPriorHeadroom / config_.regularization;
  for (uint32_t i = 0; i < size; ++i) {
    const double grown = p.d[i] * growth;
    p.d[i] = grown < largest ? grown : largest;
  }
  const auto turn =
      static_cast<uint32_t>(head().labels % size);  // NOLINT(clang-analyzer-core.DivideZero): inputs + 1
  alignas(16) double unit[kRoom] = {};
  alignas(16) double gain[kRoom];
  unit[turn] = 1.0;
  const double information = config_.regularization * (1.0 - config_.forgetting) * static_cast<double>(size);
  (void)Update(unit, 1.0 / information, gain);
}

Rls::Head& Rls::head() const { return *PlaceOf<Head>(memory_); }

void Rls::Learn(std::span<const float> x, std::span<const double> stored_out, double y, double weight) {
  DIPPER_CHECK(x.size() == config_.inputs && stored_out.size() == config_.outputs);
  if (!(weight > 0.0)) return;
  alignas(16) double wide[kRoom];
  alignas(16) double gain[kRoom];
  Widen(x, wide);
  if (config_.forgetting < 1.0) Forget();
  const double alpha = Update(wide, 1.0 / weight, gain);
  head().labels += 1;
  const uint64_t stride = Stride(config_);
  const uint32_t size = Size(config_);
  double* weights = parts().weights;
  for (uint32_t row = 0; row < Rows(config_); ++row, weights += stride) {
    // The stored output was made by earlier weights when the label is late, and cut for classes; the exact
    // recursion needs the answer of today's weights to the stored inputs.
    const double answer = Cut(DotRow(weights, wide, stride), kLargestAnswer);
    const uint32_t positive = config_.outputs > 2 ? row : 1;
    const double truth =
        config_.classification ? (y == static_cast<double>(positive) ? 1.0 : -1.0) : Cut(y, kLargestAnswer);
    const double step = (truth - answer) / alpha;
    for (uint32_t i = 0; i < size; ++i) weights[i] += step * gain[i];
  }
}

}  // namespace dipper::learn
