// Samples of one model and what follows from them. What it tells of itself is in model_report.cc.
#include "agent/runtime/model_runner.h"

namespace dipper::runtime {

using base::Status;

namespace {

constexpr uint64_t kTimedOneIn = 64;  // a clock read costs more than a prediction

bool Finite(const FeedAnswer& answer) { return !answer.observed || learn::IsFinite(answer.output); }

}  // namespace

ModelRunner::ModelRunner(const ModelRunnerConfig& config, const ModelRunnerParts& parts)
    : config_(config), at_(parts), feed_(config.truth, config.number, parts.marker) {
  if (!config.truth.empty()) scorer_ = std::make_unique<AnomalyScorer>();
}

void ModelRunner::OnStarted(uint64_t first_row) {
  first_row_ = first_row;
  started_ = true;
  if (updater_->store().record().rung == store::Rung::kNone) {
    Send({.kind = schema::EventKind::SafeMode, .detail = "no model is left to serve"});
  }
  ReportFrozen();
}

void ModelRunner::Poll(int64_t now_ns) {
  updater_->Poll(now_ns);
  ReportFrozen();
}

void ModelRunner::OnHealthyPeriod() {
  if (healthy_) return;
  healthy_ = Ok(updater_->HealthyMark());
  if (healthy_) Send({.kind = schema::EventKind::Healthy});
}

void ModelRunner::Stop() {
  if (Ok(updater_->PlannedStop())) return;
  Send({.kind = schema::EventKind::StorageError, .detail = "stop was not recorded"});
}

void ModelRunner::OnConnected() {
  updater_->OnLinkReached();
  birth_due_ = update_due_ = true;
}

void ModelRunner::OnOffer(base::ByteView document) {
  // The reason is reported by the updater's own event; another model's offer is none of ours.
  const schema::Reason reason = updater_->OnOffer(document);
  if (reason != schema::Reason::None && reason != schema::Reason::WrongTarget) update_due_ = true;
}

void ModelRunner::BindModels() {
  if (!models_changed_) return;
  models_changed_ = false;
  drift_.OnModelsChanged();
  const update::UpdateStatus status = updater_->Status();
  feed_.SetModels({updater_->champion(), updater_->champion_spec(), status.champion},
                  {updater_->challenger(), updater_->challenger_spec(), status.challenger});
}

void ModelRunner::OnRecord(const hal::Record& record, int64_t now_ns) {
  answer_ = {};
  if (record.kind == hal::RecordKind::kSample && record.sequence < first_row_) return;
  BindModels();
  const bool timed = fed_++ % kTimedOneIn == 0;
  const int64_t before_ns = timed ? at_.clock.MonotonicNs() : 0;
  FeedResult result;
  const bool each_timed = timed || updater_->WantsLatency();
  uint64_t left_out = 0;
  if (!Ok(feed_.OnRecord(record, &result, each_timed ? &at_.clock : nullptr)) &&
      data_error_limit_.Spend(now_ns, &left_out)) {
    Send({.kind = schema::EventKind::DataError,
          .count = left_out,
          .detail = "no column of the source is a feature"});
  }
  if (timed) latency_.Add(at_.clock.MonotonicNs() - before_ns);
  // Before anything follows from the sample: the answer is of the model that gave it.
  if (record.origin != 0 && record.kind == hal::RecordKind::kSample)
    answer_ = EncodeAnswer(config_.id, feed_.champion(), result, answer_buffer_);
  if (result.is_sample || result.is_label) OnSample(result, now_ns);
}

void ModelRunner::OnSample(const FeedResult& result, int64_t now_ns) {
  // Reported first: the updater may put another model in the champion's place.
  if (Finite(result.champion)) {
    ReportAnomaly(result);
    ReportDrift(result, now_ns);
    if (scorer_ && result.has_truth && result.champion.observed && result.champion.output.has_score) {
      scorer_->Add(result.champion.output.anomaly_score, result.truth);
      scored_ = true;
    }
    SendPrediction(result);
  } else {
    updater_->OnChampionFailed();
  }
  if (!Finite(result.challenger)) updater_->OnChallengerFailed(schema::Reason::NotFinite);
  if (result.challenger.took_ns >= 0) updater_->OnChallengerLatency(result.challenger.took_ns);
  if (result.challenger.learned) updater_->OnOutcomes(result.champion.outcome, result.challenger.outcome);
}

void ModelRunner::SendPrediction(const FeedResult& result) {
  if (!config_.publish_predictions || !result.champion.observed || !at_.transport.connected()) return;
  const learn::Output& out = result.champion.output;
  // A prediction that finds the wire full is not worth keeping.
  (void)at_.reporter.SendNow(telemetry::Prediction{.id = result.id,
                                                   .cold = out.cold,
                                                   .value = out.value,
                                                   .class_index = out.class_index,
                                                   .probabilities = out.probabilities,
                                                   .has_score = out.has_score,
                                                   .anomaly_score = out.anomaly_score,
                                                   .anomaly_active = out.anomaly_active,
                                                   .has_interval = out.has_interval,
                                                   .unbounded = out.unbounded,
                                                   .low = out.low,
                                                   .high = out.high,
                                                   .class_set = out.class_set},
                             config_.id);
}

void ModelRunner::ReportAnomaly(const FeedResult& result) {
  const learn::Output& out = result.champion.output;
  if (!result.champion.observed || !(out.anomaly_raised || out.anomaly_cleared)) return;
  const learn::Spec& spec = *updater_->champion_spec();
  const learn::Layout& layout = spec.plan().layout;
  telemetry::Event event{
      .kind = out.anomaly_raised ? schema::EventKind::AnomalyRaised : schema::EventKind::AnomalyCleared,
      .sample_id = result.id,
      .score = out.anomaly_score,
      .threshold = out.anomaly_raised ? layout.anomaly.raise : layout.anomaly.clear};
  // A forecast's residual is of one feature; an unsupervised score is of the whole sample.
  telemetry::Contribution share{.share = 1.0};
  if (spec.target_kind() == schema::TargetKind::FeatureAhead) {
    share.feature = spec.feature_name(layout.target.feature);
    event.contributions = {&share, 1};
  }
  Send(event);
}

void ModelRunner::ReportDrift(const FeedResult& result, int64_t now_ns) {
  const auto report = [&](DriftSource source, bool warning, bool alarm, int32_t feature) {
    telemetry::Event event{.sample_id = result.id};
    const auto told = drift_.Take(source, warning, alarm, feature, now_ns, &event.count);
    if (told == DriftFilter::Answer::kNothing) return;
    event.kind =
        told == DriftFilter::Answer::kAlarm ? schema::EventKind::DriftAlarm : schema::EventKind::DriftWarning;
    telemetry::Contribution share{.share = 1.0};
    if (feature >= 0) {
      share.feature = updater_->champion_spec()->feature_name(static_cast<uint32_t>(feature));
      event.contributions = {&share, 1};
    }
    Send(event);
  };
  if (result.champion.observed) {
    const learn::Output& out = result.champion.output;
    report(DriftSource::kFeatures, out.drift_warning, out.drift_alarm, out.drift_feature);
  }
  if (result.champion.learned) {
    const learn::Outcome& outcome = result.champion.outcome;
    report(DriftSource::kModel, outcome.drift_warning, outcome.drift_alarm, -1);
  }
}

schema::Reason ModelRunner::Run(const package::CommandFacts& command) {
  const std::string_view name = command.name.view();
  if (name == "fall_back") return updater_->FallBack();
  if (name == "undo") return updater_->Undo();
  if (name == "freeze") return updater_->Freeze(true);
  if (name == "unfreeze") return updater_->Freeze(false);
  if (name == "checkpoint") return updater_->Checkpoint();
  if (name == "override_denied") {
    const auto digest = base::DigestFromHex(command.argument("package"));
    return digest.ok() ? updater_->OverrideDenied(*digest) : schema::Reason::BadFormat;
  }
  return schema::Reason::Unknown;
}

}  // namespace dipper::runtime
