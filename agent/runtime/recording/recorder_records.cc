// Implementation of recorder_records.h.
#include "agent/runtime/recording/recorder_records.h"

#include <bit>

#include "agent/store/recorder_format.h"

namespace dipper::runtime {
namespace {

using base::Status;

constexpr size_t kTextBytes = 72;  // length and 64 characters, in whole words
constexpr uint8_t kAboutLoaded = 1, kAboutGate = 2;
constexpr uint32_t kMaxHorizon = 65536;

// Flags of an input.
constexpr uint8_t kToChampion = 1, kToChallenger = 2, kIsLabel = 4, kHasLabel = 8, kHasWeight = 16,
                  kJoined = 32, kChampionAnswer = 64, kChallengerAnswer = 128;
// What digests and update steps tell.
constexpr uint8_t kOfGate = 4;

void PutText(base::ByteWriter& writer, std::string_view text) {
  std::array<uint8_t, kTextBytes> bytes{};
  bytes[0] = static_cast<uint8_t>(text.size());
  std::memcpy(bytes.data() + 1, text.data(), text.size());
  writer.PutBytes(bytes);
}

bool GetText(base::ByteReader& reader, base::FixedString<64>* text) {
  std::array<uint8_t, kTextBytes> bytes{};
  reader.GetBytes(bytes);
  return base::Ok(
             text->Assign(base::AsText(base::ByteView(bytes).subspan(1).first(bytes[0] % kTextBytes)))) &&
         bytes[0] <= 64;
}

void PutGate(base::ByteWriter& writer, const update::GateConfig& gate) {
  writer.Put(static_cast<uint8_t>(gate.paired ? 1 : 0));
  writer.Put(static_cast<uint8_t>(gate.confirm_at_deadline ? 1 : 0));
  writer.Put(uint16_t{0});
  writer.Put(gate.recent);
  writer.Put(gate.horizon);
  writer.Put(uint32_t{0});
  for (const double value : {gate.loss_bound, gate.margin, gate.margin_ratio, gate.alpha,
                             gate.max_alarm_excess, gate.max_score_shift}) {
    writer.Put(value);
  }
  for (const uint64_t value : {gate.warmup_samples, gate.deadline_samples, gate.deadline_seconds})
    writer.Put(value);
}

update::GateConfig GetGate(base::ByteReader& reader) {
  update::GateConfig gate;
  gate.paired = reader.Get<uint8_t>() != 0;
  gate.confirm_at_deadline = reader.Get<uint8_t>() != 0;
  static_cast<void>(reader.Get<uint16_t>());
  gate.recent = reader.Get<uint32_t>();
  gate.horizon = reader.Get<uint32_t>();
  static_cast<void>(reader.Get<uint32_t>());
  for (double* value : {&gate.loss_bound, &gate.margin, &gate.margin_ratio, &gate.alpha,
                        &gate.max_alarm_excess, &gate.max_score_shift}) {
    *value = reader.Get<double>();
  }
  for (uint64_t* value : {&gate.warmup_samples, &gate.deadline_samples, &gate.deadline_seconds})
    *value = reader.Get<uint64_t>();
  return gate;
}

uint64_t ZigZag(int64_t value) { return (static_cast<uint64_t>(value) << 1) ^ (value < 0 ? UINT64_MAX : 0); }
int64_t UnZigZag(uint64_t value) { return static_cast<int64_t>((value >> 1) ^ (value & 1 ? UINT64_MAX : 0)); }
// Wrapping, so that any id and any time can be told against any other.
uint64_t Difference(uint64_t a, uint64_t b) { return ZigZag(static_cast<int64_t>(a - b)); }
uint64_t Sum(uint64_t a, uint64_t coded) { return a + static_cast<uint64_t>(UnZigZag(coded)); }

}  // namespace

uint32_t EncodeAbout(const SegmentAbout& about, base::MutableBytes out) {
  base::ByteWriter writer(out);
  writer.Put(about.wall_ns);
  writer.Put(about.monotonic_ns);
  writer.Put(about.numerics);
  writer.Put(about.image_layout);
  writer.Put(about.cause);
  writer.Put(
      static_cast<uint8_t>((about.champion_loaded ? kAboutLoaded : 0) | (about.has_gate ? kAboutGate : 0)));
  writer.Put(uint16_t{0});
  writer.Put(uint32_t{0});
  writer.Put(about.session);
  std::array<uint8_t, 32> version{};
  const std::string_view text = about.agent_version.view();
  version[0] = static_cast<uint8_t>(text.size());
  std::memcpy(version.data() + 1, text.data(), text.size());
  writer.PutBytes(version);
  for (const RecordedModel& lane : about.lanes) {
    writer.PutDigest(lane.package);
    writer.PutDigest(lane.image);
    PutText(writer, lane.name.view());
    PutText(writer, lane.version.view());
  }
  PutGate(writer, about.gate);
  DIPPER_CHECK(!writer.overflow() && writer.position() <= store::kMaxAboutBytes);
  return static_cast<uint32_t>(writer.position());
}

Status DecodeAbout(base::ByteView bytes, SegmentAbout* about) {
  base::ByteReader reader(bytes);
  about->wall_ns = reader.Get<int64_t>();
  about->monotonic_ns = reader.Get<int64_t>();
  about->numerics = reader.Get<uint32_t>();
  about->image_layout = reader.Get<uint32_t>();
  about->cause = static_cast<SegmentCause>(reader.Get<uint8_t>());
  const auto flags = reader.Get<uint8_t>();
  about->champion_loaded = (flags & kAboutLoaded) != 0;
  about->has_gate = (flags & kAboutGate) != 0;
  static_cast<void>(reader.Get<uint16_t>());
  static_cast<void>(reader.Get<uint32_t>());
  about->session = reader.Get<uint64_t>();
  std::array<uint8_t, 32> version{};
  reader.GetBytes(version);
  if (version[0] > 31) return Status::kDataLoss;
  about->agent_version.AssignTruncated(base::AsText(base::ByteView(version).subspan(1, version[0])));
  bool good = true;
  for (RecordedModel& lane : about->lanes) {
    lane.package = reader.GetDigest();
    lane.image = reader.GetDigest();
    good = GetText(reader, &lane.name) && GetText(reader, &lane.version) && good;
  }
  about->gate = GetGate(reader);
  good = good && !reader.overflow() && about->cause >= SegmentCause::kStarted &&
         about->cause <= SegmentCause::kSnapshot && about->gate.horizon <= kMaxHorizon;
  return good ? Status::kOk : Status::kDataLoss;
}

// ---- writing

void RecordWriter::Bytes(base::ByteView bytes) {
  DIPPER_CHECK(bytes.size() <= room());
  std::memcpy(out_.data() + bytes_, bytes.data(), bytes.size());
  bytes_ += static_cast<uint32_t>(bytes.size());
}

void RecordWriter::Varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) Byte(static_cast<uint8_t>(value | 0x80));
  Byte(static_cast<uint8_t>(value));
}

void RecordWriter::PutInput(const Record& record) {
  const ModelInput& input = record.input;
  const bool weighted = input.weight != 1;  // NaN too
  last_flags_ = bytes_;
  last_ = input;
  Byte(static_cast<uint8_t>((record.to_champion ? kToChampion : 0) |
                            (record.to_challenger ? kToChallenger : 0) | (input.is_label ? kIsLabel : 0) |
                            (input.has_label ? kHasLabel : 0) | (weighted ? kHasWeight : 0) |
                            (record.joined ? kJoined : 0)));
  Varint(Difference(input.id, base_.id));
  Varint(Difference(static_cast<uint64_t>(input.time_ns), static_cast<uint64_t>(base_.time_ns)));
  base_.id = input.id;
  base_.time_ns = input.time_ns;
  if (input.has_label) Fixed(input.label);
  if (weighted) Fixed(input.weight);
  if (!input.is_label) PutValues(record);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    if (record.answered[lane]) PutAnswer(lane == 1, record.marks[lane]);
  }
}

void RecordWriter::PutValues(const Record& record) {
  const ModelInput& input = record.input;
  Varint(input.values.size());
  auto& before = base_.values[record.to_champion ? 0 : 1];
  const uint32_t mask_at = bytes_;
  for (size_t i = 0; i < input.values.size(); i += 8) Byte(0);
  for (size_t i = 0; i < input.values.size(); ++i) {
    const auto bits = std::bit_cast<uint32_t>(input.values[i]);
    if (bits == before[i]) continue;
    before[i] = bits;
    out_[mask_at + i / 8] = static_cast<uint8_t>(out_[mask_at + i / 8] | (1U << (i % 8)));
    Fixed(bits);
  }
  if (record.to_champion && record.to_challenger) base_.values[1] = base_.values[0];
}

void RecordWriter::PutAnswer(bool challenger, const AnswerMark& mark) {
  DIPPER_CHECK(input_last_);
  out_[last_flags_] =
      static_cast<uint8_t>(out_[last_flags_] | (challenger ? kChallengerAnswer : kChampionAnswer));
  Fixed(mark.value);
  Fixed(mark.check);
}

bool RecordWriter::AlsoToChallenger(const ModelInput& input) {
  const auto bits = [](double value) { return std::bit_cast<uint64_t>(value); };
  const bool same_head = input.is_label == last_.is_label && input.has_label == last_.has_label &&
                         input.id == last_.id && input.time_ns == last_.time_ns &&
                         bits(input.label) == bits(last_.label) && bits(input.weight) == bits(last_.weight) &&
                         input.values.size() == last_.values.size();
  if (!same_head) return false;
  for (size_t i = 0; i < input.values.size(); ++i) {
    if (std::bit_cast<uint32_t>(input.values[i]) != base_.values[0][i]) return false;
  }
  out_[last_flags_] = static_cast<uint8_t>(out_[last_flags_] | kToChallenger);
  if (!input.is_label) base_.values[1] = base_.values[0];
  return true;
}

void RecordWriter::PutUpdate(const Record& record) {
  Byte(static_cast<uint8_t>(record.from));
  Byte(static_cast<uint8_t>(record.to));
  Fixed(static_cast<uint16_t>(record.reason));
  uint8_t told = record.has_gate ? kOfGate : 0;
  for (size_t lane = 0; lane < kLanes; ++lane)
    told = static_cast<uint8_t>(told | (record.images[lane].IsZero() ? 0 : 1U << lane));
  Byte(told);
  Bytes(record.package.bytes);
  for (const base::Digest& image : record.images) {
    if (!image.IsZero()) Bytes(image.bytes);
  }
  if (!record.has_gate) return;
  Varint(record.gate.seen);
  Varint(record.gate.counted);
  Fixed(record.gate.challenger_loss);
  Fixed(record.gate.rival_loss);
}

void RecordWriter::Put(const Record& record) {
  input_last_ = record.kind == RecordKind::kInput;
  Byte(static_cast<uint8_t>(record.kind));
  switch (record.kind) {
    case RecordKind::kInput:
      return PutInput(record);
    case RecordKind::kDigests: {
      uint8_t told = record.has_gate ? kOfGate : 0;
      for (size_t lane = 0; lane < kLanes; ++lane)
        told = static_cast<uint8_t>(told | (record.images[lane].IsZero() ? 0 : 1U << lane));
      Byte(told);
      for (const base::Digest& image : record.images) {
        if (!image.IsZero()) Bytes(image.bytes);
      }
      if (!record.has_gate) return;
      Varint(record.powered_ns);
      return Bytes(record.gate_state.bytes);
    }
    case RecordKind::kFrozen:
      return Byte(record.frozen ? 1 : 0);
    case RecordKind::kUpdate:
      return PutUpdate(record);
    case RecordKind::kCommand:
      Varint(record.number);
      Fixed(static_cast<uint16_t>(record.reason));
      Byte(static_cast<uint8_t>(record.name.view().size()));
      return Bytes(base::AsBytes(record.name.view()));
    case RecordKind::kTiming:
      return Varint(static_cast<uint64_t>(record.took_ns));
    case RecordKind::kCounts:
      Varint(record.skipped);
      return Varint(record.unusable_labels);
  }
}

// ---- reading

uint64_t RecordReader::Varint() {
  uint64_t value = 0;
  for (uint32_t shift = 0; shift < 64; shift += 7) {
    const auto byte = in_.Get<uint8_t>();
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  bad_ = true;
  return 0;
}

Status RecordReader::ReadInput(Record* record) {
  const auto flags = in_.Get<uint8_t>();
  record->to_champion = (flags & kToChampion) != 0;
  record->to_challenger = (flags & kToChallenger) != 0;
  record->joined = (flags & kJoined) != 0;
  ModelInput& input = record->input;
  input.is_label = (flags & kIsLabel) != 0;
  input.has_label = (flags & kHasLabel) != 0;
  input.id = base_.id = Sum(base_.id, Varint());
  base_.time_ns = static_cast<int64_t>(Sum(static_cast<uint64_t>(base_.time_ns), Varint()));
  input.time_ns = base_.time_ns;
  if (input.has_label) input.label = in_.Get<double>();
  if ((flags & kHasWeight) != 0) input.weight = in_.Get<double>();
  if (!record->to_champion && !record->to_challenger) return Status::kDataLoss;
  if (!input.is_label) DIPPER_RETURN_IF_ERROR(ReadValues(record));
  record->answered = {(flags & kChampionAnswer) != 0, (flags & kChallengerAnswer) != 0};
  for (size_t lane = 0; lane < kLanes; ++lane) {
    if (!record->answered[lane]) continue;
    record->marks[lane].value = in_.Get<uint16_t>();
    record->marks[lane].check = in_.Get<uint16_t>();
  }
  return Status::kOk;
}

Status RecordReader::ReadValues(Record* record) {
  const uint64_t count = Varint();
  if (count > learn::kMaxFeatures || in_.overflow()) return Status::kDataLoss;
  std::array<uint8_t, learn::kMaxFeatures / 8> mask{};
  in_.GetBytes(base::MutableBytes(mask).first(static_cast<size_t>((count + 7) / 8)));
  auto& before = base_.values[record->to_champion ? 0 : 1];
  for (size_t i = 0; i < count; ++i) {
    if ((mask[i / 8] >> (i % 8) & 1) != 0) before[i] = in_.Get<uint32_t>();
    values_[i] = std::bit_cast<float>(before[i]);
  }
  if (record->to_champion && record->to_challenger) base_.values[1] = base_.values[0];
  record->input.values = std::span(values_).first(static_cast<size_t>(count));
  return Status::kOk;
}

Status RecordReader::ReadUpdate(Record* record) {
  record->from = static_cast<schema::UpdateState>(in_.Get<uint8_t>());
  record->to = static_cast<schema::UpdateState>(in_.Get<uint8_t>());
  record->reason = static_cast<schema::Reason>(in_.Get<uint16_t>());
  const auto told = in_.Get<uint8_t>();
  record->package = in_.GetDigest();
  for (size_t lane = 0; lane < kLanes; ++lane) {
    if ((told >> lane & 1) != 0) record->images[lane] = in_.GetDigest();
  }
  record->has_gate = (told & kOfGate) != 0;
  if (!record->has_gate) return Status::kOk;
  record->gate.seen = Varint();
  record->gate.counted = Varint();
  record->gate.challenger_loss = in_.Get<double>();
  record->gate.rival_loss = in_.Get<double>();
  return Status::kOk;
}

Status RecordReader::Next(Record* record) {
  *record = {};
  bad_ = false;
  record->kind = static_cast<RecordKind>(in_.Get<uint8_t>());
  Status status = Status::kOk;
  switch (record->kind) {
    case RecordKind::kInput:
      status = ReadInput(record);
      break;
    case RecordKind::kDigests: {
      const auto told = in_.Get<uint8_t>();
      for (size_t lane = 0; lane < kLanes; ++lane) {
        if ((told >> lane & 1) != 0) record->images[lane] = in_.GetDigest();
      }
      record->has_gate = (told & kOfGate) != 0;
      if (!record->has_gate) break;
      record->powered_ns = Varint();
      record->gate_state = in_.GetDigest();
      break;
    }
    case RecordKind::kFrozen:
      record->frozen = in_.Get<uint8_t>() != 0;
      break;
    case RecordKind::kUpdate:
      status = ReadUpdate(record);
      break;
    case RecordKind::kCommand: {
      record->number = Varint();
      record->reason = static_cast<schema::Reason>(in_.Get<uint16_t>());
      std::array<uint8_t, 32> name{};
      const auto length = in_.Get<uint8_t>();
      if (length > name.size()) return Status::kDataLoss;
      in_.GetBytes(base::MutableBytes(name).first(length));
      record->name.AssignTruncated(base::AsText(base::ByteView(name).first(length)));
      break;
    }
    case RecordKind::kTiming:
      record->took_ns = static_cast<int64_t>(Varint());
      break;
    case RecordKind::kCounts:
      record->skipped = Varint();
      record->unusable_labels = Varint();
      break;
    default:
      return Status::kUnimplemented;
  }
  return bad_ || in_.overflow() ? Status::kDataLoss : status;
}

}  // namespace dipper::runtime
