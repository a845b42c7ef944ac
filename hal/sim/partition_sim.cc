// The simulated medium: what a reader sees, and an undo log of what is not yet durable.
#include "hal/sim/partition_sim.h"

#include <algorithm>
#include <utility>

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
bool PartitionSim::Begin(SimCall call, uint64_t offset, uint64_t length, bool* fails, bool* cut) {
  *fails = *cut = false;
  if (power_ != nullptr && !power_->on) return false;
  const uint64_t number = calls_[static_cast<size_t>(call)]++;
  *fails = fault_.call == call && number >= fault_.first && number - fault_.first < fault_.count;
  if (power_ == nullptr || call == SimCall::kRead) return true;
  if (power_->trace != nullptr) power_->trace->push_back({this, call, offset, length});
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
  if (!Begin(SimCall::kRead, offset, to.size(), &fails, &cut)) return Status::kUnavailable;
  const size_t count = !fails || fault_.flip_bit ? to.size() : fault_.partial ? to.size() / 2 : 0;
  std::copy_n(memory_.begin() + static_cast<ptrdiff_t>(offset), count, to.begin());
  if (fails && fault_.flip_bit) FlipOne(to);
  return fails ? fault_.status : Status::kOk;
}

/// Somewhere else for each call, the same in each run.
void PartitionSim::FlipOne(base::MutableBytes bytes) const {
  if (bytes.empty()) return;
  Random random(calls_[static_cast<size_t>(fault_.call)]);
  const uint64_t bit = random.Below(bytes.size() * 8);
  bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1U << (bit % 8)));
}

void PartitionSim::Put(uint64_t offset, base::ByteView from) {
  written_bytes_ += from.size();
  for (size_t done = 0; done < from.size();) {
    const uint64_t at = offset + done;
    const auto begin = static_cast<uint32_t>(at % kSectorBytes);
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(kSectorBytes - begin, from.size() - done));
    touches_.push_back({at / kSectorBytes, begin, length, data_.size()});
    MarkDirty(at / kSectorBytes);
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
  if (!Begin(SimCall::kWrite, offset, from.size(), &fails, &cut)) return Status::kUnavailable;
  if (fails && fault_.flip_bit) {
    std::vector<uint8_t> wrong(from.begin(), from.end());
    FlipOne(wrong);
    Put(offset, wrong);
  } else if (fails && fault_.partial) {
    Put(offset, from.first(from.size() / 2));
  }
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
  if (!Begin(SimCall::kErase, offset, length, &fails, &cut)) return Status::kUnavailable;
  if (fails) return fault_.status;
  std::array<uint8_t, kSectorBytes> erased;
  erased.fill(0xFF);
  for (uint64_t done = 0; done < length; done += kSectorBytes) {
    // Nothing can differ where it is erased already: no touch, so that the outcomes of the others stay few.
    const base::MutableBytes now = SectorBytes((offset + done) / kSectorBytes);
    if (std::equal(now.begin(), now.end(), erased.begin())) continue;
    Put(offset + done, base::ByteView(erased).first(now.size()));
  }
  return cut ? Status::kUnavailable : Status::kOk;
}

Status PartitionSim::Sync() {
  bool fails = false;
  bool cut = false;
  if (!Begin(SimCall::kSync, 0, 0, &fails, &cut)) return Status::kUnavailable;
  if (fails) return fault_.status;
  if (cut) return Status::kUnavailable;
  Forget();
  return Status::kOk;
}

base::MutableBytes PartitionSim::SectorBytes(uint64_t sector) const {
  const uint64_t begin = sector * kSectorBytes;
  return memory_.subspan(begin, std::min<uint64_t>(kSectorBytes, memory_.size() - begin));
}

void PartitionSim::MarkDirty(uint64_t sector) {
  if (base_ == nullptr || is_dirty_[sector]) return;
  is_dirty_[sector] = true;
  dirty_.push_back(static_cast<uint32_t>(sector));
}

void PartitionSim::Land(const Touch& touch, uint32_t length) const {
  std::copy_n(data_.begin() + static_cast<ptrdiff_t>(touch.data), length,
              memory_.begin() + static_cast<ptrdiff_t>(touch.sector * kSectorBytes + touch.begin));
}

/// Back to what is durable: the bytes without anything that is not synced.
void PartitionSim::UndoTouches() const {
  for (size_t i = touches_.size(); i-- > 0;) {
    const Touch& touch = touches_[i];
    std::copy_n(former_.begin() + static_cast<ptrdiff_t>(touch.data), touch.length,
                memory_.begin() + static_cast<ptrdiff_t>(touch.sector * kSectorBytes + touch.begin));
  }
}

void PartitionSim::LandWith(uint64_t landed) const {
  DIPPER_CHECK(touches_.size() <= 64);
  UndoTouches();
  for (size_t i = 0; i < touches_.size(); ++i) {
    if ((landed >> i & 1) != 0) Land(touches_[i], touches_[i].length);
  }
}

void PartitionSim::LandSeed(uint64_t seed) const {
  UndoTouches();
  Random random(seed);
  // Some seeds lose nearly all, some nearly nothing: a plain coin would seldom keep long runs together.
  const uint64_t lost_of_8 = seed == 0 ? 8 : seed == 1 ? 0 : 1 + random.Below(7);
  const bool may_tear = seed > 1;
  // Which of two writes over the same bytes came last is the medium's affair too.
  const bool reversed = may_tear && random.Below(8) == 0;
  for (size_t i = 0; i < touches_.size(); ++i) {
    const Touch& touch = touches_[reversed ? touches_.size() - 1 - i : i];
    const bool torn = seed == 2 || seed == 3 || (may_tear && random.Below(6) == 0);
    if (seed == 2) {
      Land(touch, touch.length / 2);
    } else if (seed == 3 || (torn && random.Below(4) == 0)) {
      const base::MutableBytes sector = SectorBytes(touch.sector).subspan(touch.begin, touch.length);
      for (uint8_t& byte : sector) byte = static_cast<uint8_t>(random.Next());
    } else if (torn) {
      Land(touch, static_cast<uint32_t>(random.Below(touch.length)));
    } else if (random.Below(8) >= lost_of_8) {
      Land(touch, touch.length);
    }
  }
}

/// The memory after `land`, which is taken back.
template <typename LandAll>
std::vector<uint8_t> PartitionSim::ContentOf(const LandAll& land) const {
  const std::vector<uint8_t> now(memory_.begin(), memory_.end());
  land();
  std::vector<uint8_t> content(memory_.begin(), memory_.end());
  std::copy(now.begin(), now.end(), memory_.begin());
  return content;
}

std::vector<uint8_t> PartitionSim::OutcomeWith(uint64_t landed) const {
  return ContentOf([&] { LandWith(landed); });
}

std::vector<uint8_t> PartitionSim::Outcome(uint64_t seed) const {
  return ContentOf([&] { LandSeed(seed); });
}

template <typename LandAll>
SimSnapshot PartitionSim::SnapshotOf(const LandAll& land) {
  std::vector<uint8_t> now;
  for (const Touch& touch : touches_) {
    const base::MutableBytes sector = SectorBytes(touch.sector);
    now.insert(now.end(), sector.begin(), sector.end());
  }
  land();
  SimSnapshot snapshot = Save();
  size_t at = 0;
  for (const Touch& touch : touches_) {
    const base::MutableBytes sector = SectorBytes(touch.sector);
    std::copy_n(now.begin() + static_cast<ptrdiff_t>(at), sector.size(), sector.begin());
    at += sector.size();
  }
  return snapshot;
}

SimSnapshot PartitionSim::OutcomeSnapshotWith(uint64_t landed) {
  return SnapshotOf([&] { LandWith(landed); });
}

SimSnapshot PartitionSim::OutcomeSnapshot(uint64_t seed) {
  return SnapshotOf([&] { LandSeed(seed); });
}

void PartitionSim::Forget() {
  touches_.clear();
  data_.clear();
  former_.clear();
}

void PartitionSim::Load(base::ByteView bytes) {
  DIPPER_CHECK(bytes.size() == memory_.size());
  std::copy(bytes.begin(), bytes.end(), memory_.begin());
  base_.reset();
  Forget();
}

void PartitionSim::Rebase(std::shared_ptr<const std::vector<uint8_t>> to) {
  base_ = std::move(to);
  dirty_.clear();
  is_dirty_.assign((memory_.size() + kSectorBytes - 1) / kSectorBytes, false);
}

SimSnapshot PartitionSim::Save() {
  if (base_ == nullptr) Rebase(std::make_shared<const std::vector<uint8_t>>(memory_.begin(), memory_.end()));
  std::sort(dirty_.begin(), dirty_.end());
  SimSnapshot snapshot;
  snapshot.base = base_;
  for (const uint32_t sector : dirty_) {
    const base::MutableBytes now = SectorBytes(sector);
    if (std::equal(now.begin(), now.end(), base_->begin() + ptrdiff_t{sector} * kSectorBytes)) continue;
    snapshot.sectors.push_back(sector);
    snapshot.bytes.insert(snapshot.bytes.end(), now.begin(), now.end());
  }
  return snapshot;
}

void PartitionSim::Restore(const SimSnapshot& snapshot) {
  DIPPER_CHECK(snapshot.base != nullptr && snapshot.base->size() == memory_.size());
  Forget();
  if (base_ == snapshot.base) {
    for (const uint32_t sector : dirty_) {
      const base::MutableBytes now = SectorBytes(sector);
      std::copy_n(base_->begin() + ptrdiff_t{sector} * kSectorBytes, now.size(), now.begin());
      is_dirty_[sector] = false;
    }
    dirty_.clear();
  } else {
    std::copy(snapshot.base->begin(), snapshot.base->end(), memory_.begin());
    Rebase(snapshot.base);
  }
  size_t at = 0;
  for (const uint32_t sector : snapshot.sectors) {
    const base::MutableBytes now = SectorBytes(sector);
    std::copy_n(snapshot.bytes.begin() + static_cast<ptrdiff_t>(at), now.size(), now.begin());
    at += now.size();
    MarkDirty(sector);
  }
}

uint64_t SimSnapshot::Hash() const {
  uint64_t hash = 0xCBF29CE484222325;
  const auto mix = [&hash](uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 32;
  };
  for (const uint32_t sector : sectors) mix(sector);
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) mix(base::Load<uint64_t>(bytes.data() + i));
  for (; i < bytes.size(); ++i) mix(bytes[i]);
  return hash;
}

std::vector<uint8_t> SimSnapshot::Content() const {
  std::vector<uint8_t> content = *base;
  size_t at = 0;
  for (const uint32_t sector : sectors) {
    const size_t begin = size_t{sector} * PartitionSim::kSectorBytes;
    const size_t count = std::min<size_t>(PartitionSim::kSectorBytes, content.size() - begin);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at), count,
                content.begin() + static_cast<ptrdiff_t>(begin));
    at += count;
  }
  return content;
}

bool SimSnapshot::operator==(const SimSnapshot& other) const {
  if (base == other.base) return sectors == other.sectors && bytes == other.bytes;
  return Content() == other.Content();
}

void PartitionSim::FlipBits(uint64_t offset, uint8_t mask) {
  DIPPER_CHECK(offset < memory_.size());
  memory_[offset] = static_cast<uint8_t>(memory_[offset] ^ mask);
  MarkDirty(offset / kSectorBytes);
}

}  // namespace dipper::hal
