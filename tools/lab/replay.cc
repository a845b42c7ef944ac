// Implementation of replay.h.
#include "tools/lab/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "agent/base/sha256.h"
#include "agent/learn/image/model.h"
#include "agent/runtime/sample_feed.h"
#include "agent/update/gate.h"
#include "agent/update/loaded_model.h"
#include "tools/lab/error.h"

namespace dipper::lab {
namespace {

using base::Status;
using runtime::Record;
using runtime::RecordKind;
using runtime::SegmentCause;

constexpr const char* kLaneNames[] = {"champion", "challenger"};

/// Rests on samples alone: not on measured times or the link, which a replay does not have.
bool IsSampleReason(schema::Reason reason) {
  return reason == schema::Reason::ShownNotWorse || reason == schema::Reason::ShownWorse ||
         reason == schema::Reason::AlarmRate || reason == schema::Reason::ScoreShift;
}

std::optional<schema::Reason> SampleReason(schema::Reason reason) {
  return IsSampleReason(reason) ? std::optional(reason) : std::nullopt;
}

std::string DecisionText(std::optional<schema::Reason> reason) {
  return reason ? schema::EnumNameReason(*reason) : "the trial goes on";
}

/// A model that runs from a recording's own spec and image.
class Lane {
 public:
  Lane(const LaneOpening& opening, const char* name) {
    spec_words_.resize((opening.spec.size() + 7) / 8);
    std::memcpy(spec_words_.data(), opening.spec.data(), opening.spec.size());
    const base::ByteView bytes(reinterpret_cast<const uint8_t*>(spec_words_.data()), opening.spec.size());
    const char* why = "";
    auto spec = learn::Spec::Parse(bytes, &why);
    if (!spec.ok()) {
      throw Error(ExitCode::kVerificationFailed,
                  fmt::format("the {}'s spec cannot be used by this version: {} ({})", name, why,
                              base::StatusName(spec.status())));
    }
    spec_.emplace(*spec);
    image_.resize(opening.image.size() / sizeof(Unit) + 1);
    const base::MutableBytes image(image_.data()->bytes, opening.image.size());
    std::ranges::copy(opening.image, image.begin());  // a recording may say that it is empty
    auto model = learn::Model::Attach(*spec_, image);
    if (!model.ok()) {
      throw Error(ExitCode::kVerificationFailed,
                  fmt::format("the {}'s image cannot be used by this version ({})", name,
                              base::StatusName(model.status())));
    }
    model_.emplace(*model);
  }
  void Step(const runtime::ModelInput& input, runtime::FeedAnswer* answer) {
    runtime::StepModel(*model_, spec_->target_kind() != schema::TargetKind::FeatureAhead, input, answer);
  }
  learn::Model& model() { return *model_; }
  const learn::Spec& spec() const { return *spec_; }

 private:
  struct alignas(16) Unit {
    uint8_t bytes[16];
  };
  std::vector<uint64_t> spec_words_;
  std::vector<Unit> image_;
  std::optional<learn::Spec> spec_;
  std::optional<learn::Model> model_;
};

class Player {
 public:
  Player(const ContentKeys& keys, ReplayResult* result) : keys_(keys), result_(*result) {}

  void Run(RecordedSegment& segment);

 private:
  bool CheckVersions(const RecordedSegment& segment);
  void CheckContinuity(const RecordedSegment& segment);
  void OpenLanes(RecordedSegment& segment);
  bool Play(const Record& record);
  void PlayInput(const Record& record);
  void Compare(const Record& record);
  void CompareGate(const Record& record);
  void CountPair(const runtime::FeedAnswer& answer);
  void CheckDecision(const Record& record);
  void Part(const char* what, const char* of, std::string recorded, std::string computed);
  void CompareAnswer(size_t lane, const Record& record, const runtime::FeedAnswer& answer);
  bool SameImage(size_t lane, const base::Digest& recorded);
  base::Digest GateDigest() const;

  const ContentKeys& keys_;
  ReplayResult& result_;
  const RecordedSegment* segment_ = nullptr;
  std::array<std::unique_ptr<Lane>, runtime::kLanes> lanes_;
  std::optional<update::Gate> gate_;
  runtime::FeedAnswer champion_answer_;
  runtime::RecordReader reader_;
  uint64_t record_ = 0;  ///< Number of the one being played.
  uint64_t equal_at_ = 0;
  bool whole_ = false;  ///< The segment before was played to its end.
};

void Player::Part(const char* what, const char* of, std::string recorded, std::string computed) {
  if (result_.parting) return;
  result_.parting = Parting{.segment = segment_->head.sequence,
                            .equal_at = equal_at_,
                            .record = record_,
                            .sample_id = result_.last_id,
                            .time_ns = result_.last_time_ns,
                            .what = what,
                            .of = of,
                            .recorded = std::move(recorded),
                            .computed = std::move(computed)};
}

bool Player::SameImage(size_t lane, const base::Digest& recorded) {
  if (lanes_[lane] == nullptr) return true;
  ++result_.compared;
  const base::Digest computed = lanes_[lane]->model().ImageDigest();
  if (computed == recorded) return true;
  Part(kLaneNames[lane], "image", std::string(base::ToHex(recorded).view()),
       std::string(base::ToHex(computed).view()));
  return false;
}

/// The first record that is answered otherwise is where they part: a wrong label or a wrong step of the
/// learner shows in the next answer at the latest, long before the next digests.
void Player::CompareAnswer(size_t lane, const Record& record, const runtime::FeedAnswer& answer) {
  if (!record.answered[lane]) return;
  ++result_.answers;
  const runtime::AnswerMark computed = runtime::MarkOf(answer);
  const runtime::AnswerMark& recorded = record.marks[lane];
  if (computed == recorded) return;
  Part(kLaneNames[lane], "answer",
       fmt::format("about {:.3g} (check {:04x})", runtime::MarkedNumber(recorded), recorded.check),
       fmt::format("{} (check {:04x})", runtime::MainNumber(answer), computed.check));
}

base::Digest Player::GateDigest() const {
  std::vector<uint8_t> bytes(update::kGateStateBytes);
  const auto saved = gate_->Save(bytes);
  return saved.ok() ? base::Sha256Of(base::ByteView(bytes).first(*saved)) : base::Digest{};
}

bool Player::CheckVersions(const RecordedSegment& segment) {
  const runtime::SegmentAbout& about = segment.about;
  if (about.numerics == learn::kNumericsVersion && about.image_layout == learn::kImageLayoutVersion)
    return true;
  throw Error(
      ExitCode::kVerificationFailed,
      fmt::format("the recording was made by agent {} with numerics version {} and image layout {}; "
                  "this program computes with {} and {}, and would not reach the same images: use the "
                  "dipper of that agent's version",
                  about.agent_version.view(), about.numerics, about.image_layout, learn::kNumericsVersion,
                  learn::kImageLayoutVersion));
}

/// A segment that goes on where the one before ended opens with what that one has become.
void Player::CheckContinuity(const RecordedSegment& segment) {
  const runtime::SegmentAbout& now = segment.about;
  const bool follows = whole_ && segment_ != nullptr &&
                       segment.head.sequence == segment_->head.sequence + 1 &&
                       now.session == segment_->about.session && segment.head.first_record == record_ + 1 &&
                       segment.head.left_out == 0;
  if (!follows || now.cause == SegmentCause::kResumed || now.cause == SegmentCause::kStarted) return;
  const runtime::SegmentAbout& before = segment_->about;
  if (!now.champion_loaded && !now.lanes[0].package.IsZero()) {
    if (now.lanes[0].package == before.lanes[0].package) {
      static_cast<void>(SameImage(0, now.lanes[0].image));
    } else if (now.lanes[0].package == before.lanes[1].package) {
      static_cast<void>(SameImage(1, now.lanes[0].image));
    }
  }
  if (now.cause == SegmentCause::kFull && !now.lanes[1].package.IsZero()) {
    static_cast<void>(SameImage(1, now.lanes[1].image));
  }
}

void Player::OpenLanes(RecordedSegment& segment) {
  std::array<LaneOpening, runtime::kLanes> openings;
  std::vector<uint8_t> gate_state;
  if (!Recording::Open(&segment, keys_, &openings, &gate_state)) return;
  CheckContinuity(segment);
  if (result_.parting) return;
  segment_ = &segment;
  gate_.reset();
  for (size_t i = 0; i < lanes_.size(); ++i) {
    lanes_[i].reset();
    if (!openings[i].spec.empty()) lanes_[i] = std::make_unique<Lane>(openings[i], kLaneNames[i]);
  }
  if (!segment.about.has_gate) return;
  if (base::Ok(update::CheckGateConfig(segment.about.gate))) {
    gate_.emplace(segment.about.gate, segment.about.lanes[1].package);
    if (base::Ok(gate_->Restore(gate_state))) return;
    gate_.reset();
  }
  segment.damage = "the gate's state in it cannot be used";
}

void Player::PlayInput(const Record& record) {
  const runtime::ModelInput& input = record.input;
  ++(input.is_label ? result_.labels : result_.inputs);
  if (!input.is_label) {
    if (result_.first_time_ns == 0) result_.first_time_ns = input.time_ns;
    result_.last_time_ns = input.time_ns;
  }
  result_.last_id = input.id;
  if (!record.joined) champion_answer_ = {};
  if (record.to_champion && lanes_[0] != nullptr) {
    lanes_[0]->Step(input, &champion_answer_);
    CompareAnswer(0, record, champion_answer_);
  }
  if (!record.to_challenger || lanes_[1] == nullptr) return;
  runtime::FeedAnswer answer;
  lanes_[1]->Step(input, &answer);
  CompareAnswer(1, record, answer);
  if (gate_) CountPair(answer);
}

/// As the updater counts a sample and a label (Updater::OnAnswers, OnOutcomes).
void Player::CountPair(const runtime::FeedAnswer& answer) {
  if (answer.observed && !learn::IsFinite(answer.output)) return;
  if (answer.observed) {
    update::CountSample(lanes_[0] != nullptr ? &lanes_[0]->spec() : nullptr,
                        champion_answer_.observed ? &champion_answer_.output : nullptr, lanes_[1]->spec(),
                        answer.output, &*gate_);
    if (gate_->JudgeVeto() != update::GateVerdict::kContinue) return;  // the trial ended before the label
  }
  if (!answer.learned || !answer.outcome.valid) return;
  const learn::Outcome& rival = champion_answer_.outcome;
  if (lanes_[0] != nullptr && (!rival.valid || rival.id != answer.outcome.id)) return;
  gate_->Add(answer.outcome.loss, lanes_[0] != nullptr ? rival.loss : answer.outcome.trivial_loss);
}

/// The gate decides here what it decided there, and at the same record. A confirm may wait there for the link
/// or for the challenger's times; a fall back waits for nothing.
void Player::CheckDecision(const Record& record) {
  if (!gate_ || result_.parting) return;
  const bool fed = record.kind == RecordKind::kInput && record.to_challenger;
  const bool ended = record.kind == RecordKind::kUpdate && record.has_gate && IsSampleReason(record.reason);
  if (!fed && !ended) return;
  const std::optional<schema::Reason> computed = SampleReason(update::ReasonOf(gate_->Verdict()));
  const std::optional<schema::Reason> recorded = ended ? std::optional(record.reason) : std::nullopt;
  const bool may_wait = fed && computed == schema::Reason::ShownNotWorse;
  if (ended) ++result_.decisions;
  if (computed != recorded && !may_wait)
    Part("gate", "decision", DecisionText(recorded), DecisionText(computed));
}

void Player::CompareGate(const Record& record) {
  if (!record.has_gate || !gate_) return;
  ++result_.compared;
  if (record.kind == RecordKind::kUpdate) {
    const update::GateReport report = gate_->Report();
    const auto text = [](const update::GateReport& gate) {
      return fmt::format("{} labels, {} counted, loss {} against {}", gate.seen, gate.counted,
                         gate.challenger_loss, gate.rival_loss);
    };
    if (text(report) != text(record.gate)) Part("gate", "numbers", text(record.gate), text(report));
    return;
  }
  // Powered-on time is not computed but told.
  gate_->AddPoweredTime(record.powered_ns - gate_->powered_ns());
  const base::Digest computed = GateDigest();
  if (computed == record.gate_state) return;
  Part("gate", "state", std::string(base::ToHex(record.gate_state).view()),
       std::string(base::ToHex(computed).view()));
}

void Player::Compare(const Record& record) {
  for (size_t lane = 0; lane < lanes_.size(); ++lane) {
    if (!record.images[lane].IsZero()) static_cast<void>(SameImage(lane, record.images[lane]));
  }
  CompareGate(record);
  if (!result_.parting) equal_at_ = record_;
}

/// False: the replay ends here.
bool Player::Play(const Record& record) {
  CheckDecision(record);
  if (result_.parting) return false;
  switch (record.kind) {
    case RecordKind::kInput:
      PlayInput(record);
      break;
    case RecordKind::kUpdate:
      ++result_.update_steps;
      Compare(record);
      break;
    case RecordKind::kDigests:
      Compare(record);
      break;
    case RecordKind::kFrozen:
      if (lanes_[0] != nullptr) lanes_[0]->model().SetFrozen(record.frozen);
      break;
    case RecordKind::kCommand:
      ++result_.commands;
      break;
    case RecordKind::kTiming:
      result_.timings_ns.push_back(record.took_ns);
      break;
    case RecordKind::kCounts:
      break;
  }
  return !result_.parting;
}

void Player::Run(RecordedSegment& segment) {
  if (segment.damage.empty() && CheckVersions(segment)) OpenLanes(segment);
  if (result_.parting) return;
  if (!segment.damage.empty()) {
    result_.notes.push_back(
        fmt::format("segment {} was left out: {}", segment.head.sequence, segment.damage));
    whole_ = false;
    return;
  }
  if (result_.segments++ == 0) result_.first_record = segment.head.first_record;
  result_.left_out += segment.head.left_out;
  result_.newest = segment.about;
  record_ = segment.head.first_record - 1;
  equal_at_ = record_;
  reader_.ForgetBase();
  whole_ = true;
  std::vector<uint8_t> page;
  for (uint64_t i = 0; i < segment.page_count() && whole_; ++i) {
    store::RecorderPage about;
    const auto records = Recording::OpenPage(segment, i, keys_, &page, &about);
    whole_ = records.has_value() && about.first_record == record_ + 1;
    if (!whole_) {
      result_.notes.push_back(
          fmt::format("segment {} ends before page {}, which is damaged", segment.head.sequence, i + 1));
      break;
    }
    reader_.Open(*records);
    for (uint32_t n = 0; n < about.records; ++n) {
      Record record;
      if (const Status status = reader_.Next(&record); !base::Ok(status)) {
        throw Error(ExitCode::kVerificationFailed,
                    fmt::format("record {} cannot be read ({}): {}", record_ + 1, base::StatusName(status),
                                status == Status::kUnimplemented ? "it is of a newer agent"
                                                                 : "this is a fault of who wrote it"));
      }
      ++record_;
      result_.last_record = record_;
      if (!Play(record)) return;
    }
  }
  for (size_t lane = 0; lane < lanes_.size(); ++lane)
    result_.images[lane] = lanes_[lane] == nullptr ? base::Digest{} : lanes_[lane]->model().ImageDigest();
}

}  // namespace

ReplayResult Replay(Recording& recording, const ContentKeys& keys,
                    const std::function<void(uint64_t)>& progress) {
  ReplayResult result;
  Player player(keys, &result);
  uint64_t done = 0;
  for (RecordedSegment& segment : recording.segments()) {
    player.Run(segment);
    done += segment.bytes.size();
    if (progress) progress(done);
    if (result.parting) break;
  }
  if (result.segments != 0) return result;
  std::string why = "it holds no segment";
  if (!result.notes.empty()) why = result.notes.back();
  throw Error(ExitCode::kVerificationFailed,
              fmt::format("{}: there is nothing whole to replay: {}", recording.name(), why));
}

}  // namespace dipper::lab
