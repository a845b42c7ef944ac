// See band_energy.h. State: a header; the quarter wave sin(2 pi k / window), k = 0 .. window / 4, double (at
// 30 ns each the sines would cost more than the transform, and their bytes are fewer than one input's); the
// bins where the bands begin and the last ends, uint16 each; then for each selected input float held[bands]
// and float ring[window].
#include "agent/learn/stages/band_energy.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "agent/learn/math/functions.h"
#include "agent/learn/math/lanes.h"
#include "agent/learn/math/place.h"
#include "agent/learn/math/saturate.h"
#include "agent/learn/stages/selection.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kLeastWindow = 64;
constexpr uint32_t kMaxWindow = 1024;
constexpr uint32_t kMaxBands = 32;
constexpr double kTwoPi = 6.283185307179586;
constexpr double kLeastLog = -100.0;

struct Header {
  uint32_t next;   // ring place that the next sample overwrites
  uint32_t held;   // samples in the rings
  uint32_t phase;  // samples up to and with the next one, modulo hop
  uint32_t reserved;
};
static_assert(sizeof(Header) == 16);

// Offsets in bytes; stride: of an input, whose ring follows its bands.
struct Shape {
  uint64_t edges, inputs, stride;
};

Shape ShapeOf(const BandEnergyConfig& config) {
  const uint64_t edges = sizeof(Header) + base::AlignUp((config.window / 4 + 1) * sizeof(double), 16);
  const uint64_t inputs = edges + base::AlignUp((config.bands + 1) * sizeof(uint16_t), 16);
  return {edges, inputs, base::AlignUp((config.bands + config.window) * sizeof(float), 16)};
}

double QuarterWave(const BandEnergyConfig& config, uint32_t k) {
  return k == config.window / 4 ? 1.0
                                : Sin(kTwoPi * (static_cast<double>(k) / static_cast<double>(config.window)));
}

// First bin of each band and the one after the last; every band has at least one.
using Bins = std::array<uint32_t, kMaxBands + 1>;

bool FindBins(const BandEnergyConfig& config, Bins* bins) {
  const uint32_t half = config.window / 2;
  if (!config.edges.empty()) {
    if (config.edges.size() != config.bands + size_t{1}) return false;
    for (uint32_t i = 0; i <= config.bands; ++i) {
      // The first bin at or above the edge; bin k has the frequency k / window. Bin 0 is the mean.
      const uint32_t bin = static_cast<uint32_t>((uint64_t{config.edges[i]} * config.window + 65535) / 65536);
      (*bins)[i] = bin > 0 ? bin : 1;
    }
    // One half of the sample rate belongs to the band that ends there.
    if (config.edges[config.bands] == 32768) (*bins)[config.bands] = half + 1;
  } else {
    const double top = static_cast<double>(half);
    for (uint32_t i = 0; i <= config.bands; ++i) {
      const double edge = Pow(top, static_cast<double>(i) / static_cast<double>(config.bands));
      const uint32_t bin = SaturatingToInt<uint32_t>(std::floor(edge + 0.5));
      (*bins)[i] = i > 0 && bin <= (*bins)[i - 1] ? (*bins)[i - 1] + 1 : bin;
    }
    if ((*bins)[config.bands] == half) (*bins)[config.bands] = half + 1;
  }
  for (uint32_t i = 0; i < config.bands; ++i) {
    if ((*bins)[i + 1] <= (*bins)[i]) return false;
  }
  return (*bins)[0] >= 1 && (*bins)[config.bands] <= half + 1;
}

// One input's window on its way to its spectrum, in place. Numbers are stored as float, relative to the
// largest one's power of two, and computed as double.
class Spectrum {
 public:
  Spectrum(uint32_t window, const double* quarter) : window_(window), quarter_(quarter) {}

  // Takes `ring` from place `oldest` on and x as the newest. False: more than half is missing.
  bool Load(const float* ring, uint32_t oldest, float x) {
    uint32_t present = 0;
    for (uint32_t i = 0; i < window_; ++i) {
      data_[i] = i + 1 == window_ ? x : ring[(oldest + i) & (window_ - 1)];
      present += IsNan(data_[i]) ? 0U : 1U;
    }
    if (2 * present < window_) return false;
    const double sum = LaneSum(window_, [this](size_t i) { return IsNan(data_[i]) ? 0.0 : Value(i); });
    const double mean = sum / static_cast<double>(present);
    double peak = 0;
    for (uint32_t i = 0; i < window_; ++i) {
      const double size = IsNan(data_[i]) ? 0.0 : std::fabs(Value(i) - mean);
      peak = size > peak ? size : peak;
    }
    // A power of two: scaling by it is exact, and no unit of the input meets float32's ends.
    const uint64_t exponent = std::bit_cast<uint64_t>(peak) >> 52;
    unit_ = std::bit_cast<double>(exponent << 52);
    const double inverse = peak > 0.0 ? std::bit_cast<double>((2046 - exponent) << 52) : 0.0;
    for (uint32_t i = 0; i < window_; ++i) {
      const double hann = 0.5 - 0.5 * Cosine(i);
      const double deviation = IsNan(data_[i]) ? 0.0 : (Value(i) - mean) * inverse;
      data_[i] = static_cast<float>(hann * deviation);
    }
    return true;
  }

  // Even samples as real parts and odd ones as imaginary parts: half the length.
  void Transform() {
    const uint32_t points = window_ / 2;
    Reorder(points);
    for (uint32_t half = 1; half < points; half *= 2) {
      const uint32_t turn = window_ / (2 * half);
      for (uint32_t j = 0; j < half; ++j) {
        const double c = Cosine(j * turn);
        const double s = Sine(j * turn);
        for (uint32_t at = j; at < points; at += 2 * half) Butterfly(at, at + half, c, s);
      }
    }
  }

  // Sum of |X_k|^2 over the bins, those between 0 and one half counted twice.
  double Power(uint32_t from, uint32_t to) const {
    double sum = 0;
    for (uint32_t k = from; k < to; ++k) sum += k == window_ / 2 ? PowerOf(k) : 2.0 * PowerOf(k);
    return sum;
  }

  double unit() const { return unit_; }

 private:
  double Value(size_t i) const { return static_cast<double>(data_[i]); }

  // sin and cos of 2 pi i / window, 0 <= i < window.
  double Sine(uint32_t i) const {
    const uint32_t quarter = window_ / 4;
    if (i > 2 * quarter) return i > 3 * quarter ? -quarter_[window_ - i] : -quarter_[i - 2 * quarter];
    return quarter_[i > quarter ? 2 * quarter - i : i];
  }
  double Cosine(uint32_t i) const { return Sine((i + window_ / 4) & (window_ - 1)); }

  void Reorder(uint32_t points) {
    uint32_t mirrored = 0;
    for (uint32_t i = 1; i < points; ++i) {
      uint32_t bit = points / 2;
      for (; (mirrored & bit) != 0; bit /= 2) mirrored ^= bit;
      mirrored ^= bit;
      if (i >= mirrored) continue;
      std::swap(data_[2 * i], data_[2 * mirrored]);
      std::swap(data_[2 * i + 1], data_[2 * mirrored + 1]);
    }
  }

  void Butterfly(uint32_t a, uint32_t b, double c, double s) {
    const double re = Value(2 * b) * c + Value(2 * b + 1) * s;
    const double im = Value(2 * b + 1) * c - Value(2 * b) * s;
    const double top_re = Value(2 * a);
    const double top_im = Value(2 * a + 1);
    data_[2 * a] = static_cast<float>(top_re + re);
    data_[2 * a + 1] = static_cast<float>(top_im + im);
    data_[2 * b] = static_cast<float>(top_re - re);
    data_[2 * b + 1] = static_cast<float>(top_im - im);
  }

  // |X_k|^2 of the real samples, 1 <= k <= window / 2, out of the packed ones:
  // 2 X_k = (Z_k + conj Z_m) - i e^(-2 pi i k / window) (Z_k - conj Z_m), m = points - k.
  double PowerOf(uint32_t k) const {
    const uint32_t points = window_ / 2;
    const uint32_t a = k & (points - 1);
    const uint32_t b = (points - k) & (points - 1);
    const double sum_re = Value(2 * a) + Value(2 * b);
    const double sum_im = Value(2 * a + 1) - Value(2 * b + 1);
    const double gap_re = Value(2 * a) - Value(2 * b);
    const double gap_im = Value(2 * a + 1) + Value(2 * b + 1);
    const double c = Cosine(k);
    const double s = Sine(k);
    const double re = 0.5 * (sum_re + (gap_im * c - gap_re * s));
    const double im = 0.5 * (sum_im - (gap_im * s + gap_re * c));
    return re * re + im * im;
  }

  uint32_t window_;
  const double* quarter_;
  double unit_ = 0;
  std::array<float, kMaxWindow> data_;
};

float Scaled(BandScale scale, double energy, double unit) {
  switch (scale) {
    case BandScale::kRms:
      return ToInput(std::sqrt(energy) * unit);
    case BandScale::kEnergy:
      return ToInput(energy * unit * unit);
    case BandScale::kLog:
      break;
  }
  const double log = energy > 0.0 ? Log(energy) + 2.0 * Log(unit) : kLeastLog;
  return ToInput(log > kLeastLog ? log : kLeastLog);
}

// The bands of one input whose newest sample is x.
void Measure(const BandEnergyConfig& config, const uint8_t* memory, const float* ring, uint32_t next, float x,
             float* bands) {
  Spectrum spectrum(config.window, PlaceOf<double>(memory + sizeof(Header)));
  if (!spectrum.Load(ring, (next + 1) & (config.window - 1), x)) {
    for (uint32_t i = 0; i < config.bands; ++i) bands[i] = CanonicalNanFloat();
    return;
  }
  spectrum.Transform();
  // The mean square of the Hann window is 3/8.
  const double n = static_cast<double>(config.window);
  const double norm = 1.0 / (0.375 * (n * n));
  const uint16_t* edges = PlaceOf<uint16_t>(memory + ShapeOf(config).edges);
  for (uint32_t i = 0; i < config.bands; ++i) {
    bands[i] = Scaled(config.scale, norm * spectrum.Power(edges[i], edges[i + 1]), spectrum.unit());
  }
}

}  // namespace

uint32_t BandEnergy::OutWidth(const BandEnergyConfig& config) {
  return config.width + static_cast<uint32_t>(config.inputs.size()) * config.bands;
}

base::Result<uint64_t> BandEnergy::StateBytes(const BandEnergyConfig& config) {
  if (!IsSelection(config.width, config.inputs)) return base::Status::kInvalidArgument;
  const bool window = config.window >= kLeastWindow && config.window <= kMaxWindow &&
                      (config.window & (config.window - 1)) == 0 && config.hop >= 1 &&
                      config.hop <= config.window;
  const bool bands = config.bands >= 1 && config.bands <= kMaxBands && config.scale <= BandScale::kLog;
  if (!window || !bands || OutWidth(config) > kMaxInputs) return base::Status::kInvalidArgument;
  for (size_t i = 0; i < config.edges.size(); ++i) {
    if (config.edges[i] > 32768) return base::Status::kInvalidArgument;
  }
  Bins bins;
  if (!FindBins(config, &bins)) return base::Status::kInvalidArgument;
  const Shape shape = ShapeOf(config);
  return shape.inputs + config.inputs.size() * shape.stride;
}

base::Status BandEnergy::Create(const BandEnergyConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  double* quarter = PlaceOf<double>(memory.data() + sizeof(Header));
  for (uint32_t k = 0; k <= config.window / 4; ++k) quarter[k] = QuarterWave(config, k);
  Bins bins;
  if (!FindBins(config, &bins)) return base::Status::kInvalidArgument;
  uint16_t* edges = PlaceOf<uint16_t>(memory.data() + ShapeOf(config).edges);
  for (uint32_t i = 0; i <= config.bands; ++i) edges[i] = static_cast<uint16_t>(bins[i]);
  BandEnergy(config, memory).Reset();
  return base::Status::kOk;
}

base::Status BandEnergy::Validate(const BandEnergyConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const Header header = base::Load<Header>(memory.data());
  const bool counts =
      header.next < config.window && header.held <= config.window && header.phase < config.hop;
  const bool started = header.held == config.window || header.next == header.held;
  if (!counts || !started || header.reserved != 0) return base::Status::kDataLoss;
  for (uint32_t k = 0; k <= config.window / 4; ++k) {
    const uint64_t stored = base::Load<uint64_t>(memory.data() + sizeof(Header) + k * sizeof(double));
    if (stored != std::bit_cast<uint64_t>(QuarterWave(config, k))) return base::Status::kDataLoss;
  }
  Bins bins;
  if (!FindBins(config, &bins)) return base::Status::kDataLoss;
  const Shape shape = ShapeOf(config);
  const uint16_t* edges = PlaceOf<uint16_t>(memory.data() + shape.edges);
  for (uint32_t i = 0; i <= config.bands; ++i) {
    if (edges[i] != bins[i]) return base::Status::kDataLoss;
  }
  for (size_t i = 0; i < config.inputs.size(); ++i) {
    const float* values = PlaceOf<float>(memory.data() + shape.inputs + i * shape.stride);
    for (uint32_t j = 0; j < config.bands + config.window; ++j) {
      if (!IsNan(values[j]) ? !(std::fabs(values[j]) <= kMaxMagnitude) : !IsFiniteOrMissing(values[j])) {
        return base::Status::kDataLoss;
      }
    }
  }
  return base::Status::kOk;
}

void BandEnergy::Apply(StageMode mode, float* row) const {
  Header& header = *PlaceOf<Header>(memory_);
  const Shape shape = ShapeOf(config_);
  const bool keep = mode != StageMode::kPeek;
  float* out = row + config_.width;
  // Inputs phase, phase + hop, ... have their turn.
  uint32_t turn = header.phase;
  const bool full = header.held + 1 >= config_.window;
  for (uint32_t i = 0; i < config_.inputs.size(); ++i) {
    float* bands = PlaceOf<float>(memory_ + shape.inputs + i * shape.stride);
    float* ring = bands + config_.bands;
    const float x = row[config_.inputs[i]];
    const bool due = i == turn;
    if (due) turn += config_.hop;
    if (due && full) {
      Measure(config_, memory_, ring, header.next, x, out);
      if (keep) std::memcpy(bands, out, config_.bands * sizeof(float));
    } else {
      std::memcpy(out, bands, config_.bands * sizeof(float));
    }
    out += config_.bands;
    if (keep) ring[header.next] = x;
  }
  if (!keep) return;
  header.next = (header.next + 1) & (config_.window - 1);
  if (header.held < config_.window) ++header.held;
  header.phase = header.phase + 1 == config_.hop ? 0 : header.phase + 1;
}

void BandEnergy::Reset() const {
  *PlaceOf<Header>(memory_) = Header{0, 0, 1 % config_.hop, 0};
  const Shape shape = ShapeOf(config_);
  for (size_t i = 0; i < config_.inputs.size(); ++i) {
    float* bands = PlaceOf<float>(memory_ + shape.inputs + i * shape.stride);
    for (uint32_t j = 0; j < config_.bands; ++j) bands[j] = CanonicalNanFloat();
  }
}

}  // namespace dipper::learn
