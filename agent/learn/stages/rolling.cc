// See rolling.h. State: a header; then for each selected input
//   Node prefix, Node chunk            aggregates of the present block and of its present chunk
//   Node outer[chunks]                 of the present block: finished chunks; of the previous one: from here
//   on Node inner[chunk]                  [j]: previous block from just after offset (present chunk's start +
//   j) float ring[window]                 the last samples; a sample's place is its offset in its block float
//   sorted[window], u64 count    with kMedian only: the present values, ascending
// A Node has 24, 32 or 48 bytes, as far as the statistics need.
#include "agent/learn/stages/rolling.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "agent/learn/math/place.h"
#include "agent/learn/stages/selection.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kMaxWindow = 4096;

struct Header {
  uint32_t offset;  // of the next sample in its block
  uint32_t full;    // 0: the first block, there is no previous one; 1: later
  uint64_t reserved;
};
static_assert(sizeof(Header) == 16);

// Of some neighbouring samples. All zero: of none.
struct SumNode {
  uint32_t count;  // present values
  uint32_t signs;  // bit 0: the first value is negative; bit 1: the last one; the rest: crossings * 4
  float least, largest;
  double sum;
};
struct SquaresNode : SumNode {
  double squares;  // squared distances from the mean
};
struct FourthsNode : SquaresNode {
  double cubes, fourths;
};
static_assert(sizeof(SumNode) == 24 && sizeof(SquaresNode) == 32 && sizeof(FourthsNode) == 48);

enum class Order : uint8_t { kSum, kSquares, kFourths };

struct Shape {
  Order order = Order::kSum;
  bool median = false;
  uint32_t window = 0;
  uint32_t chunk = 0;   // samples, the smallest power of two whose square reaches the window
  uint32_t chunks = 0;  // of a block; the last one may be shorter
  uint64_t ring = 0, sorted = 0, count = 0;  // offsets in bytes
  uint64_t end = 0, stride = 0;              // bytes of an input, without and with padding
};

Shape ShapeOf(const RollingConfig& config) {
  Shape shape;
  for (const uint16_t statistic : config.statistics) {
    switch (static_cast<RollingStatistic>(statistic)) {
      case RollingStatistic::kKurtosis:
      case RollingStatistic::kSkewness:
        shape.order = Order::kFourths;
        break;
      case RollingStatistic::kStd:
      case RollingStatistic::kRms:
      case RollingStatistic::kCrest:
        if (shape.order == Order::kSum) shape.order = Order::kSquares;
        break;
      case RollingStatistic::kMedian:
        shape.median = true;
        break;
      default:
        break;
    }
  }
  shape.window = config.window;
  shape.chunk = 2;
  while (shape.chunk * shape.chunk < config.window) shape.chunk *= 2;
  shape.chunks = (config.window + shape.chunk - 1) / shape.chunk;
  const uint64_t node = shape.order == Order::kSum
                            ? sizeof(SumNode)
                            : (shape.order == Order::kSquares ? sizeof(SquaresNode) : sizeof(FourthsNode));
  shape.ring = (uint64_t{2} + shape.chunks + shape.chunk) * node;
  const uint64_t floats = uint64_t{config.window} * sizeof(float);
  shape.count = base::AlignUp(shape.ring + floats, 8);
  shape.sorted = shape.count + 8;
  shape.end = shape.median ? shape.sorted + floats : shape.ring + floats;
  shape.stride = base::AlignUp(shape.end, 16);
  return shape;
}

template <typename Use>
auto WithNode(Order order, Use use) {
  if (order == Order::kSum) return use(SumNode{});
  return order == Order::kSquares ? use(SquaresNode{}) : use(FourthsNode{});
}

// -0 and 0 sort as equal, so only one of them stands among sorted values: equal values are equal bytes.
float PlainZero(float x) { return x == 0.0F ? 0.0F : x; }

template <typename Node>
Node Single(float x) {
  Node node = {};
  if (IsNan(x)) return node;
  node.count = 1;
  node.signs = x < 0.0F ? 3 : 0;
  node.least = x;
  node.largest = x;
  node.sum = static_cast<double>(x);
  return node;
}

// The moments of `a` followed by `b`, both with values. With n_a sum_b - n_b sum_a instead of the means equal
// values give exactly 0, and sums are all that needs storing.
template <typename Node>
void MergeMoments(const Node& a, const Node& b, Node* both) {
  const double na = static_cast<double>(a.count);
  const double nb = static_cast<double>(b.count);
  const double n = na + nb;
  const double cross = na * b.sum - nb * a.sum;
  const double product = na * nb;
  const double d = cross / (product * n);  // (mean_b - mean_a) / n
  const double between = cross * d;
  both->squares = (a.squares + b.squares) + between;
  if constexpr (std::is_same_v<Node, FourthsNode>) {
    const double d2 = d * d;
    both->cubes = (a.cubes + b.cubes) + d * (between * (na - nb) + 3.0 * (na * b.squares - nb * a.squares));
    const double of_squares = 6.0 * (d2 * (na * na * b.squares + nb * nb * a.squares));
    const double of_cubes = 4.0 * (d * (na * b.cubes - nb * a.cubes));
    const double own = between * d2 * ((na * na - product) + nb * nb);
    const double fourths = (a.fourths + b.fourths) + ((own + of_squares) + of_cubes);
    both->fourths = fourths > 0.0 ? fourths : 0.0;  // rounding of the one term that can be negative
  }
}

template <typename Node>
Node Merge(const Node& a, const Node& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  Node both = {};
  both.count = a.count + b.count;
  const uint32_t crossing = ((a.signs >> 1) ^ b.signs) & 1U;
  both.signs = ((a.signs & ~3U) + (b.signs & ~3U) + 4 * crossing) | (a.signs & 1U) | (b.signs & 2U);
  both.least = b.least < a.least ? b.least : a.least;
  both.largest = b.largest > a.largest ? b.largest : a.largest;
  both.sum = a.sum + b.sum;
  if constexpr (!std::is_same_v<Node, SumNode>) MergeMoments(a, b, &both);
  return both;
}

// The part of the state that belongs to one selected input.
template <typename Node>
class Window {
 public:
  Window(const Shape& shape, uint8_t* at) : shape_(shape), at_(at) {}

  // Of the present block, x included.
  Node PrefixWith(float x) const { return Merge(*Prefix(), Single<Node>(x)); }

  // Of the last `window` samples, `prefix` being those of the present block.
  Node Whole(uint32_t offset, const Node& prefix) const {
    return Merge(*Inner(offset & (shape_.chunk - 1)), prefix);
  }

  // Takes x at the header's offset of the present block.
  void Advance(const Header& header, float x, const Node& prefix) const {
    const uint32_t offset = header.offset;
    if (shape_.median) {
      if (header.full != 0 && !IsNan(Ring()[offset])) RemoveSorted(Ring()[offset]);
      if (!IsNan(x)) InsertSorted(x);
    }
    Ring()[offset] = x;
    *Prefix() = prefix;
    *Inner(offset & (shape_.chunk - 1)) = {};  // what is used up is 0 again
    const Node chunk = Merge(*Chunk(), Single<Node>(x));
    const uint32_t next = offset + 1;
    if ((next & (shape_.chunk - 1)) != 0 && next != shape_.window) {
      *Chunk() = chunk;
      return;
    }
    *Outer(offset / shape_.chunk) = chunk;
    *Chunk() = {};
    if (next == shape_.window) {
      *Prefix() = {};
      SumOuter();
      SumInner(0);
    } else if (header.full != 0) {
      SumInner(next / shape_.chunk);
    }
  }

  // The median of the window whose newest value is x. The sorted values still hold `gone` and do not hold x.
  double MedianWith(float gone, float x) const {
    const uint32_t held = static_cast<uint32_t>(Count());
    const uint32_t out = IsNan(gone) ? held : Rank(gone);
    const uint32_t in = IsNan(x) ? kMaxWindow : Rank(x) - (!IsNan(gone) && gone < x ? 1U : 0U);
    const uint32_t count = held - (IsNan(gone) ? 0U : 1U) + (IsNan(x) ? 0U : 1U);
    if (count == 0) return CanonicalNan();
    const auto value = [&](uint32_t i) {
      if (i == in) return static_cast<double>(x);
      const uint32_t kept = i > in ? i - 1 : i;
      return static_cast<double>(Sorted()[kept >= out ? kept + 1 : kept]);
    };
    return count % 2 == 1 ? value(count / 2) : 0.5 * (value(count / 2 - 1) + value(count / 2));
  }

  // Every node is what the ring's values give, bit for bit; nodes that are not in use are 0.
  bool NodesMatchTheRing(const Header& header) const {
    const uint32_t offset = header.offset;
    const uint32_t now = offset / shape_.chunk;
    const uint32_t start = now * shape_.chunk;
    bool match =
        IsNode(Prefix(), Fold(0, offset)) && IsNode(Chunk(), Fold(start, offset)) && IsNode(Outer(now), {});
    for (uint32_t k = 0; k < now; ++k) match = match && IsNode(Outer(k), Fold(k * shape_.chunk, EndOf(k)));
    Node suffix = {};
    for (uint32_t k = shape_.chunks - 1; k > now; --k) {
      if (header.full != 0) {
        suffix = Merge(Fold(k * shape_.chunk, EndOf(k)), suffix);
      }
      match = match && IsNode(Outer(k), suffix);
    }
    for (uint32_t i = start + shape_.chunk; i-- > start;) {
      const bool used = header.full != 0 && i >= offset && i < EndOf(now);
      match = match && IsNode(Inner(i - start), used ? suffix : Node{});
      if (used) suffix = Merge(Single<Node>(Ring()[i]), suffix);
    }
    return match;
  }

  float* Ring() const { return PlaceOf<float>(at_ + shape_.ring); }
  float* Sorted() const { return PlaceOf<float>(at_ + shape_.sorted); }
  uint64_t& Count() const { return *PlaceOf<uint64_t>(at_ + shape_.count); }

 private:
  Node* Prefix() const { return PlaceOf<Node>(at_); }
  Node* Chunk() const { return Prefix() + 1; }
  Node* Outer(uint32_t i) const { return Prefix() + 2 + i; }
  Node* Inner(uint32_t i) const { return Prefix() + 2 + shape_.chunks + i; }

  uint32_t EndOf(uint32_t k) const {
    const uint32_t end = (k + 1) * shape_.chunk;
    return end < shape_.window ? end : shape_.window;
  }

  Node Fold(uint32_t from, uint32_t to) const {
    Node sum = {};
    for (uint32_t i = from; i < to; ++i) sum = Merge(sum, Single<Node>(Ring()[i]));
    return sum;
  }

  static bool IsNode(const Node* node, const Node& expected) {
    // Bit for bit is meant, and there is no padding.
    return std::memcmp(node, &expected, sizeof(Node)) == 0;  // NOLINT(bugprone-suspicious-memory-comparison)
  }

  // A block is complete: its chunks become suffixes of it.
  void SumOuter() const {
    for (uint32_t i = shape_.chunks - 1; i-- > 0;) {
      *Outer(i) = Merge(*Outer(i), *Outer(i + 1));
    }
  }

  // The present block enters its chunk `k`: what of the previous block follows each sample of that chunk.
  void SumInner(uint32_t k) const {
    const uint32_t start = k * shape_.chunk;
    Node suffix = k + 1 < shape_.chunks ? *Outer(k + 1) : Node{};
    for (uint32_t i = EndOf(k); i-- > start;) {
      *Inner(i - start) = suffix;
      suffix = Merge(Single<Node>(Ring()[i]), suffix);
    }
    *Outer(k) = {};
  }

  // Number of sorted values < x.
  uint32_t Rank(float x) const {
    const float* sorted = Sorted();
    uint32_t from = 0;
    uint32_t count = static_cast<uint32_t>(Count());
    while (count > 0) {
      const uint32_t half = count / 2;
      const bool right = sorted[from + half] < x;
      from = right ? from + half + 1 : from;
      count = right ? count - half - 1 : half;
    }
    return from;
  }

  void InsertSorted(float x) const {
    const uint32_t at = Rank(x);
    float* sorted = Sorted();
    std::memmove(sorted + at + 1, sorted + at, (Count() - at) * sizeof(float));
    sorted[at] = PlainZero(x);
    ++Count();
  }

  void RemoveSorted(float x) const {
    float* sorted = Sorted();
    const uint32_t rank = Rank(x);
    --Count();
    const uint32_t at = rank <= Count() ? rank : static_cast<uint32_t>(Count());
    std::memmove(sorted + at, sorted + at + 1, (Count() - at) * sizeof(float));
    sorted[Count()] = 0.0F;
  }

  const Shape& shape_;
  uint8_t* at_;
};

float MomentStatistic(RollingStatistic statistic, const SquaresNode& a) {
  const double n = static_cast<double>(a.count);
  const double square = a.squares / n;
  if (statistic == RollingStatistic::kStd) {
    return a.count > 1 ? ToInput(std::sqrt(square)) : CanonicalNanFloat();
  }
  const double mean = a.sum / n;
  const double rms = std::sqrt(mean * mean + square);
  if (statistic == RollingStatistic::kRms) return ToInput(rms);
  const double low = -static_cast<double>(a.least);
  const double high = static_cast<double>(a.largest);
  return rms > 0.0 ? ToInput((low > high ? low : high) / rms) : CanonicalNanFloat();
}

float ShapeStatistic(RollingStatistic statistic, const FourthsNode& a) {
  if (!(a.squares > 0.0)) return CanonicalNanFloat();
  const double n = static_cast<double>(a.count);
  const double square = a.squares / n;
  if (statistic == RollingStatistic::kKurtosis) return ToInput(a.fourths / n / (square * square));
  return ToInput(a.cubes / n / (square * std::sqrt(square)));
}

// All but kMedian, over at least one value; x is the newest sample.
template <typename Node>
float Statistic(RollingStatistic statistic, const Node& a, float x) {
  const double n = static_cast<double>(a.count);
  switch (statistic) {
    case RollingStatistic::kMean:
      return ToInput(a.sum / n);
    case RollingStatistic::kMin:
      return a.least;
    case RollingStatistic::kMax:
      return a.largest;
    case RollingStatistic::kPeakToPeak:
      return ToInput(static_cast<double>(a.largest) - static_cast<double>(a.least));
    case RollingStatistic::kZeroCrossings:
      return a.count > 1 ? ToInput(static_cast<double>(a.signs >> 2) / (n - 1.0)) : CanonicalNanFloat();
    case RollingStatistic::kDeviation:
      return IsNan(x) ? CanonicalNanFloat() : ToInput(static_cast<double>(x) - a.sum / n);
    case RollingStatistic::kKurtosis:
    case RollingStatistic::kSkewness:
      if constexpr (std::is_same_v<Node, FourthsNode>) return ShapeStatistic(statistic, a);
      break;
    default:
      if constexpr (!std::is_same_v<Node, SumNode>) return MomentStatistic(statistic, a);
      break;
  }
  return CanonicalNanFloat();
}

// Appends the statistics of every selected input, and takes the row's values unless it is only asked.
template <typename Node>
void Extend(const RollingConfig& config, const Shape& shape, bool advance, uint8_t* memory, float* row) {
  const Header& header = *PlaceOf<Header>(memory);
  float* out = row + config.width;
  for (size_t i = 0; i < config.inputs.size(); ++i) {
    const Window<Node> window(shape, memory + sizeof(Header) + i * shape.stride);
    const float x = row[config.inputs[i]];
    const Node prefix = window.PrefixWith(x);
    const Node all = window.Whole(header.offset, prefix);
    for (const uint16_t number : config.statistics) {
      const RollingStatistic statistic = static_cast<RollingStatistic>(number);
      if (all.count == 0) {
        *out++ = CanonicalNanFloat();
      } else if (statistic == RollingStatistic::kMedian) {
        const float gone = header.full != 0 ? window.Ring()[header.offset] : CanonicalNanFloat();
        *out++ = ToInput(window.MedianWith(gone, x));
      } else {
        *out++ = Statistic(statistic, all, x);
      }
    }
    if (advance) window.Advance(header, x, prefix);
  }
}

bool IsInput(float x) { return std::fabs(x) <= kMaxMagnitude; }
bool IsUnused(float x) { return std::bit_cast<uint32_t>(x) == 0; }

// The sorted values are those of the ring: as many, in order, and with the same sum of bit patterns.
template <typename Node>
bool IsIntactMedian(const Window<Node>& window, uint32_t size, uint64_t present, uint64_t bits) {
  if (window.Count() != present) return false;
  for (uint32_t i = 0; i < size; ++i) {
    const float x = window.Sorted()[i];
    if (i >= present ? !IsUnused(x) : !IsInput(x) || (i > 0 && x < window.Sorted()[i - 1])) return false;
    bits -= std::bit_cast<uint32_t>(x);
  }
  return bits == 0;
}

template <typename Node>
bool IsIntactInput(const Shape& shape, const Header& header, uint8_t* at) {
  const Window<Node> window(shape, at);
  const uint32_t held = header.full != 0 ? shape.window : header.offset;
  uint64_t present = 0;
  uint64_t bits = 0;
  for (uint32_t i = 0; i < shape.window; ++i) {
    const float x = window.Ring()[i];
    if (i >= held ? !IsUnused(x) : !IsInput(x) && !(IsNan(x) && IsFiniteOrMissing(x))) return false;
    if (i >= held || IsNan(x)) continue;
    ++present;
    bits += std::bit_cast<uint32_t>(PlainZero(x));
  }
  for (uint64_t i = shape.ring + shape.window * sizeof(float); i < shape.stride; ++i) {
    const bool padding = !shape.median || i < shape.count || i >= shape.end;
    if (padding && at[i] != 0) return false;
  }
  if (!window.NodesMatchTheRing(header)) return false;
  return !shape.median || IsIntactMedian(window, shape.window, present, bits);
}

}  // namespace

uint32_t Rolling::OutWidth(const RollingConfig& config) {
  return config.width + static_cast<uint32_t>(config.inputs.size() * config.statistics.size());
}

base::Result<uint64_t> Rolling::StateBytes(const RollingConfig& config) {
  if (!IsSelection(config.width, config.inputs)) return base::Status::kInvalidArgument;
  if (config.window < 2 || config.window > kMaxWindow) return base::Status::kInvalidArgument;
  uint32_t named = 0;
  for (const uint16_t statistic : config.statistics) {
    if (statistic >= kRollingStatistics || (named >> statistic & 1U) != 0) {
      return base::Status::kInvalidArgument;
    }
    named |= 1U << statistic;
  }
  if (named == 0 || OutWidth(config) > kMaxInputs) return base::Status::kInvalidArgument;
  return sizeof(Header) + config.inputs.size() * ShapeOf(config).stride;
}

base::Status Rolling::Create(const RollingConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk
                                : base::Status::kInvalidArgument;  // a fresh state is all zero
}

base::Status Rolling::Validate(const RollingConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const Header header = base::Load<Header>(memory.data());
  if (header.offset >= config.window || header.full > 1 || header.reserved != 0)
    return base::Status::kDataLoss;
  const Shape shape = ShapeOf(config);
  // Only read through: Window is also the writing view.
  uint8_t* at = const_cast<uint8_t*>(memory.data()) + sizeof(Header);
  for (size_t i = 0; i < config.inputs.size(); ++i) {
    const bool intact = WithNode(shape.order, [&](auto node) {
      return IsIntactInput<decltype(node)>(shape, header, at + i * shape.stride);
    });
    if (!intact) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

void Rolling::Apply(StageMode mode, float* row) const {
  const Shape shape = ShapeOf(config_);
  WithNode(shape.order, [&](auto node) {
    Extend<decltype(node)>(config_, shape, mode != StageMode::kPeek, memory_, row);
  });
  Header& header = *PlaceOf<Header>(memory_);
  if (mode == StageMode::kPeek) return;
  if (++header.offset == config_.window) {
    header.offset = 0;
    header.full = 1;
  }
}

void Rolling::Reset() const {
  std::memset(memory_, 0, sizeof(Header) + config_.inputs.size() * ShapeOf(config_).stride);
}

}  // namespace dipper::learn
