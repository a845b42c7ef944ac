// What the fleet asks to see of single samples: predictions, and the samples of which the model was least
// certain.
#include <algorithm>
#include <array>
#include <cstdio>

#include "agent/base/number.h"
#include "agent/runtime/model_runner.h"
#include "agent/runtime/uncertainty.h"

namespace dipper::runtime {

namespace {

constexpr uint64_t kMostPredictions = 100000;  // of one command, so that a forgotten one ends

}  // namespace

void ModelRunner::SendPrediction(const FeedResult& result, bool wanted) {
  wanted = wanted || config_.publish_predictions || predictions_asked_ > 0;
  if (!wanted || !result.champion.observed || !at_.transport.connected()) return;
  const learn::Output& out = result.champion.output;
  const auto uncertainty = UncertaintyOf(feed_.champion().spec->task(), out);
  // A prediction that finds the wire full is not worth keeping; it is counted.
  const bool sent = at_.reporter.SendNow(telemetry::Prediction{.id = result.id,
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
                                                               .class_set = out.class_set,
                                                               .has_uncertainty = uncertainty.has_value(),
                                                               .uncertainty = uncertainty.value_or(0),
                                                               .package = feed_.champion().package},
                                         config_.id);
  if (!sent) ++predictions_dropped_;
  if (sent && predictions_asked_ > 0) --predictions_asked_;
}

/// `count`: how many of the next ones; 1 without it, 0 takes an earlier request back.
schema::Reason ModelRunner::AskPredictions(const package::CommandFacts& command) {
  const std::string_view text = command.argument("count");
  const base::Result<uint64_t> count =
      text.empty() ? base::Result<uint64_t>(uint64_t{1}) : base::ParseUint(text);
  if (!count.ok() || *count > kMostPredictions) return schema::Reason::BadFormat;
  if (updater_->champion() == nullptr) return schema::Reason::NoModel;
  predictions_asked_ = *count;
  return schema::Reason::None;
}

schema::Reason ModelRunner::AskUncertain(const package::CommandFacts& command) {
  if (config_.uncertain_samples == 0) return schema::Reason::NotAllowed;
  if (updater_->champion() == nullptr) return schema::Reason::NoModel;
  uncertain_asked_ = command.number;
  return schema::Reason::None;
}

/// Another champion is uncertain of other samples.
void ModelRunner::BindUncertain() {
  if (config_.uncertain_samples == 0) return;
  const FeedModel& champion = feed_.champion();
  uncertain_names_.Clear();  // they are the spec's, which may be another object now
  std::array<uint32_t, UncertainQueue::kMaxFeatures> columns{};
  size_t count = 0;
  const uint32_t features = champion.model == nullptr ? 0 : champion.spec->feature_count();
  for (uint32_t f = 0; f < features && count < columns.size(); ++f) {
    const std::string_view name = champion.spec->feature_name(f);
    const auto& allowed = config_.uncertain_features;
    if (std::find(allowed.begin(), allowed.end(), name) == allowed.end()) continue;
    columns[count++] = f;
    DIPPER_CHECK(Ok(uncertain_names_.PushBack(name)));
  }
  if (champion.package == uncertain_package_) return;
  uncertain_package_ = champion.package;
  uncertain_.SetColumns({columns.data(), count});
}

/// A label makes a sample of no more interest; a beginner is uncertain of everything.
void ModelRunner::KeepUncertain(const FeedResult& result) {
  if (config_.uncertain_samples == 0) return;
  if (result.is_label || result.labelled) {
    if (result.labelled) uncertain_.Forget(result.id);
    return;
  }
  const learn::Output& out = result.champion.output;
  if (!result.champion.observed || out.cold) return;
  const auto uncertainty = UncertaintyOf(feed_.champion().spec->task(), out);
  if (!uncertainty) return;
  uncertain_.Offer({.id = result.id,
                    .time_ns = result.time_ns,
                    .uncertainty = *uncertainty,
                    .class_index = out.class_index,
                    .value = out.value},
                   feed_.champion_values());
}

/// Data of the device leave it: told as an event, with the features by name. True: sent.
bool ModelRunner::SendUncertain() {
  BindModels();
  const telemetry::UncertainSamples message{.command = uncertain_asked_,
                                            .package = uncertain_package_,
                                            .features = {uncertain_names_.begin(), uncertain_names_.size()},
                                            .samples = uncertain_.Sorted()};
  if (!at_.reporter.SendNow(message, config_.id)) return false;
  std::array<telemetry::Contribution, UncertainQueue::kMaxFeatures> features;
  for (size_t i = 0; i < uncertain_names_.size(); ++i) features[i].feature = uncertain_names_[i];
  if (uncertain_.size() > 0) {
    Send({.kind = schema::EventKind::RawDataSent,
          .package = {.digest = uncertain_package_},
          .contributions = {features.data(), uncertain_names_.size()},
          .count = uncertain_.size(),
          .detail = "uncertain_samples"});
  }
  uncertain_.Clear();
  return true;
}

}  // namespace dipper::runtime
