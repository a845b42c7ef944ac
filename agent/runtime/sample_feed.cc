// Decoding per model (their features may differ) and the three verbs, champion first.
#include "agent/runtime/sample_feed.h"

#include <cstring>

namespace dipper::runtime {

using base::Status;

void SampleFeed::Bind(Lane* lane, const FeedModel& to) {
  if (lane->at.model == to.model && lane->at.package == to.package) return;
  lane->at = to;
  lane->decoder.reset();
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

bool SampleFeed::Decode(Lane* lane, const hal::Record& record, stream::DecodedSample* sample) {
  const std::span<float> values(lane->values.data(), lane->decoder->feature_count());
  if (record.encoding == hal::RecordEncoding::kFloats) {
    return Ok(lane->decoder->DecodeFloats(record.payload, values, sample));
  }
  return Ok(lane->decoder->DecodeLine(base::AsText(record.payload), values, sample));
}

void SampleFeed::Run(Lane* lane, const hal::Record& record, const stream::DecodedSample& sample,
                     hal::Clock* timer, FeedAnswer* answer) {
  learn::Model& model = *lane->at.model;
  const std::span<const float> values(lane->values.data(), lane->decoder->feature_count());
  const int64_t before_ns = timer != nullptr ? timer->MonotonicNs() : 0;
  marker_.Enter(lane->at.package);
  answer->observed = Ok(model.Observe(record.sequence, record.time_ns, values, &answer->output));
  if (answer->observed && answer->output.outcome.valid) {
    answer->learned = true;
    answer->outcome = answer->output.outcome;
  }
  // A forecast's labels come by themselves, inside Observe.
  const bool takes_labels = lane->at.spec->target_kind() != schema::TargetKind::FeatureAhead;
  if (answer->observed && takes_labels && sample.label.state == stream::LabelState::kPresent) {
    answer->learned = Ok(model.Learn(record.sequence, sample.label.value, 1.0, &answer->outcome));
  }
  marker_.Leave();
  if (timer != nullptr) answer->took_ns = timer->MonotonicNs() - before_ns;
}

Status SampleFeed::OnRecord(const hal::Record& record, FeedResult* result, hal::Clock* timer) {
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
  if (record.kind != hal::RecordKind::kSample) {
    ++counters_.skipped;
    return Status::kOk;
  }
  result->id = record.sequence;
  for (Lane* lane : {&champion_, &challenger_}) {
    if (!lane->bound) continue;
    stream::DecodedSample sample;
    if (!Decode(lane, record, &sample)) continue;
    result->is_sample = true;
    if (sample.label.state == stream::LabelState::kUnknown) ++counters_.unusable_labels;
    if (sample.truth.state == stream::LabelState::kPresent) {
      result->has_truth = true;
      result->truth = sample.truth.value != 0;
    }
    Run(lane, record, sample, timer, lane == &champion_ ? &result->champion : &result->challenger);
  }
  ++(result->is_sample ? counters_.samples : counters_.skipped);
  return Status::kOk;
}

}  // namespace dipper::runtime
