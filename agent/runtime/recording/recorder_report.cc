// What the flight recorder tells of itself: its state in words, events when it pauses and goes on, metrics.
#include "agent/runtime/recording/recorder.h"

namespace dipper::runtime {
namespace {

/// A pause that somebody should hear of. Without a model there is nothing to record.
bool IsTrouble(RecorderState state) {
  return state != RecorderState::kWaiting && state != RecorderState::kRecording &&
         state != RecorderState::kNoModel;
}

}  // namespace

std::string_view RecorderStateText(RecorderState state) {
  switch (state) {
    case RecorderState::kWaiting:
      return "waiting for the first record";
    case RecorderState::kRecording:
      return "recording";
    case RecorderState::kNoModel:
      return "paused: no model learns";
    case RecorderState::kSpent:
      return "paused: recorder.bytes_per_day is used up";
    case RecorderState::kHeld:
      return "paused: the ring is full and its oldest segment is being fetched";
    case RecorderState::kTooLarge:
      return "paused: the model images do not fit in a segment; raise recorder.bytes or lower "
             "recorder.segments";
    case RecorderState::kFailed:
      return "paused: the data partition does not take it; tried again every minute";
    case RecorderState::kUnreadable:
      return "stopped: the data partition could not be read at the start; look at the medium and restart";
  }
  return "unknown";
}

/// Looked at once in a while, so that what ends before it is seen is no event.
void Recorder::TellState(int64_t now_ns) {
  if (teller_.reporter == nullptr || state_ == told_) return;
  const bool resumed = state_ == RecorderState::kRecording;
  if (!IsTrouble(state_) && !resumed) return;
  // What is not told now is told when it may be, if it is still so.
  if (!tell_limit_.TrySpend(now_ns)) return;
  telemetry::Event event{
      .kind = resumed ? schema::EventKind::RecorderResumed : schema::EventKind::RecorderPaused,
      .detail = RecorderStateText(state_)};
  if (resumed) event.count = counters_.left_out - told_left_out_;
  told_ = state_;
  teller_.reporter->Send(event, teller_.model, teller_.place);
}

RecorderCounters Recorder::counters() const {
  RecorderCounters now = counters_;
  now.written_bytes = ring_.written_bytes();
  now.overwritten = ring_.overwritten();
  return now;
}

void Recorder::AddMetrics(MetricBatch* batch) const {
  using telemetry::MetricId;
  batch->Flag(MetricId::kRecorderActive, state_ == RecorderState::kRecording);
  batch->Count(MetricId::kRecorderLeftOutTotal, counters_.left_out);
  batch->Count(MetricId::kRecorderFailuresTotal, counters_.failures);
  batch->Count(MetricId::kRecorderOverwrittenTotal, ring_.overwritten());
}

}  // namespace dipper::runtime
