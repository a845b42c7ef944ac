// Implementation of loaded_model.h.
#include "agent/update/loaded_model.h"

#include <algorithm>
#include <cmath>

namespace dipper::update {
namespace {

using base::Status;
using schema::Reason;

bool HasFaultStage(const schema::Spec& spec) {
  if (spec.stages() == nullptr) return false;
  for (const schema::Stage* stage : *spec.stages()) {
    if (stage->params_type() == schema::StageParams::Fault) return true;
  }
  return false;
}

Reason RunStep(const schema::SelfTestStep& step, learn::Model* model) {
  if (step.kind() == schema::SelfTestKind::Learn) {
    const Status status = model->Learn(step.id(), step.y(), step.weight(), nullptr);
    return base::Ok(status) ? Reason::None : Reason::SelfTest;
  }
  std::array<float, learn::kMaxFeatures> values{};
  const uint32_t count = step.values() == nullptr ? 0 : step.values()->size();
  if (count != model->feature_count()) return Reason::SelfTest;
  for (uint32_t i = 0; i < count; ++i) values[i] = step.values()->Get(i);
  learn::Output output;
  const Status status = model->Observe(step.id(), step.time_ns(), std::span(values).first(count), &output);
  if (!base::Ok(status)) return Reason::SelfTest;
  return learn::IsFinite(output) ? Reason::None : Reason::NotFinite;
}

bool HaveAlarms(const learn::Spec& champion, const learn::Spec& challenger) {
  return champion.plan().layout.anomaly_enabled && challenger.plan().layout.anomaly_enabled;
}

/// @param alarms  Both models have them.
Sight SightOf(const learn::Output& output, bool scores, bool alarms) {
  const bool alarm = alarms && output.anomaly_active;
  if (scores) return {output.has_score, output.anomaly_score, alarm};
  return {true, output.class_index >= 0 ? output.class_index : output.value, alarm};
}

}  // namespace

LoadedModel::LoadedModel(base::MutableBytes image)
    : memory(image), spec_memory(std::make_unique<uint64_t[]>(learn::kMaxSpecBytes / 8)) {}

void LoadedModel::Unload() {
  model.reset();
  spec.reset();
  package = {};
  name = {};
  version = {};
  security_version = {};
  slot = store::SlotId::kNone;
  encrypted = false;
  content_key = {};
}

Reason CheckFit(const package::Manifest& manifest, const DeviceFit& fit) {
  if (manifest.model() != fit.model_id) return Reason::WrongTarget;
  if (!manifest.FitsHardware(fit.hardware)) return Reason::WrongHardware;
  if (!manifest.FitsAgent(fit.agent_major, fit.agent_minor, fit.agent_patch)) return Reason::WrongAgent;
  if (const Reason unknown = CheckVersions(manifest); unknown != Reason::None) return unknown;
  if (manifest.image_bytes() > fit.max_image_bytes) return Reason::TooLarge;
  package::Secret content_key;
  return package::OpenContentKey(manifest, fit.group_keys, &content_key);
}

Reason CheckVersions(const package::Manifest& manifest) {
  if (manifest.table().layouts() != nullptr) {
    for (const schema::LayoutVersion* layout : *manifest.table().layouts()) {
      if (layout->version() != learn::kImageLayoutVersion) return Reason::UnknownLayout;
    }
  }
  const bool known = manifest.table().numerics_version() == learn::kNumericsVersion;
  return known ? Reason::None : Reason::UnknownNumerics;
}

Reason TakeSpec(const package::Manifest& manifest, LoadedModel* to) {
  to->Unload();
  const base::ByteView bytes = manifest.spec();
  if (bytes.size() > learn::kMaxSpecBytes) return Reason::TooLarge;
  std::memcpy(to->spec_memory.get(), bytes.data(), bytes.size());
  const base::ByteView copy(reinterpret_cast<const uint8_t*>(to->spec_memory.get()), bytes.size());
  auto spec = learn::Spec::Parse(copy);
  if (!spec.ok()) {
    if (spec.status() != Status::kUnimplemented) return Reason::BadSpec;
    return HasFaultStage(*schema::GetSpec(copy.data())) ? Reason::FaultStage : Reason::UnknownLayout;
  }
  if (spec->model_id() != manifest.model()) return Reason::WrongTarget;
  if (spec->state_bytes() > to->memory.size()) return Reason::TooLarge;
  if (spec->state_bytes() != manifest.image_bytes()) return Reason::BadSpec;
  const GateConfig gate = GateConfigOf(manifest, *spec);
  if (!base::Ok(CheckGateConfig(gate))) return Reason::BadFormat;
  const Reason opened = package::OpenContentKey(manifest, to->group_keys, &to->content_key);
  if (opened != Reason::None) return opened;
  to->encrypted = manifest.encrypted();
  to->spec.emplace(*spec);
  to->package = manifest.package_digest();
  to->name.AssignTruncated(manifest.name());
  to->version.AssignTruncated(manifest.version());
  to->security_version = manifest.security_version();
  return Reason::None;
}

Reason LoadPayload(package::ByteSource& source, const package::Manifest& manifest, base::MutableBytes scratch,
                   LoadedModel* to) {
  to->model.reset();
  const Reason reason = package::DecodeImage(source, manifest, scratch, to->image_memory(), &to->content_key);
  if (reason != Reason::None) return reason;
  const auto model = learn::Model::Attach(*to->spec, to->image_memory());
  if (!model.ok())
    return model.status() == Status::kUnimplemented ? Reason::UnknownLayout : Reason::NotFinite;
  to->model.emplace(*model);
  return Reason::None;
}

Reason RunSelfTest(const package::Manifest& manifest, LoadedModel* model) {
  if (manifest.self_test_steps() == 0) return model->model->AllFinite() ? Reason::None : Reason::NotFinite;
  for (uint32_t i = 0; i < manifest.self_test_steps(); ++i) {
    const Reason reason = RunStep(manifest.self_test_step(i), &*model->model);
    if (reason != Reason::None) return reason;
  }
  if (!model->model->AllFinite()) return Reason::NotFinite;
  return model->model->ImageDigest() == manifest.self_test_digest() ? Reason::None : Reason::SelfTest;
}

GateConfig GateConfigOf(const package::Manifest& manifest, const learn::Spec& spec) {
  const schema::GatePolicy& policy = manifest.gate();
  GateConfig config;
  config.paired = policy.kind() == schema::GateKind::PairedLoss;
  config.loss_bound = policy.loss_bound();
  if (config.loss_bound == 0) {  // exactly: "not given"
    config.loss_bound = spec.task() == schema::Task::Classification ? 1 : spec.table().loss_bound();
  }
  config.margin = policy.margin();
  config.margin_ratio = policy.margin_ratio();
  config.max_alarm_excess = policy.max_alarm_excess();
  config.max_score_shift = policy.max_score_shift();
  config.alpha = policy.alpha();
  config.warmup_samples = policy.warmup_samples();
  config.recent = policy.recent();
  config.deadline_samples = policy.deadline_samples();
  config.deadline_seconds = policy.deadline_seconds();
  config.confirm_at_deadline = policy.at_deadline() == schema::AtDeadline::Confirm;
  config.horizon = policy.horizon();
  if (config.horizon == 0) {
    config.horizon =
        spec.target_kind() == schema::TargetKind::FeatureAhead ? spec.table().target()->ahead() : 1;
  }
  return config;
}

void AskOnlyWhatBothAnswer(const LoadedModel& champion, const LoadedModel& challenger, GateConfig* config) {
  const bool comparable = champion.model && champion.spec->task() == challenger.spec->task();
  if (!comparable) config->max_score_shift = 0;
  if (!comparable || !HaveAlarms(*champion.spec, *challenger.spec)) config->max_alarm_excess = 0;
}

void CountSample(const learn::Spec* champion, const learn::Output* champion_answer,
                 const learn::Spec& challenger, const learn::Output& challenger_answer, Gate* gate) {
  const bool scores = challenger.task() == schema::Task::Anomaly;
  const bool alarms = champion != nullptr && HaveAlarms(*champion, challenger);
  Sight before;
  if (champion != nullptr && champion_answer != nullptr) before = SightOf(*champion_answer, scores, alarms);
  gate->AddSample(before, SightOf(challenger_answer, scores, alarms));
}

bool FitForCheckpoint(const learn::Model& model) {
  if (!model.AllFinite()) return false;
  const learn::Metrics metrics = model.ReadMetrics();
  const double lifetime = std::isfinite(metrics.mae) ? metrics.mae : 1 - metrics.accuracy;
  if (metrics.labels == 0 || !std::isfinite(lifetime)) return true;
  return std::isfinite(metrics.faded_loss) && metrics.faded_loss <= 10 * lifetime + 1e-9;
}

}  // namespace dipper::update
