// RecorderRecords: what a recording says: the words about a segment, and the records on its pages, each
// written against the one before so that slow columns and regular times cost little. Byte layout:
// docs/reference/recording.md. Not thread-safe. No heap.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/fixed.h"
#include "agent/learn/image/limits.h"
#include "agent/runtime/recording/recorder_answer.h"
#include "agent/schema/update_generated.h"
#include "agent/update/gate.h"

namespace dipper::runtime {

/// Champion and challenger.
inline constexpr size_t kLanes = 2;

/// Why a segment was begun.
enum class SegmentCause : uint8_t {
  kStarted = 1,   ///< First of this run of the agent.
  kFull = 2,      ///< The one before was full: this one goes on exactly where it ended.
  kModels = 3,    ///< Other models run.
  kResumed = 4,   ///< Recording had been paused.
  kSnapshot = 5,  ///< Not of a recorder: the champion's image alone, as `snapshot` fetches it.
};

struct RecordedModel {
  base::Digest package;  ///< Zero: no model in this lane.
  base::Digest image;    ///< SHA-256 of the image that the segment opens with.
  base::FixedString<64> name, version;
};

/// Written with each segment. Bodies: spec and image of each lane, then the gate's state.
struct SegmentAbout {
  int64_t wall_ns = 0, monotonic_ns = 0;
  uint32_t numerics = 0, image_layout = 0;
  SegmentCause cause = SegmentCause::kStarted;
  bool champion_loaded = false;  ///< Since the segment before: its image does not come from there.
  bool has_gate = false;
  uint64_t session = 0;  ///< Of the agent's run.
  base::FixedString<31> agent_version;
  std::array<RecordedModel, kLanes> lanes;
  update::GateConfig gate;
};

/// @returns bytes written. `out`: store::kMaxAboutBytes.
uint32_t EncodeAbout(const SegmentAbout& about, base::MutableBytes out);
/// kDataLoss: damaged, or values that make no sense.
base::Status DecodeAbout(base::ByteView bytes, SegmentAbout* about);

enum class RecordKind : uint8_t {
  kInput = 1,    ///< A sample or a label, to one model or both.
  kDigests = 2,  ///< The images and the gate as they are here.
  kFrozen = 3,   ///< The champion was frozen or released.
  kUpdate = 4,   ///< A step of the update state.
  kCommand = 5,  ///< A command was run. It changes nothing by itself: what it does is told by other records.
  kTiming = 6,   ///< Measured time of the challenger's last input.
  kCounts = 7,   ///< Records that could not be used so far, and labels.
};

/// What a record says; of each kind the fields named after it.
struct Record {
  RecordKind kind = RecordKind::kInput;
  // input
  bool to_champion = false, to_challenger = false;
  bool joined = false;                  ///< Of the same record of the source as the input before.
  ModelInput input{};                   ///< Its values lie in the reader.
  std::array<bool, kLanes> answered{};  ///< Of each lane whether its mark is known, and
  std::array<AnswerMark, kLanes> marks{};
  // digests, update: of the lanes as they are at this record; zero: not told
  std::array<base::Digest, kLanes> images{};
  bool has_gate = false;
  // digests
  uint64_t powered_ns = 0;  ///< Of the trial.
  base::Digest gate_state{};
  // frozen
  bool frozen = false;
  // update
  schema::UpdateState from = schema::UpdateState::Idle, to = schema::UpdateState::Idle;
  base::Digest package{};
  update::GateReport gate{};
  // command, update
  schema::Reason reason = schema::Reason::None;
  base::FixedString<32> name{};
  uint64_t number = 0;
  // timing
  int64_t took_ns = 0;
  // counts
  uint64_t skipped = 0, unusable_labels = 0;
};

/// Both ends of a segment's records keep the same: what the next one is told against.
struct RecordBase {
  uint64_t id = 0;
  int64_t time_ns = 0;
  std::array<std::array<uint32_t, learn::kMaxFeatures>, kLanes> values{};  ///< Bits, of each lane.
};

/// No input record of so many features is longer.
constexpr uint32_t MaxInputBytes(uint32_t features) { return 56 + features / 8 + 4 * features; }
/// No other record is longer.
inline constexpr uint32_t kMaxPlainBytes = 192;

/// Appends records to `out`; the caller sees that there is room.
class RecordWriter {
 public:
  void Reset(base::MutableBytes out) {
    out_ = out;
    bytes_ = 0;
    input_last_ = false;
  }
  /// A new segment: nothing is known before.
  void ForgetBase() { base_ = {}; }
  uint32_t bytes() const { return bytes_; }
  uint32_t room() const { return static_cast<uint32_t>(out_.size()) - bytes_; }
  void Put(const Record& record);
  /// Right after an input to the champion: the challenger has this one. True: it is the same, and the record
  /// says so now.
  bool AlsoToChallenger(const ModelInput& input);
  /// An input, and nothing behind it but answers.
  bool TakesAnswer() const { return input_last_; }
  /// Right after an input: what that model answered to it. The champion's comes first.
  void PutAnswer(bool challenger, const AnswerMark& mark);

 private:
  void Byte(uint8_t value) { out_[bytes_++] = value; }
  void Bytes(base::ByteView bytes);
  void Varint(uint64_t value);
  template <typename T>
  void Fixed(T value) {
    Bytes({reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }
  void PutInput(const Record& record);
  void PutValues(const Record& record);
  void PutUpdate(const Record& record);

  base::MutableBytes out_;
  uint32_t bytes_ = 0;
  uint32_t last_flags_ = 0;  ///< Where the flags of the last input are.
  bool input_last_ = false;
  ModelInput last_;  ///< Of its values only the number.
  RecordBase base_;
};

/// Reads the records of one segment, page after page.
class RecordReader {
 public:
  void ForgetBase() { base_ = {}; }
  void Open(base::ByteView records) { in_ = base::ByteReader(records); }
  bool AtEnd() const { return in_.remaining() == 0; }
  /// The next record; its values are valid until the next call. kDataLoss: cut short, or out of range.
  /// kUnimplemented: a kind that this version does not know.
  base::Status Next(Record* record);

 private:
  uint64_t Varint();
  base::Status ReadInput(Record* record);
  base::Status ReadValues(Record* record);
  base::Status ReadUpdate(Record* record);

  base::ByteReader in_{{}};
  RecordBase base_;
  std::array<float, learn::kMaxFeatures> values_{};
  bool bad_ = false;
};

}  // namespace dipper::runtime
