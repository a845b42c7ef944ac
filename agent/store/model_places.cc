// Places by name, by package, and free ones.
#include "agent/store/model_places.h"

#include <algorithm>

#include "agent/store/boot_record.h"
#include "agent/store/mutation.h"
#include "agent/store/slot.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr uint32_t kNoPlace = UINT32_MAX;

/// What lies at a place that has no name.
struct Unnamed {
  bool free = false;    ///< No valid record.
  BootRecord record{};  ///< Valid unless free; all zero when a newer agent wrote it.
};

Unnamed ReadPlace(hal::Partition& boot, const BootLayout& layout, uint32_t place) {
  CopyPair pair;
  pair.Configure(boot, layout.Record(place));
  alignas(16) std::array<uint8_t, kRecordPageBytes> page;
  Unnamed found;
  const Status loaded = pair.Load(page);
  found.free = loaded == Status::kNotFound;
  if (!base::Ok(loaded)) return found;
  const auto record = DecodeBootRecord(base::ByteView(page).first(kBootRecordBytes));
  if (record.ok()) found.record = *record;
  return found;
}

bool SlotHolds(hal::Partition* partition, const BootRecord& record) {
  if (partition == nullptr) return false;
  Slot slot;
  if (!base::Ok(slot.Open(partition, false))) return false;
  const auto header = slot.ReadHeader();
  if (!header.ok() || header->digest.IsZero()) return false;
  return header->digest == record.lkg_digest || header->digest == record.trial_digest;
}

class Assignment {
 public:
  Assignment(hal::Partition& boot, const BootLayout& layout, const Counters& counters,
             std::span<const PlaceRequest> models, std::span<uint32_t> places)
      : models_(models), places_(places), count_(layout.models) {
    std::ranges::fill(places_, kNoPlace);
    for (uint32_t place = 0; place < count_; ++place) {
      unnamed_[place] = counters.name(place).empty();
      if (unnamed_[place]) found_[place] = ReadPlace(boot, layout, place);
      for (size_t i = 0; i < models_.size(); ++i) {
        if (!unnamed_[place] && counters.name(place) == models_[i].name) places_[i] = place;
      }
    }
  }

  void ByPackage() {
    for (uint32_t place = 0; place < count_; ++place) {
      if (!unnamed_[place] || found_[place].free) continue;
      for (size_t i = 0; i < models_.size(); ++i) {
        if (places_[i] != kNoPlace) continue;
        const BootRecord& record = found_[place].record;
        if (!SlotHolds(models_[i].slot_a, record) && !SlotHolds(models_[i].slot_b, record)) continue;
        Take(i, place);
        break;
      }
    }
  }

  void TheOnlyOneLeft() {
    size_t models = 0, model = 0;
    uint32_t records = 0, at = 0;
    for (size_t i = 0; i < models_.size(); ++i) {
      if (places_[i] != kNoPlace) continue;
      ++models;
      model = i;
    }
    for (uint32_t place = 0; place < count_; ++place) {
      if (!unnamed_[place] || found_[place].free) continue;
      ++records;
      at = place;
    }
    if (models == 1 && records == 1) Take(model, at);
  }

  /// False: there are not enough.
  bool FreeOnes() {
    for (size_t i = 0; i < models_.size(); ++i) {
      for (uint32_t place = 0; place < count_ && places_[i] == kNoPlace; ++place) {
        if (unnamed_[place] && found_[place].free) Take(i, place);
      }
      if (places_[i] == kNoPlace) return false;
    }
    return true;
  }

 private:
  void Take(size_t model, uint32_t place) {
    places_[model] = place;
    unnamed_[place] = false;
  }

  std::span<const PlaceRequest> models_;
  std::span<uint32_t> places_;
  uint32_t count_;
  std::array<bool, kMaxModels> unnamed_{};
  std::array<Unnamed, kMaxModels> found_{};
};

}  // namespace

Status AssignPlaces(hal::Partition& boot, Counters& counters, std::span<const PlaceRequest> models,
                    std::span<uint32_t> places) {
  DIPPER_CHECK(models.size() == places.size() && models.size() <= kMaxModels);
  DIPPER_ASSIGN_OR_RETURN(const BootLayout layout, ComputeBootLayout(boot.geometry()));
  Assignment assignment(boot, layout, counters, models, places);
  assignment.ByPackage();
  assignment.TheOnlyOneLeft();
  if (!assignment.FreeOnes()) return Status::kResourceExhausted;
  Status stored = Status::kOk;
  for (size_t i = 0; i < models.size() && base::Ok(stored); ++i) {
    stored = counters.SetName(places[i], models[i].name);
  }
  return base::Ok(stored) ? Status::kOk : Status::kUnavailable;
}

Status ForgetModel(hal::Partition& boot, Counters& counters, std::string_view name) {
  DIPPER_ASSIGN_OR_RETURN(const BootLayout layout, ComputeBootLayout(boot.geometry()));
  if (name.empty()) return Status::kNotFound;
  for (uint32_t place = 0; place < layout.models; ++place) {
    if (counters.name(place) != name) continue;
    if (Mutated(Mutation::kForgetNameFirst)) DIPPER_RETURN_IF_ERROR(counters.SetName(place, {}));
    const CopyPairLayout record = layout.Record(place);
    DIPPER_RETURN_IF_ERROR(boot.Erase(record.offset, 2 * record.stride));
    if (!Mutated(Mutation::kForgetNotSynced)) DIPPER_RETURN_IF_ERROR(boot.Sync());
    return counters.SetName(place, {});
  }
  return Status::kNotFound;
}

}  // namespace dipper::store
