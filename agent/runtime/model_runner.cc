// Samples of one model and what follows from them. What it tells of itself is in model_report.cc.
#include "agent/runtime/model_runner.h"

namespace dipper::runtime {

namespace {

constexpr uint64_t kTimedOneIn = 64;  // a clock read costs more than a prediction

bool Finite(const FeedAnswer& answer) { return !answer.observed || learn::IsFinite(answer.output); }

}  // namespace

ModelRunner::ModelRunner(const ModelRunnerConfig& config, const ModelRunnerParts& parts)
    : config_(config),
      at_(parts),
      feed_(config.truth, config.number, config.labels_per_s, parts.marker),
      uncertain_(config.uncertain_samples) {
  feed_.SetRecorder(parts.recorder);
  if (!config.truth.empty()) scorer_ = std::make_unique<AnomalyScorer>();
}

void ModelRunner::OnStarted(uint64_t first_row, std::string_view loss) {
  first_row_ = first_row;
  started_ = true;
  const store::BootRecord& record = updater_->store().record();
  // A floor says that there was a model once: a new device has none and is not in trouble.
  const bool lost = updater_->champion() == nullptr && record.floor != base::SecurityVersion{};
  if (lost || record.rung == store::Rung::kNone) {
    const std::string detail =
        "no model is left to serve" + (loss.empty() ? std::string() : ": " + std::string(loss));
    Send({.kind = schema::EventKind::SafeMode,
          .detail = std::string_view(detail).substr(0, telemetry::kMaxTextBytes)});
  } else if (!loss.empty()) {
    Send({.kind = schema::EventKind::StorageError, .detail = loss.substr(0, telemetry::kMaxTextBytes)});
  }
  ReportFrozen();
}

void ModelRunner::Poll(int64_t now_ns) {
  updater_->Poll(now_ns);
  if (at_.recorder != nullptr) at_.recorder->Poll(now_ns);
  if (at_.snapshot != nullptr) at_.snapshot->Poll(now_ns);
  ReportFrozen();
}

void ModelRunner::OnHealthyPeriod() {
  if (healthy_) return;
  healthy_ = Ok(updater_->HealthyMark());
  if (healthy_) Send({.kind = schema::EventKind::Healthy});
}

void ModelRunner::Stop() {
  if (at_.recorder != nullptr) at_.recorder->Stop();
  if (Ok(updater_->PlannedStop())) return;
  Send({.kind = schema::EventKind::StorageError, .detail = "stop was not recorded"});
}

void ModelRunner::OnConnected() { birth_due_ = update_due_ = true; }

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
  BindUncertain();
  BindAlarm();
}

void ModelRunner::OnRecord(const hal::Record& record, int64_t now_ns) {
  answer_ = {};
  if (record.audience != hal::kEverybody && record.audience != config_.number) return;
  if (record.kind == hal::RecordKind::kSample && record.sequence < first_row_) return;
  BindModels();
  // Until a sample was timed: where each sample is followed by its label, one record in 64 could be labels
  // for ever.
  timing_due_ = fed_++ % kTimedOneIn == 0 || timing_due_;
  const bool timed = timing_due_;
  const int64_t before_ns = timed ? at_.clock.MonotonicNs() : 0;
  FeedResult result;
  const bool each_timed = timed || updater_->WantsLatency();
  uint64_t left_out = 0;
  if (!Ok(feed_.OnRecord(record, now_ns, &result, each_timed ? &at_.clock : nullptr)) &&
      data_error_limit_.Spend(now_ns, &left_out)) {
    Send({.kind = schema::EventKind::DataError,
          .count = left_out,
          .detail = "no column of the source is a feature"});
  }
  if (at_.recorder != nullptr)
    at_.recorder->OnSkipped(feed_.counters().skipped, feed_.counters().unusable_labels);
  if (timed) latency_.Add(at_.clock.MonotonicNs() - before_ns);
  if (result.is_sample) timing_due_ = false;
  // Before anything follows from the sample: the answer is of the model that gave it.
  if (record.origin != 0 && record.kind == hal::RecordKind::kSample)
    answer_ = EncodeAnswer(config_.id, feed_.champion(), result, answer_buffer_);
  if (result.is_sample || result.is_label) OnSample(result, record.wants_prediction, now_ns);
}

void ModelRunner::OnSample(const FeedResult& result, bool wanted, int64_t now_ns) {
  // Reported first: the updater may put another model in the champion's place.
  if (Finite(result.champion)) {
    ReportAnomaly(result, now_ns);
    ReportDrift(result, now_ns);
    if (scorer_ && result.has_truth && result.champion.observed && result.champion.output.has_score) {
      scorer_->Add(result.champion.output.anomaly_score, result.truth);
      scored_ = true;
    }
    SendPrediction(result, wanted);
    KeepUncertain(result);
  } else {
    updater_->OnChampionFailed();
  }
  if (!Finite(result.challenger)) updater_->OnChallengerFailed(schema::Reason::NotFinite);
  if (result.challenger.took_ns >= 0) {
    if (at_.recorder != nullptr) at_.recorder->OnTiming(result.challenger.took_ns);
    updater_->OnChallengerLatency(result.challenger.took_ns);
  }
  if (result.challenger.observed) {
    updater_->OnAnswers(result.champion.observed ? &result.champion.output : nullptr,
                        result.challenger.output);
  }
  if (result.challenger.learned) updater_->OnOutcomes(result.champion.outcome, result.challenger.outcome);
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

/// Written down before it changes the image: a replay changes it at the same record.
schema::Reason ModelRunner::Freeze(bool frozen) {
  if (at_.recorder != nullptr) at_.recorder->OnFreeze(frozen);
  return updater_->Freeze(frozen);
}

std::string_view ModelRunner::WhyNotAllowed(std::string_view command) {
  return command == "snapshot"
             ? "this device's configuration does not set snapshot.upload or upload_recording"
             : "privacy.uncertain_samples is 0 in this device's configuration";
}

schema::Reason ModelRunner::Run(const package::CommandFacts& command) {
  const std::string_view name = command.name.view();
  if (name == "fall_back") return updater_->FallBack();
  if (name == "undo") return updater_->Undo();
  if (name == "snapshot") {
    return at_.snapshot != nullptr ? at_.snapshot->Begin(command.argument("what"), *updater_)
                                   : schema::Reason::NotAllowed;
  }
  if (name == "freeze") return Freeze(true);
  if (name == "unfreeze") return Freeze(false);
  if (name == "checkpoint") return updater_->Checkpoint();
  if (name == "predictions") return AskPredictions(command);
  if (name == "uncertain_samples") return AskUncertain(command);
  if (name == "override_denied") {
    const auto digest = base::DigestFromHex(command.argument("package"));
    return digest.ok() ? updater_->OverrideDenied(*digest) : schema::Reason::BadFormat;
  }
  return schema::Reason::Unknown;
}

}  // namespace dipper::runtime
