// Where an agent's samples and labels come from: what is polled, what comes as messages, and what was lost.
#include <array>
#include <cstdio>

#include "agent/runtime/agent.h"

namespace dipper::runtime {

using base::Status;

namespace {

constexpr uint32_t kRecordsPerTurn = 64;  // so that a burst does not starve the wire

}  // namespace

/// One record to the models. False: the source has nothing more now.
bool Agent::FeedRecord(hal::SampleSource& source, int64_t now_ns) {
  hal::Record record;
  const Status status = source.Poll(&record);
  if (status == Status::kOutOfRange && &source == &at_.source) {
    source_ended_ = true;
    at_.reporter.Send(
        telemetry::Event{.kind = schema::EventKind::DataError, .detail = "the source has ended"}, {});
  }
  // One that is away has nothing either; ReportTrouble tells it.
  if (status == Status::kNotFound || status == Status::kOutOfRange || status == Status::kUnavailable)
    return false;
  if (!Ok(status)) return true;  // a record that was lost; the next may be good
  for (ModelRunner* model : models_) {
    model->OnRecord(record, now_ns);
    if (!model->answer().empty()) source.Answer(record.origin, model->answer());
  }
  return true;
}

void Agent::FeedRecords(int64_t now_ns) {
  // Without a model nobody would take a record: it stays where it is.
  for (uint32_t i = 0; i < kRecordsPerTurn && !source_ended_ && !models_.empty(); ++i) {
    if (!FeedRecord(at_.source, now_ns)) break;
  }
  // Labels come after the samples that they are of.
  for (uint32_t i = 0; i < kRecordsPerTurn && at_.labels != nullptr && !models_.empty(); ++i) {
    if (!FeedRecord(*at_.labels, now_ns)) break;
  }
  // A source that has nothing due, or has ended, or says that it is away, has answered too. Without a healthy
  // mark the ladder would blame the model for a sensor that is broken.
  health_.Answered(Component::kSource, now_ns);
  health_.Answered(Component::kModel, now_ns);
}

/// A message of no other use: of whichever sources it is for. None: a filter of an earlier configuration.
void Agent::TakeMessage(const telemetry::TransportEvent& message) {
  for (MqttSource* inlet : at_.inlets) (void)inlet->OnMessage(message);
}

hal::SourceTotals Agent::SourceTotals() const {
  hal::SourceTotals totals = at_.source.totals();
  for (const ModelRunner* model : models_) totals.answers_dropped += model->predictions_dropped();
  if (at_.labels != nullptr) totals += at_.labels->totals();
  return totals;
}

/// A source that is away or there again, each once; what changes too fast is told as it is a while later.
void Agent::ReportTrouble(int64_t now_ns) {
  const std::string_view trouble = at_.source.trouble().substr(0, telemetry::kMaxTextBytes);
  if (trouble == source_trouble_.view() || !trouble_limit_.TrySpend(now_ns)) return;
  source_trouble_.AssignTruncated(trouble);
  using Kind = schema::EventKind;
  at_.reporter.Send(telemetry::Event{.kind = trouble.empty() ? Kind::SourceRecovered : Kind::SourceFailed,
                                     .count = SourceTotals().failed,
                                     .detail = trouble},
                    {});
}

/// Records that were lost, told now and then; the metrics count all of them.
void Agent::ReportSources(int64_t now_ns) {
  const hal::SourceTotals totals = SourceTotals();
  const uint64_t dropped = totals.dropped - sources_told_.dropped;
  const uint64_t unreadable = totals.unreadable - sources_told_.unreadable;
  uint64_t left_out = 0;
  if (dropped + unreadable == 0 || !source_limit_.Spend(now_ns, &left_out)) return;
  sources_told_ = totals;
  std::array<char, 160> detail{};
  const int length =
      std::snprintf(detail.data(), detail.size(),
                    "records of the sources: %llu unreadable, %llu dropped because they came too fast",
                    static_cast<unsigned long long>(unreadable), static_cast<unsigned long long>(dropped));
  at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::DataError,
                                     .count = dropped + unreadable,
                                     .detail = {detail.data(), static_cast<size_t>(length)}},
                    {});
}

}  // namespace dipper::runtime
