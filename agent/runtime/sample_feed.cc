// Decoding per model (their features may differ) and the three verbs, champion first.
#include "agent/runtime/sample_feed.h"

#include <algorithm>
#include <cstring>

#include "agent/runtime/recording/recorder.h"

namespace dipper::runtime {

using base::Status;

void SampleFeed::Bind(Lane* lane, const FeedModel& to) {
  if (lane->at.model == to.model && lane->at.package == to.package) return;
  lane->at = to;
  lane->decoder.reset();
  lane->json.reset();
  lane->bound = false;
  if (to.model == nullptr) return;
  lane->decoder.emplace(to.spec->table(), std::string_view{}, truth_);
  if (header_bytes_ == 0) return;
  stream::HeaderMatch match;
  lane->bound = Ok(lane->decoder->ReadHeader(base::AsText({header_.data(), header_bytes_}), &match));
}

void SampleFeed::SetModels(const FeedModel& champion, const FeedModel& challenger) {
  Bind(&champion_, champion);
  Bind(&challenger_, challenger);
}

bool SampleFeed::Decode(Lane* lane, const hal::Record& record, Decoded* to) {
  to->id = record.sequence;
  to->time_ns = record.time_ns;
  if (lane->at.model == nullptr) return false;
  const std::span<float> values(lane->values.data(), lane->decoder->feature_count());
  if (record.kind == hal::RecordKind::kLabel) {
    return record.encoding == hal::RecordEncoding::kJson &&
           DecodeLabel(lane, base::AsText(record.payload), to);
  }
  switch (record.encoding) {
    case hal::RecordEncoding::kJson:
      return DecodeJson(lane, record, values, to);
    case hal::RecordEncoding::kFloats:
      return lane->bound && Ok(lane->decoder->DecodeFloats(record.payload, values, &to->sample));
    case hal::RecordEncoding::kCsvLine:
      return lane->bound && Ok(lane->decoder->DecodeLine(base::AsText(record.payload), values, &to->sample));
  }
  return false;
}

void SampleFeed::BindJson(Lane* lane) {
  if (lane->json) return;
  lane->json.emplace(lane->at.spec->table());
  // A truth column that this model has as a feature is its input; it then has no truth.
  if (!Ok(lane->json->Bind({.truth = truth_}))) (void)lane->json->Bind({});
}

namespace {

void TakeLabel(const stream::JsonLabel& label, stream::DecodedSample* sample, uint64_t* id, double* weight) {
  *sample = {};
  sample->label = label.label;
  *id = label.id;
  *weight = label.weight;
}

}  // namespace

bool SampleFeed::DecodeLabel(Lane* lane, std::string_view text, Decoded* to) {
  BindJson(lane);
  stream::JsonLabel label;
  to->is_label = Ok(lane->json->DecodeLabel(text, &label));
  if (to->is_label) TakeLabel(label, &to->sample, &to->id, &to->weight);
  return to->is_label;
}

bool SampleFeed::DecodeJson(Lane* lane, const hal::Record& record, std::span<float> values, Decoded* to) {
  BindJson(lane);
  stream::JsonRecord read;
  const Status status = lane->json->Decode(base::AsText(record.payload), record.columns_known, values, &read);
  if (read.has_id) to->id = read.id;
  if (!Ok(status)) {
    if (status == Status::kNotFound) to->refusal = Refusal::kNoFeature;
    if (read.is_label) to->refusal = Refusal::kLabel;
    return false;
  }
  to->is_label = read.is_label;
  if (read.is_label) {
    TakeLabel(read.label, &to->sample, &to->id, &to->weight);
    return true;
  }
  to->sample = read.sample;
  if (read.sample.has_time) to->time_ns = read.sample.time_ns;
  return true;
}

void StepModel(learn::Model& model, bool takes_labels, const ModelInput& input, FeedAnswer* answer) {
  if (!input.is_label) {
    answer->observed = Ok(model.Observe(input.id, input.time_ns, input.values, &answer->output));
    if (answer->observed && answer->output.outcome.valid) {
      answer->learned = true;
      answer->outcome = answer->output.outcome;
    }
  }
  if ((answer->observed || input.is_label) && takes_labels && input.has_label) {
    answer->learned = Ok(model.Learn(input.id, input.label, input.weight, &answer->outcome));
  }
}

void SampleFeed::Run(Lane* lane, const Decoded& decoded, hal::Clock* timer, FeedAnswer* answer) {
  const ModelInput input{
      .is_label = decoded.is_label,
      .id = decoded.id,
      .time_ns = decoded.time_ns,
      .has_label = decoded.sample.label.state == stream::LabelState::kPresent,
      .label = decoded.sample.label.value,
      .weight = decoded.weight,
      .values = std::span<const float>(lane->values.data(), lane->decoder->feature_count())};
  if (recorder_ != nullptr) recorder_->OnInput(lane == &challenger_, input);
  // A forecast's labels come by themselves, inside Observe.
  const bool takes_labels = lane->at.spec->target_kind() != schema::TargetKind::FeatureAhead;
  const int64_t before_ns = timer != nullptr ? timer->MonotonicNs() : 0;
  marker_.Enter(number_, lane->at.package);
  StepModel(*lane->at.model, takes_labels, input, answer);
  marker_.Leave();
  if (timer != nullptr && !decoded.is_label) answer->took_ns = timer->MonotonicNs() - before_ns;
  if (recorder_ != nullptr) recorder_->OnAnswer(lane == &challenger_, *answer);
}

Status SampleFeed::OnRecord(const hal::Record& record, int64_t now_ns, FeedResult* result,
                            hal::Clock* timer) {
  *result = FeedResult{};
  if (record.kind == hal::RecordKind::kHeader) {
    header_bytes_ = 0;
    if (record.payload.size() <= header_.size()) {
      std::memcpy(header_.data(), record.payload.data(), record.payload.size());
      header_bytes_ = record.payload.size();
    }
    for (Lane* lane : {&champion_, &challenger_}) {
      const FeedModel at = lane->at;
      lane->at = FeedModel{};
      Bind(lane, at);
    }
    const bool useless = champion_.at.model != nullptr && !champion_.bound;
    return useless ? Status::kFailedPrecondition : Status::kOk;
  }
  result->id = record.sequence;
  std::optional<bool> may_label;  // asked once: both models learn the same labels
  if (!record.from_network) may_label = true;
  if (recorder_ != nullptr) recorder_->BeginRecord();
  for (Lane* lane : {&champion_, &challenger_}) {
    Decoded decoded;
    if (!Decode(lane, record, &decoded)) {
      if (lane != &champion_) continue;
      result->refusal = decoded.refusal;
      result->id = decoded.id;
      continue;
    }
    result->id = decoded.id;
    result->time_ns = decoded.time_ns;
    (decoded.is_label ? result->is_label : result->is_sample) = true;
    if (decoded.sample.label.state == stream::LabelState::kUnknown) ++counters_.unusable_labels;
    if (decoded.sample.label.state == stream::LabelState::kPresent) {
      if (!may_label) {
        may_label = label_limit_.Spend(now_ns);
        counters_.limited_labels += *may_label ? 0U : 1U;
      }
      result->labelled = *may_label;
      if (!*may_label) decoded.sample.label = {};
      // One label counts for one, whatever whoever may publish says.
      if (record.from_network) decoded.weight = std::min(decoded.weight, 1.0);
    }
    if (decoded.sample.truth.state == stream::LabelState::kPresent) {
      result->has_truth = true;
      result->truth = decoded.sample.truth.value != 0;
    }
    Run(lane, decoded, timer, lane == &champion_ ? &result->champion : &result->challenger);
  }
  if (!result->is_label) ++(result->is_sample ? counters_.samples : counters_.skipped);
  return result->refusal == Refusal::kNoFeature ? Status::kFailedPrecondition : Status::kOk;
}

}  // namespace dipper::runtime
