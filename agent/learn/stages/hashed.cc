// See hashed.h. The hash is the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) over
// input * 2^32 + value + 0x9e3779b97f4a7c15: bucket = (upper 32 bits * buckets) / 2^32, sign = lowest bit.
#include "agent/learn/stages/hashed.h"

#include <algorithm>
#include <array>

#include "agent/learn/math/saturate.h"
#include "agent/learn/stages/selection.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kMaxBuckets = 256;

}  // namespace

Hashed::Place Hashed::PlaceFor(uint32_t input, uint32_t value, uint32_t buckets) {
  uint64_t hash = (uint64_t{input} << 32 | value) + 0x9e3779b97f4a7c15ULL;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
  hash ^= hash >> 31;
  return {static_cast<uint32_t>(((hash >> 32) * buckets) >> 32), (hash & 1) != 0};
}

uint32_t Hashed::OutWidth(const HashedConfig& config) {
  return config.width - static_cast<uint32_t>(config.inputs.size()) + config.buckets;
}

base::Result<uint64_t> Hashed::StateBytes(const HashedConfig& config) {
  if (!IsSelection(config.width, config.inputs)) return base::Status::kInvalidArgument;
  if (config.buckets < 1 || config.buckets > kMaxBuckets) return base::Status::kInvalidArgument;
  return OutWidth(config) <= kMaxInputs ? base::Result<uint64_t>(uint64_t{0})
                                        : base::Status::kInvalidArgument;
}

base::Status Hashed::Create(const HashedConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk : base::Status::kInvalidArgument;
}

base::Status Hashed::Validate(const HashedConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk : base::Status::kDataLoss;
}

void Hashed::Apply(StageMode, float* row) const {
  // The buckets' places in the row still hold inputs that are to move, so they are summed aside.
  std::array<float, kMaxBuckets> sums;
  std::fill_n(sums.begin(), config_.buckets, 0.0F);
  float* out = row;
  size_t next = 0;
  for (uint32_t i = 0; i < config_.width; ++i) {
    const float value = row[i];
    if (next == config_.inputs.size() || config_.inputs[next] != i) {
      *out++ = value;
      continue;
    }
    ++next;
    if (IsNan(value)) continue;
    const uint32_t category = SaturatingToInt<uint32_t>(static_cast<double>(value));
    const Place place = PlaceFor(i, category, config_.buckets);
    sums[place.bucket] += place.negative ? -1.0F : 1.0F;
  }
  std::copy_n(sums.begin(), config_.buckets, out);
}

}  // namespace dipper::learn
