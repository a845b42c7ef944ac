// See robust_clip.h. State: a Sample for each selected input.
#include "agent/learn/stages/robust_clip.h"

#include <bit>
#include <cstring>

#include "agent/learn/math/place.h"
#include "agent/learn/math/random.h"
#include "agent/learn/stages/selection.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kPlaces = 64;
constexpr uint32_t kLeastValues = 16;
constexpr uint32_t kLeastDiffering = 8;
constexpr uint32_t kMaxWindow = 1U << 24;
// Standard deviation of a Gaussian in units of the upper quartile of its distances: 1 / quantile(7/8).
constexpr double kGaussian = 0.8693011158689337;

struct Sample {
  float lower, upper;      // bounds for the next value; both 0 while nothing is cut
  uint32_t held;           // values in the sample
  uint32_t next;           // place that is drawn next, 0 .. 63: the oldest one once all are held
  uint32_t block;          // values in the present block
  uint32_t left;           // values of the present block still to come, 1 .. block
  uint32_t chosen;         // what `left` will be when the block's value is taken
  uint32_t reserved;       // 0
  uint64_t seen;           // values so far, up to 2^24: sets the length of blocks
  uint64_t random;         // SplitMix64 counter
  float value[kPlaces];    // ascending; unused ones are 0
  uint8_t place[kPlaces];  // which place each value has; unused ones are 0
};
static_assert(sizeof(Sample) == 48 + 5 * kPlaces && sizeof(Sample) % 16 == 0);

// Length of the next block: the sample covers most of all values so far, later the last `window` of them.
uint32_t BlockLength(const RobustClipConfig& config, uint64_t seen) {
  const uint64_t length = (seen < config.window ? seen : config.window) / kPlaces;
  return length > 0 ? static_cast<uint32_t>(length) : 1;
}

uint32_t Draw(uint64_t* counter, uint32_t bound) {
  uint64_t x = *counter += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  x ^= x >> 31;
  return static_cast<uint32_t>(((x >> 32) * bound) >> 32);
}

void StartBlock(const RobustClipConfig& config, Sample* s) {
  s->block = BlockLength(config, s->seen);
  s->left = s->block;
  s->chosen = 1 + (s->block == 1 ? 0 : Draw(&s->random, s->block));
}

struct Bounds {
  float lower = 0, upper = 0;
};

double Median(const float* sorted, uint32_t count) {
  const double high = static_cast<double>(sorted[count / 2]);
  return count % 2 == 1 ? high : 0.5 * (static_cast<double>(sorted[count / 2 - 1]) + high);
}

// The distances from the median rise on both sides of it, so their quartile is found by merging.
Bounds BoundsOf(const RobustClipConfig& config, const Sample& s) {
  if (s.held < kLeastValues) return {};
  const double median = Median(s.value, s.held);
  uint32_t below = s.held / 2;  // values < median
  while (below > 0 && static_cast<double>(s.value[below - 1]) >= median) --below;
  uint32_t above = s.held / 2;  // first value > median
  while (above < s.held && static_cast<double>(s.value[above]) <= median) ++above;
  const uint32_t differing = below + (s.held - above);
  if (differing < kLeastDiffering) return {};
  double distance = 0;
  for (uint32_t i = 0; i <= 3 * (differing - 1) / 4; ++i) {
    const double down = below > 0 ? median - static_cast<double>(s.value[below - 1]) : 0.0;
    const double up = above < s.held ? static_cast<double>(s.value[above]) - median : 0.0;
    const bool take_down = below > 0 && (above == s.held || down <= up);
    distance = take_down ? down : up;
    take_down ? --below : ++above;
  }
  const double reach = config.limit * kGaussian * distance;
  return {ToInput(median - reach), ToInput(median + reach)};
}

uint32_t RankOfPlace(const Sample& s, uint32_t place) {
  const void* found = std::memchr(s.place, static_cast<int>(place), kPlaces);
  return static_cast<uint32_t>(static_cast<const uint8_t*>(found) - s.place);
}

// Number of values < x among the first `count`.
uint32_t RankOf(const float* sorted, uint32_t count, float x) {
  uint32_t from = 0;
  while (count > 0) {
    const uint32_t half = count / 2;
    if (sorted[from + half] < x) {
      from += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return from;
}

// Puts x at the next place, in exchange for the value that was there.
void Insert(Sample* s, float x) {
  if (s->held == kPlaces) {
    const uint32_t gone = RankOfPlace(*s, s->next);
    std::memmove(s->value + gone, s->value + gone + 1, (kPlaces - 1 - gone) * sizeof(float));
    std::memmove(s->place + gone, s->place + gone + 1, kPlaces - 1 - gone);
    --s->held;
  }
  const uint32_t at = RankOf(s->value, s->held, x);
  std::memmove(s->value + at + 1, s->value + at, (s->held - at) * sizeof(float));
  std::memmove(s->place + at + 1, s->place + at, s->held - at);
  s->value[at] = x;
  s->place[at] = static_cast<uint8_t>(s->next);
  ++s->held;
  s->next = (s->next + 1) % kPlaces;
}

void Learn(const RobustClipConfig& config, float x, Sample* s) {
  if (s->seen < kMaxWindow) ++s->seen;
  if (s->left == s->chosen) {
    Insert(s, x);
    const Bounds bounds = BoundsOf(config, *s);
    s->lower = bounds.lower;
    s->upper = bounds.upper;
  }
  if (--s->left == 0) StartBlock(config, s);
}

bool IsIntact(const RobustClipConfig& config, const Sample& s) {
  if (s.held > kPlaces || s.next >= kPlaces || s.reserved != 0 || s.seen > kMaxWindow) return false;
  if (s.held < kPlaces && s.next != s.held) return false;
  if (s.seen < s.held || s.block < 1 || s.block > BlockLength(config, s.seen)) return false;
  if (s.left < 1 || s.left > s.block || s.chosen < 1 || s.chosen > s.block) return false;
  uint64_t places = 0;
  for (uint32_t i = 0; i < kPlaces; ++i) {
    if (i >= s.held) {
      if (std::bit_cast<uint32_t>(s.value[i]) != 0 || s.place[i] != 0) return false;
      continue;
    }
    if (!IsFinite(s.value[i]) || (i > 0 && s.value[i] < s.value[i - 1])) return false;
    if (s.place[i] >= kPlaces) return false;
    places |= uint64_t{1} << s.place[i];
  }
  if (places != (s.held == kPlaces ? ~uint64_t{0} : (uint64_t{1} << s.held) - 1)) return false;
  const Bounds bounds = BoundsOf(config, s);
  return std::bit_cast<uint32_t>(bounds.lower) == std::bit_cast<uint32_t>(s.lower) &&
         std::bit_cast<uint32_t>(bounds.upper) == std::bit_cast<uint32_t>(s.upper);
}

}  // namespace

base::Result<uint64_t> RobustClip::StateBytes(const RobustClipConfig& config) {
  const bool valid = IsSelection(config.width, config.inputs) && config.limit >= 1.0 && config.limit <= 1e6 &&
                     config.window >= kPlaces && config.window <= kMaxWindow;
  if (!valid) return base::Status::kInvalidArgument;
  return config.inputs.size() * sizeof(Sample);
}

base::Status RobustClip::Create(const RobustClipConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  Sample* samples = PlaceOf<Sample>(memory.data());
  for (size_t i = 0; i < config.inputs.size(); ++i) {
    samples[i].random = i;  // every input draws other members of its blocks
    StartBlock(config, samples + i);
  }
  return base::Status::kOk;
}

base::Status RobustClip::Validate(const RobustClipConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const Sample* samples = PlaceOf<Sample>(memory.data());
  for (size_t i = 0; i < config.inputs.size(); ++i) {
    if (!IsIntact(config, samples[i])) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

void RobustClip::Apply(StageMode mode, float* row) const {
  Sample* samples = PlaceOf<Sample>(memory_);
  for (size_t i = 0; i < config_.inputs.size(); ++i) {
    float& value = row[config_.inputs[i]];
    if (IsNan(value)) continue;
    const float x = value;
    Sample& s = samples[i];
    if (s.lower < s.upper) value = x < s.lower ? s.lower : (x > s.upper ? s.upper : x);
    if (mode == StageMode::kLearn) Learn(config_, x, &s);
  }
}

}  // namespace dipper::learn
