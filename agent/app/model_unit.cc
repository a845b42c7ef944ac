// One model's parts and its start.
#include "agent/app/model_unit.h"

#include <algorithm>
#include <cstdio>

#include "agent/app/control/view.h"
#include "agent/app/version.h"
#include "agent/base/crc32c.h"
#include "agent/package/verify.h"
#include "agent/store/slot.h"

namespace dipper::app {
namespace {

using base::Status;

update::UpdaterConfig MakeUpdaterConfig(const SharedParts& shared, const ModelConfig& model, uint32_t place) {
  const Config& config = shared.config;
  update::UpdaterConfig updater;
  updater.group_keys = &shared.group_keys;
  // LoadConfig has checked the lengths.
  DIPPER_CHECK(Ok(updater.model_id.Assign(model.id)) && Ok(updater.device_id.Assign(config.device.id)) &&
               Ok(updater.fleet.Assign(config.device.fleet)) &&
               Ok(updater.hardware.Assign(config.device.hardware)));
  for (const std::string& group : config.device.groups) {
    base::FixedString<64> name;
    DIPPER_CHECK(Ok(name.Assign(group)) && Ok(updater.groups.PushBack(name)));
  }
  updater.agent_major = kVersionMajor;
  updater.agent_minor = kVersionMinor;
  updater.agent_patch = kVersionPatch;
  updater.model_index = place;
  updater.max_image_bytes = base::AlignUp(model.max_image_bytes, 16);
  updater.checkpoint_seconds = static_cast<uint32_t>(model.checkpoint_interval_s);
  updater.transfer.jitter = base::Crc32c(base::AsBytes(config.device.id)) | 1;
  updater.transfer.bytes_per_s = static_cast<uint32_t>(config.mqtt.transfer_bytes_per_s);
  updater.trial_checkpoint_seconds =
      std::min<uint32_t>(updater.trial_checkpoint_seconds, updater.checkpoint_seconds);
  updater.healthy_seconds = static_cast<uint32_t>(config.health.healthy_after_s);
  updater.max_latency_ns = static_cast<uint64_t>(model.max_latency_us) * 1000;
  return updater;
}

/// Column that says whether a sample is an anomaly, of whichever source has one.
std::string_view TruthOf(const Config& config) {
  for (const SourceConfig& source : config.sources) {
    if (!source.truth.empty()) return source.truth;
  }
  return {};
}

/// Model of the package in one slot, unsigned; empty: none that can be read. Damage names nobody.
std::string OwnerOfSlot(hal::Partition& partition) {
  auto slot = std::make_unique<store::Slot>();
  if (!Ok(slot->Open(&partition, false))) return {};
  const auto known = slot->ReadHeader();
  if (!known.ok() || known->package_bytes < package::kHeaderBytes) return {};
  std::vector<uint64_t> memory(package::kHeadMemoryBytes / 8 + 2);
  auto* aligned = reinterpret_cast<uint8_t*>(base::AlignUp(reinterpret_cast<uintptr_t>(memory.data()), 16));
  const base::MutableBytes bytes(aligned, package::kHeadMemoryBytes);
  const uint64_t at = slot->layout().package_offset;
  package::Header header;
  if (!Ok(store::ReadRetrying(partition, at, bytes.first(package::kHeaderBytes))) ||
      package::ParseHeader(bytes.first(package::kHeaderBytes), &header) != schema::Reason::None ||
      header.head_bytes() > bytes.size()) {
    return {};
  }
  const base::MutableBytes head = bytes.first(static_cast<size_t>(header.head_bytes()));
  package::Manifest manifest;
  if (!Ok(store::ReadRetrying(partition, at, head)) ||
      package::Manifest::Parse(header, head, &manifest) != schema::Reason::None ||
      manifest.package_digest() != known->digest) {
    return {};
  }
  return std::string(manifest.model());
}

/// Null: nothing is recorded; RecorderProblem says why.
std::unique_ptr<store::RecorderRing> MakeRing(const SharedParts& shared, uint32_t number) {
  const auto area = RecorderAreaOf(shared.config, shared.devices.data.geometry(), number);
  if (!area.ok()) return nullptr;
  return std::make_unique<store::RecorderRing>(shared.devices.data, *area, shared.config.models[number].id);
}

std::unique_ptr<runtime::Recorder> MakeRecorder(const SharedParts& shared, uint32_t number, uint32_t place,
                                                store::RecorderRing* ring) {
  if (ring == nullptr) return nullptr;
  auto recorder = std::make_unique<runtime::Recorder>(
      runtime::RecorderConfig{.agent_version = kVersionText,
                              .session = shared.session,
                              .bytes_per_day = shared.config.recorder.bytes_per_day},
      *ring, shared.devices.clock);
  recorder->TellTo(shared.reporter, shared.config.models[number].id, static_cast<uint8_t>(place));
  return recorder;
}

/// Null: nothing may leave the device.
std::unique_ptr<runtime::SnapshotSender> MakeSnapshot(const SharedParts& shared, uint32_t number,
                                                      uint32_t place, runtime::Recorder* recorder) {
  const SnapshotConfig& allowed = shared.config.snapshot;
  if (!allowed.upload && !allowed.upload_recording) return nullptr;
  const ModelConfig& model = shared.config.models[number];
  return std::make_unique<runtime::SnapshotSender>(
      runtime::SnapshotConfig{.fleet = shared.config.device.fleet,
                              .device = shared.config.device.id,
                              .model = model.id,
                              .agent_version = kVersionText,
                              .session = shared.session,
                              .place = static_cast<uint8_t>(place),
                              .allow_image = allowed.upload,
                              .allow_recording = allowed.upload_recording,
                              .bytes_per_s = static_cast<uint64_t>(allowed.bytes_per_s),
                              .max_image_bytes = base::AlignUp(model.max_image_bytes, 16)},
      shared.devices.clock, shared.outbox, shared.reporter, recorder);
}

}  // namespace

void Say(const std::string& text) { std::fprintf(stderr, "dipper-agent: %s\n", text.c_str()); }

base::Result<store::RecorderArea> RecorderAreaOf(const Config& config, const hal::Geometry& data,
                                                 uint32_t number) {
  if (config.recorder.bytes == 0) return Status::kNotFound;
  return store::PlaceRecorder(data, config.recorder.bytes, static_cast<uint32_t>(config.recorder.segments),
                              number, static_cast<uint32_t>(config.models.size()));
}

std::string RecorderProblem(const Config& config, const hal::Geometry& data) {
  const auto area = RecorderAreaOf(config, data, 0);
  if (area.ok() || area.status() == Status::kNotFound) return {};
  return "recorder.bytes: " + std::to_string(config.recorder.bytes) + " bytes in " +
         std::to_string(config.recorder.segments) + " segments for " + std::to_string(config.models.size()) +
         " model(s) do not fit: data leaves " + std::to_string(store::RecorderRoom(data)) +
         " bytes for it, and a segment needs at least 16384; nothing is recorded";
}

std::string TroubleOf(ModelDevices& devices, const std::string& id) {
  if (!devices.trouble.empty()) return devices.trouble;
  for (hal::Partition* slot : {&devices.slot_a, &devices.slot_b}) {
    std::string owner = OwnerOfSlot(*slot);
    if (owner.empty() || owner == id) continue;
    return "model " + id + ": its slots hold a package of model " + owner +
           "; were the paths exchanged, or the id changed? Nothing was written";
  }
  return {};
}

ModelUnit::ModelUnit(const SharedParts& shared, uint32_t number, uint32_t place)
    : config_(shared.config.models[number]),
      devices_(shared.devices.models[number]),
      place_(place),
      prefix_(shared.config.models.size() > 1 ? "model " + config_.id + ": " : ""),
      boot_(shared.devices.boot),
      first_image_(config_.max_image_bytes),
      second_image_(config_.max_image_bytes),
      recorder_ring_(MakeRing(shared, number)),
      recorder_(MakeRecorder(shared, number, place, recorder_ring_.get())),
      snapshot_(MakeSnapshot(shared, number, place, recorder_.get())),
      uncertain_features_(shared.config.privacy.uncertain_features.begin(),
                          shared.config.privacy.uncertain_features.end()),
      runner_({.id = config_.id,
               .number = number,
               .place = static_cast<uint8_t>(place),
               .truth = TruthOf(shared.config),
               .publish_predictions = shared.config.mqtt.publish_predictions,
               .labels_per_s = shared.config.labels.max_per_s,
               .uncertain_features = uncertain_features_,
               .uncertain_samples = static_cast<size_t>(shared.config.privacy.uncertain_samples),
               .max_image_bytes = config_.max_image_bytes,
               .slot_bytes = devices_.slot_a.geometry().size_bytes},
              {.clock = shared.devices.clock,
               .transport = shared.transport,
               .reporter = shared.reporter,
               .marker = shared.marker,
               .recorder = recorder_.get(),
               .snapshot = snapshot_.get()}),
      updater_(MakeUpdaterConfig(shared, config_, place), {first_image_.bytes(), second_image_.bytes()},
               {.store = {.boot = &shared.devices.boot,
                          .slot_a = &devices_.slot_a,
                          .slot_b = &devices_.slot_b,
                          .factory = devices_.has_factory ? &devices_.factory : nullptr},
                .trust = &shared.trust,
                .transport = &shared.turns.Of(number),
                .observer = this}) {
  runner_.Connect(updater_);
}

base::Status ModelUnit::Start(const store::LastRun& last, std::string* message) {
  if (recorder_ != nullptr && !Ok(recorder_->Start(updater_))) {
    Say(prefix_ + "the data partition cannot be read for the recorder; nothing is recorded");
  }
  const auto before = ReadBootRecord(boot_, place_);  // the start repairs it
  const Status status = updater_.Start(last);
  if (Ok(status)) {
    lost_ = FindLoss(before);
    after_loss_ = updater_.Status().champion;
    return status;
  }
  *message =
      prefix_ + "storage cannot be used (" + base::StatusName(status) + "): " +
      (status == Status::kUnimplemented ? kNewerAgent
                                        : "check the sizes of boot and slots against model.max_image_bytes");
  return status;
}

/// What the record named and the start did not find. Cost: reads the slots where something is lost.
std::string ModelUnit::FindLoss(const base::Result<store::BootRecord>& before) {
  const store::BootRecord& now = updater_.store().record();
  if (!before.ok() || stepped_down_ || now.lkg_digest == before->lkg_digest) {
    // Nobody has found it since: the record of this start says so too.
    if (now.lkg_slot != store::SlotId::kNone || now.floor == base::SecurityVersion{}) return {};
    const SlotView slots[] = {ViewSlot(devices_.slot_a, store::SlotId::kA, now),
                              ViewSlot(devices_.slot_b, store::SlotId::kB, now)};
    return LostText(now, slots);
  }
  hal::Partition* slot = &devices_.factory;
  if (before->lkg_slot == store::SlotId::kA) slot = &devices_.slot_a;
  if (before->lkg_slot == store::SlotId::kB) slot = &devices_.slot_b;
  if (before->lkg_slot == store::SlotId::kNone || before->reset_pending) return {};
  return LostText(before->lkg_digest, ViewSlot(*slot, before->lkg_slot, now));
}

uint64_t ModelUnit::FirstRow() {
  const learn::Model* champion = updater_.champion();
  return champion != nullptr && champion->samples() > 0 ? champion->last_id() + 1 : 0;
}

std::string ModelUnit::ServingText() {
  const std::string lost(this->lost());
  if (updater_.champion() == nullptr) {
    if (lost.empty()) return prefix_ + "no model yet";
    return prefix_ + "no model: " + lost + "; install it again (dipper-agent install FILE) or offer it again";
  }
  const update::UpdateStatus status = updater_.Status();
  return prefix_ + "serving " + std::string(status.champion_name.view()) + " " +
         std::string(status.champion_version.view()) + " from row " + std::to_string(FirstRow()) +
         (lost.empty() ? "" : ", because " + lost);
}

void ModelUnit::OnUpdateEvent(const update::UpdateEvent& event) {
  std::string text = prefix_ + "update " + schema::EnumNameUpdateState(event.from) + " -> " +
                     schema::EnumNameUpdateState(event.to);
  if (event.reason != schema::Reason::None)
    text += std::string(" (") + schema::EnumNameReason(event.reason) + ")";
  if (!event.package.IsZero()) text += " package " + std::string(base::ToHex(event.package).brief());
  if (!event.name.empty())
    text += " " + std::string(event.name.view()) + " " + std::string(event.version.view());
  Say(text);
  ++events_;
  runner_.OnUpdateEvent(event);
  if (event.to != event.from) MaybeKill(event.to, "enter");
}

}  // namespace dipper::app
