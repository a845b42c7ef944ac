// See agent_world.h.
#include "tests/unit/agent/runtime/agent_world.h"

#include <array>
#include <cmath>

#include "tests/unit/agent/learn/spec_maker.h"
#include "tools/lab/spec_text.h"
#include "tools/lab/train.h"

namespace dipper::runtime::test {

using base::Status;
using telemetry::TopicKind;

std::string Wave(uint64_t row) {
  return std::to_string(std::sin(static_cast<double>(row) * 0.1) +
                        0.05 * learn::testing::Numbers(row).Normal());
}

Status LineSource::Poll(hal::Record* record) {
  if (!told_header_ && !header_.empty()) {
    told_header_ = true;
    text_ = header_;
    *record = {.kind = hal::RecordKind::kHeader, .payload = base::AsBytes(text_)};
    return Status::kOk;
  }
  if (due == 0) return Status::kNotFound;
  --due;
  text_ = line_(row_);
  *record = {.encoding = header_.empty() ? hal::RecordEncoding::kJson : hal::RecordEncoding::kCsvLine,
             .sequence = row_++,
             .payload = base::AsBytes(text_)};
  return Status::kOk;
}

Release MakeRelease(schema::SpecT spec, const std::string& version, uint64_t max_latency_ns,
                    const std::function<void(schema::GatePolicyT&)>& gate) {
  spec.budget_bytes = 64 * 1024;
  return update::test::MakeRelease(version, 1, {.edit = [&](schema::ManifestT& manifest, auto& image) {
                                     manifest.model = spec.model_id;
                                     manifest.spec = lab::CompileSpec(spec);
                                     image = lab::FreshImage(spec).image;
                                     manifest.gate = std::make_unique<schema::GatePolicyT>();
                                     manifest.gate->kind = schema::GateKind::Installed;
                                     manifest.gate->deadline_seconds = 2;
                                     manifest.gate->at_deadline = schema::AtDeadline::Confirm;
                                     manifest.gate->max_latency_ns = max_latency_ns;
                                     if (gate) gate(*manifest.gate);
                                   }});
}

namespace {

hal::Geometry SlotShape() {
  return {.size_bytes = 512 * 1024, .write_unit_bytes = 1, .erase_unit_bytes = 4096};
}

}  // namespace

ModelBox::ModelBox(hal::SimPower* power) : slot_a(SlotShape(), power), slot_b(SlotShape(), power) {}

void World::MakeModel(const std::string& id, uint32_t number, uint64_t max_latency_ns,
                      const RecorderConfig& recorder, const store::RecorderArea& area) {
  ModelBox& box = *boxes_.emplace_back(std::make_unique<ModelBox>(&media_.power));
  if (area.segments != 0 && number == 0) {
    store::RecorderArea last = area;  // behind what log and backlog take
    last.offset = data_.geometry().size_bytes - area.segments * area.segment_bytes;
    box.ring = std::make_unique<store::RecorderRing>(data_, last, id);
    box.recorder = std::make_unique<Recorder>(recorder, *box.ring, clock);
    box.recorder->TellTo(*reporter_, id, static_cast<uint8_t>(number));
  }
  if (snapshot != nullptr)
    box.snapshot =
        std::make_unique<SnapshotSender>(*snapshot, clock, outbox_, *reporter_, box.recorder.get());
  box.runner = std::make_unique<ModelRunner>(ModelRunnerConfig{.id = id,
                                                               .number = number,
                                                               .place = static_cast<uint8_t>(number),
                                                               .truth = {},
                                                               .publish_predictions = true,
                                                               .max_image_bytes = ModelBox::kImageBytes},
                                             ModelRunnerParts{.clock = clock,
                                                              .transport = wire_,
                                                              .reporter = *reporter_,
                                                              .marker = marker,
                                                              .recorder = box.recorder.get(),
                                                              .snapshot = box.snapshot.get()});
  update::UpdaterConfig config;
  DIPPER_CHECK(Ok(config.model_id.Assign(id)) && Ok(config.device_id.Assign("d1")) &&
               Ok(config.fleet.Assign("plant")) && Ok(config.hardware.Assign("generic-linux")));
  config.agent_minor = 1;
  config.model_index = number;
  config.max_image_bytes = ModelBox::kImageBytes;
  config.max_latency_ns = max_latency_ns;
  config.group_keys = group_keys;
  box.updater = std::make_unique<update::Updater>(
      config, update::UpdaterMemory{.first_image = box.first->bytes, .second_image = box.second->bytes},
      update::UpdaterDeps{.store = {.boot = &media_.boot, .slot_a = &box.slot_a, .slot_b = &box.slot_b},
                          .trust = &trust_,
                          .transport = &turns_.Of(number),
                          .observer = box.runner.get()});
  box.runner->Connect(*box.updater);
  if (box.recorder != nullptr) DIPPER_CHECK(Ok(box.recorder->Start(*box.updater)));
  DIPPER_CHECK(Ok(box.updater->Start({})));
  agent_->Add(*box.runner);
  box.runner->OnStarted(0);
}

World::World(const std::string& header, LineSource::Line line, uint64_t max_latency_ns,
             std::vector<std::string> models, const RecorderConfig& recorder, const store::RecorderArea& area)
    : source(header, std::move(line)),
      ids_(std::move(models)),
      data_({.size_bytes = 256 * 1024 + 4 * area.segments * area.segment_bytes,
             .write_unit_bytes = 1,
             .erase_unit_bytes = 4096},
            &media_.power) {
  DIPPER_CHECK(Ok(trust_.Open(update::test::RootDocument())) && Ok(log_.Open()) && Ok(backlog_.Open()));
  DIPPER_CHECK(Ok(identity_.device_id.Assign("d1")) && Ok(identity_.boot_id.Assign("boot")));
  reporter_ = std::make_unique<Reporter>(
      ReporterConfig{.fleet = "plant", .groups = {}, .system = {}, .agent_version = {}}, identity_, 7, clock,
      outbox_, log_);
  agent_ = std::make_unique<Agent>(AgentConfig{.fleet = "plant",
                                               .device = "d1",
                                               .groups = {},
                                               .telemetry_interval_ns = 1'000'000'000,
                                               .healthy_after_ns = 1'000'000'000},
                                   AgentParts{.clock = clock,
                                              .source = source,
                                              .system = system_,
                                              .transport = wire_,
                                              .outbox = outbox_,
                                              .reporter = *reporter_,
                                              .backlog = backlog_,
                                              .log = log_,
                                              .trust = trust_,
                                              .turns = turns_});
  for (uint32_t i = 0; i < ids_.size(); ++i) MakeModel(ids_[i], i, max_latency_ns, recorder, area);
  watcher_.Connect();
  Watch();
  DIPPER_CHECK(Ok(watcher_.Subscribe("dipper/1/plant/d1/#", telemetry::Qos::kAtLeastOnce)));
  wire_.Connect();
}

void World::Publish(const Release& release, uint64_t number, const std::string& model,
                    const std::function<void(schema::OfferT&)>& change, const package::PrivateKey& key) {
  const auto retain = [&](const telemetry::Topic& topic, base::ByteView bytes) {
    broker_.retained[std::string(topic.view())] = {bytes.begin(), bytes.end()};
  };
  package::Header header;
  DIPPER_CHECK(package::ParseHeader(release.package, &header) == schema::Reason::None);
  const base::ByteView package(release.package);
  std::vector<uint64_t> memory(package::kHeadMemoryBytes / 8 + 2);
  auto* aligned = reinterpret_cast<uint8_t*>(base::AlignUp(reinterpret_cast<uintptr_t>(memory.data()), 16));
  package::Manifest manifest;
  DIPPER_CHECK(package::InspectHead(package, {aligned, package::kHeadMemoryBytes}, &manifest) ==
               schema::Reason::None);
  for (uint32_t i = 0; i < manifest.block_count(); ++i) {
    const package::BlockInfo block = manifest.block(i);
    retain(telemetry::BlockTopic("plant", release.digest, i),
           package.subspan(static_cast<size_t>(block.package_offset), block.stored_bytes));
  }
  retain(telemetry::ManifestTopic("plant", release.digest),
         package.first(static_cast<size_t>(header.head_bytes())));
  const auto edit = [&](schema::OfferT& offer) {
    offer.model = model;
    if (change) change(offer);
  };
  retain(telemetry::OfferTopic("plant", telemetry::kEverybody, model), release.Offer(number, edit, key));
}

void World::PublishRoot(uint32_t version, base::ByteView document) {
  DIPPER_CHECK(Ok(watcher_.Publish(telemetry::RootTopic("plant", version).view(), document,
                                   telemetry::Qos::kAtLeastOnce, true, nullptr)));
}

void World::Send(base::ByteView command) {
  DIPPER_CHECK(Ok(watcher_.Publish(telemetry::CommandTopic("plant", "d1").view(), command,
                                   telemetry::Qos::kAtLeastOnce, false, nullptr)));
}

void World::Command(const std::string& name, uint64_t number, const std::string& model) {
  Send(update::test::CommandDocument(name, number, 4'000'000'000, model));
  Turn(0);
}

void World::Reconnect() {
  wire_.Disconnect();  // retained messages come with the next connection
  agent_->Step();
  wire_.Connect();
}

void World::Watch() {
  static std::array<uint8_t, 2 * telemetry::kJsonBufferBytes> text;
  telemetry::TransportEvent event;
  while (Ok(watcher_.Poll(&event))) {
    if (event.kind != telemetry::TransportEvent::Kind::kMessage) continue;
    const auto topic = telemetry::ParseTopic(event.topic);
    const auto mirror = telemetry::ToJson(event.payload, text);
    if (topic.ok() && mirror.ok()) messages_.emplace_back(topic->kind, json::parse(*mirror));
  }
}

void World::Turn(uint64_t lines) {
  source.due += lines;
  clock.now_ns += 10'000'000;
  agent_->Step();
  Watch();
}

bool World::RunTo(schema::UpdateState state, size_t model) {
  for (int turn = 0; turn < 1000 && updater(model).state() != state; ++turn) Turn();
  return updater(model).state() == state;
}

bool World::Serve(const Release& release, uint64_t number, size_t model) {
  Offer(release, number, ids_[model]);
  return RunTo(schema::UpdateState::Trial, model) && RunTo(schema::UpdateState::Confirmed, model) &&
         updater(model).Status().champion == release.digest;
}

std::vector<json> World::Messages(TopicKind kind) const {
  std::vector<json> found;
  for (const auto& [of, message] : messages_) {
    if (of == kind) found.push_back(message);
  }
  return found;
}

std::vector<json> World::Events(const std::string& word) const {
  std::vector<json> found;
  for (const json& event : Messages(TopicKind::kEvent)) {
    if (event["kind"] == word) found.push_back(event);
  }
  return found;
}

std::vector<json> World::MessagesOf(TopicKind kind, const std::string& model) const {
  std::vector<json> found;
  for (const json& message : Messages(kind)) {
    if (message.value("model", "") == model) found.push_back(message);
  }
  return found;
}

std::vector<json> World::EventsOf(const std::string& model, const std::string& word) const {
  std::vector<json> found;
  for (const json& event : MessagesOf(TopicKind::kEvent, model)) {
    if (event["kind"] == word) found.push_back(event);
  }
  return found;
}

json World::Metrics(size_t model) {
  clock.now_ns += 1'000'000'000;
  Turn(0);
  const std::vector<json> all = MessagesOf(TopicKind::kMetrics, ids_[model]);
  DIPPER_CHECK(!all.empty());
  return all.back();
}

uint64_t World::DeviceMetric(const char* name) {
  Metrics();
  uint64_t value = 0;
  for (const json& batch : MessagesOf(TopicKind::kMetrics, "")) value = batch.value(name, value);
  return value;
}

}  // namespace dipper::runtime::test
