// The simulated medium: what a reader sees, and an undo log of what is not yet durable.
#include "hal/sim/partition_sim.h"

#include <algorithm>

namespace dipper::hal {
namespace {

using base::Status;

/// SplitMix64 (Steele, Lea, Flood 2014): a seed gives the same outcome on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  uint64_t Below(uint64_t bound) { return Next() % bound; }

 private:
  uint64_t state_;
};

}  // namespace

PartitionSim::PartitionSim(const Geometry& geometry, SimPower* power)
    : geometry_(geometry), own_(geometry.size_bytes, 0xFF), memory_(own_), power_(power) {}

PartitionSim::PartitionSim(const Geometry& geometry, base::MutableBytes memory, SimPower* power)
    : geometry_(geometry), memory_(memory), power_(power) {
  DIPPER_CHECK(memory.size() == geometry.size_bytes);
}

/// Counts the call. False: there is no power. `cut`: this operation is the last one begun.
bool PartitionSim::Begin(SimCall call, bool* fails, bool* cut) {
  *fails = *cut = false;
  if (power_ != nullptr && !power_->on) return false;
  const uint64_t number = calls_[static_cast<size_t>(call)]++;
  *fails = fault_.call == call && number >= fault_.first && number - fault_.first < fault_.count;
  if (power_ == nullptr || call == SimCall::kRead) return true;
  *cut = power_->operations++ == power_->cut_at;
  if (*cut) power_->on = false;
  return true;
}

bool PartitionSim::InRange(uint64_t offset, uint64_t length) const {
  return offset <= geometry_.size_bytes && length <= geometry_.size_bytes - offset;
}

Status PartitionSim::Read(uint64_t offset, base::MutableBytes to) {
  if (!InRange(offset, to.size())) return Status::kOutOfRange;
  bool fails = false;
  bool cut = false;
  if (!Begin(SimCall::kRead, &fails, &cut)) return Status::kUnavailable;
  if (fails) return fault_.status;
  std::copy_n(memory_.begin() + static_cast<ptrdiff_t>(offset), to.size(), to.begin());
  return Status::kOk;
}

void PartitionSim::Put(uint64_t offset, base::ByteView from) {
  written_bytes_ += from.size();
  for (size_t done = 0; done < from.size();) {
    const uint64_t at = offset + done;
    const auto begin = static_cast<uint32_t>(at % kSectorBytes);
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(kSectorBytes - begin, from.size() - done));
    touches_.push_back({at / kSectorBytes, begin, length, data_.size()});
    const auto place = memory_.begin() + static_cast<ptrdiff_t>(at);
    former_.insert(former_.end(), place, place + length);
    data_.insert(data_.end(), from.begin() + static_cast<ptrdiff_t>(done),
                 from.begin() + static_cast<ptrdiff_t>(done + length));
    std::copy_n(from.begin() + static_cast<ptrdiff_t>(done), length, place);
    done += length;
  }
}

Status PartitionSim::Write(uint64_t offset, base::ByteView from) {
  if (!InRange(offset, from.size())) return Status::kOutOfRange;
  if (offset % geometry_.write_unit_bytes != 0 || from.size() % geometry_.write_unit_bytes != 0) {
    return Status::kInvalidArgument;
  }
  bool fails = false;
  bool cut = false;
  if (!Begin(SimCall::kWrite, &fails, &cut)) return Status::kUnavailable;
  if (fails && fault_.partial) Put(offset, from.first(from.size() / 2));
  if (fails) return fault_.status;
  Put(offset, from);
  return cut ? Status::kUnavailable : Status::kOk;
}

Status PartitionSim::Erase(uint64_t offset, uint64_t length) {
  if (!InRange(offset, length)) return Status::kOutOfRange;
  if (offset % geometry_.erase_unit_bytes != 0 || length % geometry_.erase_unit_bytes != 0) {
    return Status::kInvalidArgument;
  }
  bool fails = false;
  bool cut = false;
  if (!Begin(SimCall::kErase, &fails, &cut)) return Status::kUnavailable;
  if (fails) return fault_.status;
  std::array<uint8_t, kSectorBytes> erased;
  erased.fill(0xFF);
  for (uint64_t done = 0; done < length; done += kSectorBytes) {
    Put(offset + done, base::ByteView(erased).first(std::min<uint64_t>(kSectorBytes, length - done)));
  }
  return cut ? Status::kUnavailable : Status::kOk;
}

Status PartitionSim::Sync() {
  bool fails = false;
  bool cut = false;
  if (!Begin(SimCall::kSync, &fails, &cut)) return Status::kUnavailable;
  if (fails) return fault_.status;
  if (cut) return Status::kUnavailable;
  touches_.clear();
  data_.clear();
  former_.clear();
  return Status::kOk;
}

/// The bytes without anything that is not synced.
std::vector<uint8_t> PartitionSim::Durable() const {
  std::vector<uint8_t> medium(memory_.begin(), memory_.end());
  for (size_t i = touches_.size(); i-- > 0;) {
    const Touch& touch = touches_[i];
    std::copy_n(former_.begin() + static_cast<ptrdiff_t>(touch.data), touch.length,
                medium.begin() + static_cast<ptrdiff_t>(touch.sector * kSectorBytes + touch.begin));
  }
  return medium;
}

void PartitionSim::Land(const Touch& touch, uint32_t length, std::vector<uint8_t>* medium) const {
  std::copy_n(data_.begin() + static_cast<ptrdiff_t>(touch.data), length,
              medium->begin() + static_cast<ptrdiff_t>(touch.sector * kSectorBytes + touch.begin));
}

std::vector<uint8_t> PartitionSim::OutcomeWith(uint64_t landed) const {
  DIPPER_CHECK(touches_.size() <= 64);
  std::vector<uint8_t> medium = Durable();
  for (size_t i = 0; i < touches_.size(); ++i) {
    if ((landed >> i & 1) != 0) Land(touches_[i], touches_[i].length, &medium);
  }
  return medium;
}

std::vector<uint8_t> PartitionSim::Outcome(uint64_t seed) const {
  Random random(seed);
  // Some seeds lose nearly all, some nearly nothing: a plain coin would seldom keep long runs together.
  const uint64_t lost_of_8 = seed == 0 ? 8 : seed == 1 ? 0 : 1 + random.Below(7);
  const bool may_tear = seed > 1;
  std::vector<uint8_t> medium = Durable();
  for (const Touch& touch : touches_) {
    const bool torn = may_tear && random.Below(6) == 0;
    if (torn && random.Below(4) == 0) {
      const uint64_t base = touch.sector * kSectorBytes + touch.begin;
      for (uint32_t i = 0; i < touch.length; ++i) medium[base + i] = static_cast<uint8_t>(random.Next());
    } else if (torn) {
      Land(touch, static_cast<uint32_t>(random.Below(touch.length)), &medium);
    } else if (random.Below(8) >= lost_of_8) {
      Land(touch, touch.length, &medium);
    }
  }
  return medium;
}

void PartitionSim::Load(base::ByteView bytes) {
  DIPPER_CHECK(bytes.size() == memory_.size());
  std::copy(bytes.begin(), bytes.end(), memory_.begin());
  touches_.clear();
  data_.clear();
  former_.clear();
}

void PartitionSim::FlipBits(uint64_t offset, uint8_t mask) {
  DIPPER_CHECK(offset < memory_.size());
  memory_[offset] = static_cast<uint8_t>(memory_[offset] ^ mask);
}

}  // namespace dipper::hal
