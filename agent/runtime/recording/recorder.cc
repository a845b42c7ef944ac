// Implementation of recorder.h.
#include "agent/runtime/recording/recorder.h"

#include <algorithm>

#include "agent/base/sha256.h"
#include "agent/package/seal.h"

namespace dipper::runtime {

using base::Status;
using package::SealPurpose;

namespace {

constexpr double kDayNs = 86'400e9;
constexpr int64_t kTryAgainNs = 60'000'000'000;  // after the medium failed
constexpr int64_t kSyncNs = 2'000'000'000;
constexpr double kLeastPages = 8;  // a segment that may not have so many is not worth its images

package::Secret KeyOf(const update::LoadedModel& model) { return model.content_key; }

}  // namespace

Recorder::Recorder(const RecorderConfig& config, store::RecorderRing& ring, hal::Clock& clock)
    : config_(config), ring_(ring), clock_(clock) {}

Status Recorder::Start(update::Updater& updater) {
  updater_ = &updater;
  if (const Status status = ring_.Open(); !base::Ok(status)) {
    state_ = RecorderState::kUnreadable;
    ++counters_.failures;
    return status;
  }
  const auto most = static_cast<double>(config_.bytes_per_day);
  // What an earlier run left: runs that end soon must not have a day's bytes each.
  allowance_ = ring_.newest() == 0 ? most : std::min(most, static_cast<double>(ring_.newest_allowance()));
  last_poll_ns_ = clock_.MonotonicNs();
  usable_ = true;
  return Status::kOk;
}

void Recorder::CountWritten() {
  allowance_ -= static_cast<double>(ring_.written_bytes() - charged_);
  charged_ = ring_.written_bytes();
}

void Recorder::Poll(int64_t now_ns) {
  TellState(now_ns);
  if (!usable_) return;
  const auto most = static_cast<double>(config_.bytes_per_day);
  const auto passed = static_cast<double>(std::max<int64_t>(now_ns - last_poll_ns_, 0));
  last_poll_ns_ = now_ns;
  allowance_ = std::min(most, allowance_ + passed * most / kDayNs);
  if (now_ns < next_sync_ns_) return;
  next_sync_ns_ = now_ns + kSyncNs;
  if (!base::Ok(ring_.Sync())) ++counters_.failures;
}

void Recorder::Pause(RecorderState why) {
  const bool was_running = state_ == RecorderState::kRecording || state_ == RecorderState::kWaiting;
  if (was_running && told_ == RecorderState::kRecording) told_left_out_ = counters_.left_out;
  state_ = why;
  ring_.Close();
  writer_.Reset({});
  page_records_ = 0;
  try_again_ns_ = last_poll_ns_ + kTryAgainNs;
}

/// A segment is open for the models that run, or is opened now.
bool Recorder::Ready() {
  if (!usable_) return false;
  if (ring_.open() && gate_in_segment_ != (updater_->counting_gate() != nullptr)) models_changed_ = true;
  if (Recording()) return MakeRoom(room_needed_);
  const Lanes lanes = Loaded();
  if (lanes[0] == nullptr && lanes[1] == nullptr) {
    if (ring_.open()) EndPages();
    Pause(RecorderState::kNoModel);
    return false;
  }
  const double least =
      std::min(static_cast<double>(ring_.area().segment_bytes), static_cast<double>(config_.bytes_per_day));
  if (state_ == RecorderState::kSpent && allowance_ < least) return false;
  if (state_ == RecorderState::kHeld && ring_.held()) return false;
  if (state_ == RecorderState::kTooLarge && !models_changed_) return false;
  if (state_ == RecorderState::kFailed && last_poll_ns_ < try_again_ns_) return false;
  if (ring_.open()) EndPages();
  return BeginSegment(first_ ? SegmentCause::kStarted
                             : (models_changed_ ? SegmentCause::kModels : SegmentCause::kResumed)) &&
         MakeRoom(room_needed_);
}

SegmentAbout Recorder::About(SegmentCause cause, const Lanes& lanes) {
  SegmentAbout about;
  about.wall_ns = clock_.WallNs();
  about.monotonic_ns = clock_.MonotonicNs();
  about.numerics = learn::kNumericsVersion;
  about.image_layout = learn::kImageLayoutVersion;
  about.cause = cause;
  about.champion_loaded = champion_loaded_;
  about.session = config_.session;
  about.agent_version.AssignTruncated(config_.agent_version);
  for (size_t i = 0; i < kLanes; ++i) {
    if (lanes[i] == nullptr) continue;
    about.lanes[i] = {.package = lanes[i]->package,
                      .image = lanes[i]->model->ImageDigest(),
                      .name = lanes[i]->name,
                      .version = lanes[i]->version};
  }
  if (const update::Gate* gate = updater_->counting_gate(); gate != nullptr) {
    about.has_gate = true;
    about.gate = gate->config();
  }
  return about;
}

bool Recorder::BeginSegment(SegmentCause cause) {
  const Lanes lanes = Loaded();
  const SegmentAbout about = About(cause, lanes);
  uint32_t gate_bytes = 0;
  if (about.has_gate) {
    const auto saved = updater_->counting_gate()->Save(gate_);
    DIPPER_CHECK(saved.ok());
    gate_bytes = *saved;
  }
  double opening = kLeastPages * store::kRecorderPageBytes + gate_bytes;
  room_needed_ = 0;
  sealed_ = false;
  for (size_t i = kLanes; i-- > 0;) {
    in_segment_[i] = lanes[i] != nullptr;
    if (lanes[i] == nullptr) continue;
    opening += static_cast<double>(lanes[i]->spec->bytes().size() + lanes[i]->image_memory().size());
    room_needed_ += MaxInputBytes(lanes[i]->spec->feature_count());
    if (!lanes[i]->encrypted) continue;
    sealed_ = true;
    seal_key_ = KeyOf(*lanes[i]);
    seal_package_ = lanes[i]->package;
  }
  gate_in_segment_ = about.has_gate;
  if (allowance_ < opening) {
    Pause(RecorderState::kSpent);
    return false;
  }
  head_ = {};
  head_.first_record = next_record_;
  head_.left_out = segment_left_out_;
  head_.allowance = static_cast<uint64_t>(allowance_ - opening);
  head_.about_bytes = EncodeAbout(about, head_.about);
  const Status status = WriteOpening(lanes, gate_bytes);
  CountWritten();
  if (!base::Ok(status)) {
    counters_.failures += status == Status::kUnavailable ? 1 : 0;
    Pause(status == Status::kResourceExhausted    ? RecorderState::kTooLarge
          : status == Status::kFailedPrecondition ? RecorderState::kHeld
                                                  : RecorderState::kFailed);
    models_changed_ = models_changed_ && status != Status::kResourceExhausted;
    return false;
  }
  ++counters_.segments;
  state_ = RecorderState::kRecording;
  models_changed_ = champion_loaded_ = first_ = false;
  segment_left_out_ = since_digest_ = 0;
  writer_.Reset(store::PageRecords(page_));
  writer_.ForgetBase();
  page_records_ = 0;
  page_first_record_ = next_record_;
  return true;
}

/// Encrypted models are encrypted where they live, written and decrypted again, like their checkpoints.
Status Recorder::WriteOpening(const Lanes& lanes, uint32_t gate_bytes) {
  using Seal = std::array<uint8_t, package::kSealBytes>;
  std::array<Seal, kLanes + 1> seals{};
  std::array<store::BodyBytes, store::kRecorderBodies> bodies{};
  std::array<base::MutableBytes, kLanes + 1> secret{};
  const base::MutableBytes gate = base::MutableBytes(gate_).first(gate_bytes);
  for (size_t i = 0; i < kLanes; ++i) {
    if (lanes[i] == nullptr) continue;
    bodies[2 * i].bytes = lanes[i]->spec->bytes();
    bodies[2 * i + 1].bytes = lanes[i]->image_memory();
    if (lanes[i]->encrypted) secret[i] = lanes[i]->image_memory();
  }
  bodies[4].bytes = gate;
  if (lanes[1] != nullptr && lanes[1]->encrypted) secret[kLanes] = gate;
  Status status = Status::kOk;
  size_t done = 0;
  for (; done < secret.size() && base::Ok(status); ++done) {
    if (secret[done].empty()) continue;
    const update::LoadedModel& model = *lanes[std::min<size_t>(done, 1)];
    status =
        package::SealAtRest(KeyOf(model), SealPurpose::kRecording, model.package, secret[done], seals[done]);
    if (!base::Ok(status)) break;
    bodies[done < kLanes ? 2 * done + 1 : 4].seal = seals[done];
  }
  if (base::Ok(status)) status = ring_.Begin(&head_, bodies);
  for (size_t i = 0; i < done; ++i) {
    if (secret[i].empty()) continue;
    const update::LoadedModel& model = *lanes[std::min<size_t>(i, 1)];
    // What was just encrypted here decrypts, or this memory is broken and a restart is the only way on.
    DIPPER_CHECK(base::Ok(
        package::OpenAtRest(KeyOf(model), SealPurpose::kRecording, model.package, seals[i], secret[i])));
  }
  return status;
}

// ---- records

void Recorder::Put(const Record& record) {
  writer_.Put(record);
  ++page_records_;
  ++next_record_;
  ++counters_.records;
}

bool Recorder::FlushPage() {
  if (writer_.bytes() == 0) return true;
  const base::MutableBytes page(page_);
  if (sealed_) {
    const base::MutableBytes records = store::PageRecords(page).first(writer_.bytes());
    if (!base::Ok(package::SealAtRest(seal_key_, SealPurpose::kRecording, seal_package_, records,
                                      store::PageSeal(page)))) {
      ++counters_.failures;
      Pause(RecorderState::kFailed);
      return false;
    }
  }
  const uint32_t used = store::SealPage({.segment = head_.sequence,
                                         .index = ring_.pages(),
                                         .records = page_records_,
                                         .first_record = page_first_record_,
                                         .sealed = sealed_},
                                        writer_.bytes(), page);
  const Status status = ring_.Append(page, used);
  CountWritten();
  if (!base::Ok(status)) {
    ++counters_.failures;
    Pause(RecorderState::kFailed);
    return false;
  }
  writer_.Reset(store::PageRecords(page));
  page_records_ = 0;
  page_first_record_ = next_record_;
  return true;
}

/// Room for so many bytes and, always, for the digests behind them. False: not recorded now.
bool Recorder::MakeRoom(uint32_t bytes) {
  if (writer_.room() >= bytes + kMaxPlainBytes) return true;
  const bool last = ring_.pages_left() <= 1;
  const bool spent = allowance_ < 2.0 * store::kRecorderPageBytes;
  if ((last || spent) && !models_changed_) PutDigests();
  if (!FlushPage()) return false;
  if (spent) {
    Pause(RecorderState::kSpent);
    return false;
  }
  if (!last) return true;
  // Other models already: their segment is opened with their first record.
  if (models_changed_) return false;
  return BeginSegment(SegmentCause::kFull);
}

/// The models are other ones, or there are none: what was recorded of the old ones is kept.
void Recorder::EndPages() {
  if (FlushPage()) ring_.Close();
}

void Recorder::PutDigests() {
  Record record{.kind = RecordKind::kDigests};
  const Lanes lanes = Loaded();
  for (size_t i = 0; i < kLanes; ++i) {
    if (lanes[i] != nullptr) record.images[i] = lanes[i]->model->ImageDigest();
  }
  const update::Gate* gate = updater_->counting_gate();
  if (gate != nullptr && gate_in_segment_) {
    const auto saved = gate->Save(gate_);
    DIPPER_CHECK(saved.ok());
    record.has_gate = true;
    record.powered_ns = gate->powered_ns();
    record.gate_state = base::Sha256Of(base::ByteView(gate_).first(*saved));
  }
  Put(record);
  since_digest_ = 0;
}

void Recorder::PutPlain(const Record& record) {
  if (!usable_ || !ring_.open() || !MakeRoom(kMaxPlainBytes)) return;
  Put(record);
}

void Recorder::BeginRecord() {
  champion_in_ = false;
  recording_ = Ready();
  if (!recording_) {
    if (state_ == RecorderState::kNoModel) return;  // nothing saw it
    ++counters_.left_out;
    ++segment_left_out_;
    return;
  }
  if (++since_digest_ <= kDigestEvery || !MakeRoom(room_needed_ + 2 * kMaxPlainBytes)) {
    recording_ = ring_.open();
    return;
  }
  if (since_digest_ == 0) return;  // a new segment was begun: its images are as good
  PutDigests();
  if (skipped_ == told_skipped_ && unusable_ == told_unusable_) return;
  told_skipped_ = skipped_;
  told_unusable_ = unusable_;
  Put({.kind = RecordKind::kCounts, .skipped = skipped_, .unusable_labels = unusable_});
}

void Recorder::OnInput(bool challenger, const ModelInput& input) {
  if (!recording_) return;
  if (challenger && champion_in_ && writer_.AlsoToChallenger(input)) return;
  Put({.kind = RecordKind::kInput,
       .to_champion = !challenger,
       .to_challenger = challenger,
       .joined = challenger && champion_in_,
       .input = input});
  champion_in_ = champion_in_ || !challenger;
}

void Recorder::OnAnswer(bool challenger, const FeedAnswer& answer) {
  if (recording_ && writer_.TakesAnswer()) writer_.PutAnswer(challenger, MarkOf(answer));
}

void Recorder::OnTiming(int64_t challenger_ns) {
  if (recording_) PutPlain({.kind = RecordKind::kTiming, .took_ns = challenger_ns});
}

void Recorder::OnFreeze(bool frozen) {
  if (Recording()) PutPlain({.kind = RecordKind::kFrozen, .frozen = frozen});
}

void Recorder::OnUpdateStep(const update::UpdateEvent& event) {
  Record record{.kind = RecordKind::kUpdate,
                .has_gate = event.has_gate && gate_in_segment_ && event.from == schema::UpdateState::Trial,
                .from = event.from,
                .to = event.to,
                .package = event.package,
                .gate = event.gate,
                .reason = event.reason};
  // Of the lanes as the replay has them: after a confirm the challenger's image is the champion's.
  if (!models_changed_ && in_segment_[0]) record.images[0] = event.champion_image;
  if (event.to == schema::UpdateState::Confirmed && in_segment_[1]) {
    record.images[1] = event.champion_image;
  } else if (!models_changed_ && in_segment_[1]) {
    record.images[1] = event.challenger_image;
  }
  PutPlain(record);
}

void Recorder::OnCommand(std::string_view name, uint64_t number, schema::Reason reason) {
  Record record{.kind = RecordKind::kCommand, .reason = reason, .number = number};
  record.name.AssignTruncated(name);
  PutPlain(record);
}

void Recorder::OnSkipped(uint64_t skipped, uint64_t unusable_labels) {
  skipped_ = skipped;
  unusable_ = unusable_labels;
}

void Recorder::Stop() {
  if (!usable_ || !ring_.open()) return;
  if (!models_changed_) PutDigests();
  EndPages();
  // The next start begins a segment of its own; what is not durable by then is lost.
  if (!base::Ok(ring_.Sync())) ++counters_.failures;
}

void Recorder::Release(bool whole) {
  if (whole) ring_.MarkFetched();
  ring_.Hold(false);
}

Status Recorder::BeginFetch() {
  if (!usable_) return Status::kFailedPrecondition;
  if (ring_.open()) {
    if (Recording()) PutDigests();
    // Nothing stands between the digests and the end of the file; a page that fails is left out of it.
    static_cast<void>(FlushPage());
    if (ring_.open() && ring_.full()) ring_.Close();
    if (!base::Ok(ring_.Sync())) ++counters_.failures;
  }
  DIPPER_RETURN_IF_ERROR(ring_.BeginMeasure());
  ring_.Hold(true);
  return Status::kOk;
}

}  // namespace dipper::runtime
