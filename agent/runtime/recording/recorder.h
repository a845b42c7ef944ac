// Recorder: the flight recorder of one model. Everything that its models' images do not follow from by
// themselves is written down as it happens: each record as the models took it, labels when they came,
// freezing, update steps, commands, measured times; and now and then the digests of images and gate, so that
// a replay (`dipper replay`) finds where it parts. docs/reference/recording.md has every byte, what a power
// cut loses and what the medium bears. Not thread-safe. No heap, but mbedTLS's for encrypted models.
#pragma once

#include <array>

#include "agent/base/event_limit.h"
#include "agent/runtime/metric_batch.h"
#include "agent/runtime/recording/recorder_records.h"
#include "agent/runtime/reporter.h"
#include "agent/store/recorder_ring.h"
#include "agent/update/updater.h"
#include "hal/api/clock.h"

namespace dipper::runtime {

struct RecorderConfig {
  std::string_view agent_version;  ///< At most 31 bytes; outlives the recorder.
  uint64_t session = 0;
  uint64_t bytes_per_day = 0;  ///< What it may write; the rest of the day is left out.
};

struct RecorderCounters {
  uint64_t records = 0;        ///< Written or waiting for their page, in this run.
  uint64_t left_out = 0;       ///< Records of the source that were not recorded.
  uint64_t segments = 0;       ///< Begun.
  uint64_t failures = 0;       ///< Of the medium.
  uint64_t written_bytes = 0;  ///< By this run.
  uint64_t overwritten = 0;    ///< Segments that nobody had fetched in this run.
};

enum class RecorderState : uint8_t {
  kWaiting,     ///< For the first record.
  kRecording,   ///<
  kNoModel,     ///< Nothing learns.
  kSpent,       ///< The bytes of a day are used up.
  kHeld,        ///< The oldest segment is being fetched, and the ring is full.
  kTooLarge,    ///< The images do not fit in a segment.
  kFailed,      ///< The medium did not take it; tried again after a while.
  kUnreadable,  ///< The medium could not be read at the start; nothing is recorded in this run.
};
std::string_view RecorderStateText(RecorderState state);

class Recorder {
 public:
  static constexpr uint64_t kDigestEvery = 1000;  ///< Source records.

  /// Both outlive the recorder.
  Recorder(const RecorderConfig& config, store::RecorderRing& ring, hal::Clock& clock);

  /// Pauses and what ends them are told as events of that model from then on. All outlive the recorder.
  void TellTo(Reporter& reporter, std::string_view model, uint8_t place) {
    teller_ = {&reporter, model, place};
  }
  /// Once, before the first record. The updater outlives the recorder. Errors as RecorderRing::Open: it then
  /// records nothing.
  base::Status Start(update::Updater& updater);

  // ---- what happens
  /// champion() or challenger() are other ones from the next record on.
  void OnModelsChanged() { models_changed_ = true; }
  void OnChampionLoaded() { champion_loaded_ = true; }
  /// A record of the source is about to be fed: the images are as they are before it.
  void BeginRecord();
  /// A model is about to take this. The champion's comes first.
  void OnInput(bool challenger, const ModelInput& input);
  /// That model has taken it.
  void OnAnswer(bool challenger, const FeedAnswer& answer);
  void OnTiming(int64_t challenger_ns);
  /// The champion is about to be frozen or released.
  void OnFreeze(bool frozen);
  void OnUpdateStep(const update::UpdateEvent& event);
  void OnCommand(std::string_view name, uint64_t number, schema::Reason reason);
  void OnSkipped(uint64_t skipped, uint64_t unusable_labels);
  /// Lets the day's bytes grow, and makes pages durable.
  void Poll(int64_t now_ns);
  /// Planned stop: the last digests, and everything to the medium.
  void Stop();

  // ---- as a file
  /// Writes what waits, and holds the ring until Release; what is recorded from now on is not in the file.
  /// kNotFound: no segment; kFailedPrecondition: nothing is recorded in this run. Neither holds it.
  base::Status BeginFetch();
  /// Reads on to find the file's end, at most so many pages; true: file_bytes() is known. Errors as
  /// RecorderRing::MeasureSome; it stays held.
  base::Result<bool> Measure(uint32_t pages) { return ring_.MeasureSome(pages); }
  uint64_t file_bytes() const { return ring_.file_bytes(); }
  base::Status ReadFile(uint64_t offset, base::MutableBytes to) { return ring_.ReadFile(offset, to); }
  /// @param whole  All of it has reached whoever asked: writing it over loses nothing.
  void Release(bool whole);
  bool fetched() const { return ring_.held(); }

  RecorderState state() const { return state_; }
  RecorderCounters counters() const;
  void AddMetrics(MetricBatch* batch) const;
  const store::RecorderRing& ring() const { return ring_; }

 private:
  using Lanes = std::array<update::LoadedModel*, kLanes>;
  Lanes Loaded() const { return {updater_->loaded(false), updater_->loaded(true)}; }
  bool Recording() const { return usable_ && ring_.open() && !models_changed_; }
  bool Ready();
  bool BeginSegment(SegmentCause cause);
  SegmentAbout About(SegmentCause cause, const Lanes& lanes);
  base::Status WriteOpening(const Lanes& lanes, uint32_t gate_bytes);
  void Pause(RecorderState why);
  void CountWritten();
  bool MakeRoom(uint32_t bytes);
  bool FlushPage();
  void EndPages();
  void PutDigests();
  void PutPlain(const Record& record);
  void TellState(int64_t now_ns);
  void Put(const Record& record);

  struct Teller {
    Reporter* reporter = nullptr;
    std::string_view model;
    uint8_t place = 0;
  };

  RecorderConfig config_;
  Teller teller_;
  store::RecorderRing& ring_;
  hal::Clock& clock_;
  update::Updater* updater_ = nullptr;
  RecorderState state_ = RecorderState::kWaiting;
  bool usable_ = false, models_changed_ = true, champion_loaded_ = true;
  bool first_ = true;         ///< No segment yet in this run.
  bool recording_ = false;    ///< The record of the source that is being fed.
  bool champion_in_ = false;  ///< Its input to the champion is written.
  std::array<bool, kLanes> in_segment_{};
  bool gate_in_segment_ = false;
  bool sealed_ = false;
  package::Secret seal_key_;
  base::Digest seal_package_;
  uint32_t room_needed_ = 0;  ///< For all inputs of a record of the source.
  uint64_t next_record_ = 1;  ///< Number.
  uint64_t page_first_record_ = 1;
  uint32_t page_records_ = 0;
  uint64_t since_digest_ = 0;
  uint64_t segment_left_out_ = 0;  ///< Since the last segment was begun.
  uint64_t told_skipped_ = 0, told_unusable_ = 0, skipped_ = 0, unusable_ = 0;
  int64_t last_poll_ns_ = 0, next_sync_ns_ = 0, try_again_ns_ = 0;
  double allowance_ = 0;
  uint64_t charged_ = 0;  ///< Of the ring's written bytes.
  RecorderCounters counters_;
  RecorderState told_ = RecorderState::kRecording;  ///< The pause that was told, or none.
  uint64_t told_left_out_ = 0;                      ///< Counted when that began.
  base::EventLimit tell_limit_;
  RecordWriter writer_;
  store::SegmentHead head_;
  std::array<uint8_t, update::kGateStateBytes> gate_{};
  alignas(16) std::array<uint8_t, store::kRecorderPageBytes> page_{};
};

}  // namespace dipper::runtime
