// Implementation of offline.h.
#include "agent/app/control/offline.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "agent/app/config/partition_path.h"
#include "agent/app/control/protocol.h"
#include "agent/app/control/text.h"
#include "agent/store/counters.h"
#include "hal/linux/partition_file.h"

namespace dipper::app {

using base::Status;
using schema::UpdateState;

namespace {

/// A partition to look at: no lock, no writes, the geometry that PartitionFile gives it.
class LookOnly final : public hal::Partition {
 public:
  ~LookOnly() {
    if (fd_ >= 0) ::close(fd_);
  }
  LookOnly() = default;
  LookOnly(const LookOnly&) = delete;
  LookOnly& operator=(const LookOnly&) = delete;

  bool Open(const char* what, const std::string& path, std::string* message) {
    const PartitionPath named = ReadPartitionPath(path);
    const std::string target = (named.by_name ? "/dev/disk/by-partlabel/" : "") + named.target;
    fd_ = ::open(target.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about {};
    uint64_t bytes = 0;
    bool good = fd_ >= 0 && ::fstat(fd_, &about) == 0;
    if (good && S_ISBLK(about.st_mode)) {
      good = ::ioctl(fd_, BLKGETSIZE64, &bytes) == 0;
    } else if (good) {
      bytes = static_cast<uint64_t>(about.st_size);
    }
    geometry_ = {bytes, 1, hal::PartitionFileOptions{}.erase_unit_bytes};
    if (good && bytes != 0) return true;
    *message = std::string("cannot read ") + what + " partition " + path + ": " +
               (good ? "it is empty" : std::strerror(errno)) +
               (errno == EACCES ? "; run as root or as the agent's user" : "");
    return false;
  }

  hal::Geometry geometry() const override { return geometry_; }
  Status Read(uint64_t offset, base::MutableBytes to) override {
    if (offset > geometry_.size_bytes || to.size() > geometry_.size_bytes - offset)
      return Status::kOutOfRange;
    for (size_t done = 0; done < to.size();) {
      const ssize_t got = ::pread(fd_, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return Status::kUnavailable;
      done += static_cast<size_t>(got);
    }
    return Status::kOk;
  }
  Status Write(uint64_t, base::ByteView) override { return Status::kPermissionDenied; }
  Status Erase(uint64_t, uint64_t) override { return Status::kPermissionDenied; }
  Status Sync() override { return Status::kPermissionDenied; }

 private:
  int fd_ = -1;
  hal::Geometry geometry_;
};

/// The place in boot that bears the model's name; one that bears none is the model's by its number.
uint32_t PlaceOf(const store::Counters& counters, std::string_view name, size_t number) {
  for (uint32_t place = 0; place < store::kMaxModels; ++place) {
    if (counters.name(place) == name) return place;
  }
  return static_cast<uint32_t>(number);
}

void ReadRecord(hal::Partition& boot, uint32_t place, ModelView* view) {
  const auto record = ReadBootRecord(boot, place);
  view->storage_of_newer_agent = !record.ok() && record.status() == Status::kUnimplemented;
  view->has_record = record.ok();
  if (record.ok()) view->record = *record;
}

/// What an agent that started now would say of the last offer or trial.
void ReadState(const store::OfferState& offer, const store::TransferState& transfer, ModelView* view) {
  const store::BootRecord& record = view->record;
  view->champion.digest = record.lkg_digest;
  view->challenger.digest = record.trial_digest;
  if (record.HasTrial()) {
    view->state = UpdateState::Trial;
    if (offer.digest != record.trial_digest) return;
  }
  view->offer_number = offer.number;
  view->offered = offer.digest;
  if (!record.HasTrial()) view->state = offer.state;
  view->reason = offer.reason;
  if (transfer.digest != offer.digest || transfer.block_count > store::kMaxTransferBlocks) return;
  view->blocks_total = transfer.block_count;
  for (uint32_t i = 0; i < transfer.block_count; ++i) view->blocks_have += transfer.Has(i) ? 1U : 0U;
}

bool ReadSlots(const ModelConfig& config, ModelView* view, std::string* message) {
  const std::pair<store::SlotId, const std::string*> slots[] = {{store::SlotId::kA, &config.slot_a},
                                                                {store::SlotId::kB, &config.slot_b},
                                                                {store::SlotId::kFactory, &config.factory}};
  for (const auto& [id, path] : slots) {
    if (path->empty()) continue;
    LookOnly partition;
    if (!partition.Open("slot", *path, message)) return false;
    view->slots.push_back(ViewSlot(partition, id, view->record));
    SlotView& slot = view->slots.back();
    if (slot.id == view->record.lkg_slot) {
      view->champion = slot.package;
      const bool whole = slot.holds == "champion" && slot.package.digest == view->record.lkg_digest;
      if (!whole && slot.holds != "newer_agent") view->lost = LostText(view->record.lkg_digest, slot);
      if (!view->lost.empty()) view->champion = {};
    }
    if (slot.id == view->record.trial_slot) view->challenger = slot.package;
    if (slot.holds != "previous") continue;
    const bool allowed = !view->record.IsDenied(slot.package.digest) && !view->record.HasTrial() &&
                         !(slot.package.security_version < view->record.floor);
    if (allowed) view->undo = slot.package;
    if (allowed) view->undo_slot = slot.id;
  }
  if (view->lost.empty()) view->lost = LostText(view->record, view->slots);
  return true;
}

}  // namespace

ConfiguredModel FindConfigured(const Config& config, std::string_view only) {
  std::string names;
  for (size_t i = 0; i < config.models.size(); ++i) {
    const std::string& id = config.models[i].id;
    if (id == only || (only.empty() && config.models.size() == 1))
      return {.exit_code = kExitOk, .message = {}, .index = i};
    names += (names.empty() ? "" : ", ") + id;
  }
  if (only.empty()) {
    return {.exit_code = kExitUsage,
            .message = "this device has several models: say which with --model (" + names + ")"};
  }
  return {.exit_code = kExitNotFound,
          .message = "there is no model " + std::string(only) + " in the configuration; it has " + names};
}

bool ViewOffline(const Config& config, std::string_view only, bool with_slots, ControlView* view,
                 bool* not_found, std::string* message) {
  *not_found = false;
  LookOnly boot;
  if (!boot.Open("boot", config.storage.boot, message)) return false;
  auto counters = std::make_unique<store::Counters>(boot);
  const Status loaded = counters->Load();
  LookOnly data;
  std::string ignored;  // without the log only the time of the confirm is missing
  store::EventLog log(data);
  const bool has_log = data.Open("data", config.storage.data, &ignored) && Ok(log.Open());
  view->readings.device = config.device.id;
  view->readings.fleet = config.device.fleet;
  view->readings.trusted_time_s = counters->trusted_time_s();
  for (size_t i = 0; i < config.models.size(); ++i) {
    if (!only.empty() && config.models[i].id != only) continue;
    ModelView& model = view->models.emplace_back();
    model.id = config.models[i].id;
    const uint32_t place = PlaceOf(*counters, model.id, i);
    ReadRecord(boot, place, &model);
    model.storage_of_newer_agent = model.storage_of_newer_agent || loaded == Status::kUnimplemented;
    if (model.storage_of_newer_agent) continue;
    if (model.has_record) ReadState(counters->offer(place), counters->transfer(place), &model);
    if (!ReadSlots(config.models[i], &model, message)) return false;
    if (!with_slots) model.slots.clear();
    if (has_log) model.serving_since_ns = FindConfirm(log, model.champion.digest);
  }
  *not_found = view->models.empty();
  if (*not_found) *message = "there is no model " + std::string(only) + " in the configuration";
  return !*not_found;
}

bool ReadLogOffline(const Config& config, std::string_view model, uint64_t count,
                    const std::function<void(const store::Event&)>& show, std::string* message) {
  LookOnly data;
  if (!data.Open("data", config.storage.data, message)) return false;
  store::EventLog log(data);
  if (const Status status = log.Open(); !Ok(status)) {
    *message = std::string("the event log cannot be read (") + base::StatusName(status) + "): " +
               (status == Status::kUnimplemented ? "it was written by a newer agent" : "is data damaged?");
    return false;
  }
  alignas(16) std::array<uint8_t, store::kEventBytes> buffer;
  for (uint64_t i = FirstEntry(log, model, count); i <= log.newest(); ++i) {
    const auto entry = log.Read(i, buffer);
    if (entry.ok() && IsOfModel(*entry, model)) show(*entry);
  }
  return true;
}

}  // namespace dipper::app
