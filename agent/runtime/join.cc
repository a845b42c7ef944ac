// Implementation of join.h.
#include "agent/runtime/join.h"

#include <algorithm>
#include <cmath>

#include "agent/base/text.h"
#include "agent/runtime/picked_json.h"

namespace dipper::runtime {

using base::Status;
using stream::Picked;

namespace {

constexpr uint16_t kNoColumn = 0xFFFF;
constexpr size_t kTextBytes = 48 * 1024;  // below what the decoder of JSON takes
// Records of one part in one turn, so that a fast part does not starve the one that gives the tick.
constexpr int kRecordsOfASource = 16;
// An origin's upper bits say whose it is.
constexpr uint32_t kOriginBits = 28;
constexpr uint32_t kOriginMask = (1U << kOriginBits) - 1;
static_assert(kMaxJoinParts <= 1U << (32 - kOriginBits));
static_assert(kMaxJoinColumns + 3 <= stream::kMaxPicks);

/// A cell as it stands, blanks around it ignored; one that is too long is missing.
Picked CellOf(std::string_view cell) {
  Picked picked;
  cell = stream::TrimBlanks(cell);
  if (!stream::IsMissing(cell) && Ok(picked.text.Assign(cell))) picked.kind = Picked::Kind::kText;
  return picked;
}

/// Seconds since 1970 as nanoseconds; 0: none.
int64_t TimeOf(const Picked& time) {
  constexpr double kMostSeconds = 9.2e9;
  const bool number = time.kind == Picked::Kind::kNumber || time.kind == Picked::Kind::kWhole;
  if (!number || !(std::fabs(time.number) < kMostSeconds)) return 0;
  return static_cast<int64_t>(time.number * 1e9);
}

}  // namespace

Join::Join(hal::Clock& clock, const JoinConfig& config, std::vector<JoinPart> parts)
    : clock_(clock), config_(config), parts_(parts.size()), text_(kTextBytes) {
  DIPPER_CHECK(!parts.empty() && parts.size() <= kMaxJoinParts && config.primary < parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    Held& held = parts_[i];
    held.part = std::move(parts[i]);
    held.first_column = names_.size();
    std::vector<std::string_view> places(held.part.columns.begin(), held.part.columns.end());
    names_.insert(names_.end(), held.part.columns.begin(), held.part.columns.end());
    for (const char* more : {"id", "time", "label"}) places.push_back(more);
    // A name is not taken for a pointer.
    DIPPER_CHECK(Ok(held.pick.Bind(places)));
    held.now.resize(places.size());
    held.next.resize(places.size());
    held.order.reserve(stream::kMaxColumns);
  }
  DIPPER_CHECK(names_.size() <= kMaxJoinColumns);
  // A name that two parts have gets its part's name in both, whatever their order.
  const std::vector<std::string> plain = names_;
  for (const Held& held : parts_) {
    for (size_t c = 0; c < held.part.columns.size(); ++c) {
      const std::string& name = held.part.columns[c];
      if (std::count(plain.begin(), plain.end(), name) > 1)
        names_[held.first_column + c] = held.part.name + "." + name;
    }
  }
  has_id_ = std::count(names_.begin(), names_.end(), "id") > 0;
  has_time_ = std::count(names_.begin(), names_.end(), "time") > 0;
}

void Join::ReadHeader(Held* held, std::string_view line) {
  held->order.clear();
  line = base::WithoutByteOrderMark(line);
  held->delimiter = stream::DetectDelimiter(line);
  uint32_t count = 0;
  if (!Ok(stream::SplitLine(line, held->delimiter, scratch_, cells_, &count))) {
    ++totals_.unreadable;
    return;
  }
  for (uint32_t i = 0; i < count; ++i) {
    const auto& columns = held->part.columns;
    const auto found = std::find(columns.begin(), columns.end(), stream::TrimBlanks(cells_[i]));
    held->order.push_back(found == columns.end() ? kNoColumn
                                                 : static_cast<uint16_t>(found - columns.begin()));
  }
}

bool Join::ReadLine(Held* held, std::string_view line) {
  uint32_t count = 0;
  if (!Ok(stream::SplitLine(line, held->delimiter, scratch_, cells_, &count)) || count != held->order.size())
    return false;
  for (uint32_t i = 0; i < count; ++i) {
    if (held->order[i] != kNoColumn) held->next[held->order[i]] = CellOf(cells_[i]);
  }
  return true;
}

bool Join::ReadFloats(Held* held, base::ByteView row) {
  if (row.size() != held->order.size() * sizeof(float)) return false;
  for (size_t i = 0; i < held->order.size(); ++i) {
    const auto value = static_cast<double>(base::Load<float>(row.data() + i * sizeof(float)));
    if (held->order[i] == kNoColumn || !std::isfinite(value)) continue;
    Picked& cell = held->next[held->order[i]];
    cell.kind = Picked::Kind::kNumber;
    cell.number = value;
  }
  return true;
}

/// A label that comes on its own is an id and a label, and not one of the columns.
Join::Took Join::ReadJson(Held* held, std::string_view text) {
  if (!Ok(held->pick.Pick(text, held->next))) return Took::kLost;
  const size_t columns = held->part.columns.size();
  const auto there = [](const Picked& p) { return p.kind != Picked::Kind::kAbsent; };
  const auto end = held->next.begin() + static_cast<ptrdiff_t>(columns);
  if (std::any_of(held->next.begin(), end, there)) return Took::kValues;
  return there(held->next[columns]) && there(held->next[columns + 2]) ? Took::kLabel : Took::kLost;
}

/// One record of a part. A label is left in `*record`; values become what the part holds.
Join::Took Join::TakeRecord(size_t index, hal::Record* record) {
  Held& held = parts_[index];
  if (held.ended) return Took::kNothing;
  const Status status = held.part.source->Poll(record);
  if (status == Status::kOutOfRange) held.ended = true;
  if (status == Status::kDataLoss) return Took::kLost;  // counted by the part
  if (!Ok(status)) return Took::kNothing;
  if (record->origin != 0)
    record->origin = static_cast<uint32_t>(index << kOriginBits) | (record->origin & kOriginMask);
  if (record->kind == hal::RecordKind::kLabel) return Took::kLabel;
  if (record->kind == hal::RecordKind::kHeader) {
    ReadHeader(&held, base::AsText(record->payload));
    return Took::kLost;  // nothing yet; its line comes next
  }
  std::fill(held.next.begin(), held.next.end(), Picked{});
  Took took = Took::kValues;
  const bool json = record->encoding == hal::RecordEncoding::kJson;
  if (json) took = ReadJson(&held, base::AsText(record->payload));
  if (record->encoding == hal::RecordEncoding::kCsvLine && !ReadLine(&held, base::AsText(record->payload)))
    took = Took::kLost;
  if (record->encoding == hal::RecordEncoding::kFloats && !ReadFloats(&held, record->payload))
    took = Took::kLost;
  if (took == Took::kLost) ++totals_.unreadable;
  if (took != Took::kValues) return took;
  const int64_t said_ns = TimeOf(held.next[held.part.columns.size() + 1]);
  if (held.seen && said_ns != 0 && said_ns < TimeOf(held.time())) {
    ++totals_.late;
    return Took::kLost;
  }
  if (held.fresh) ++totals_.superseded;
  std::swap(held.now, held.next);
  held.seen = held.fresh = true;
  held.polled_ns = clock_.MonotonicNs();
  held.time_ns = record->time_ns;
  held.origin = record->origin;
  held.from_network = record->from_network;
  held.wants_prediction = record->wants_prediction;
  return Took::kValues;
}

bool Join::IsStale(const Held& held, int64_t now_ns) const {
  return !held.seen || (held.part.max_age_ns > 0 && now_ns - held.polled_ns > held.part.max_age_ns);
}

bool Join::AllFresh(int64_t now_ns) const {
  bool any = false;
  for (const Held& held : parts_) {
    if (!held.fresh && !IsStale(held, now_ns) && !held.ended) return false;
    any = any || held.fresh;
  }
  return any;
}

/// The sample as it is now, as a record of the part that gave the tick.
Status Join::Emit(const Held& tick, hal::Record* record, int64_t now_ns) {
  *record = hal::Record{};
  record->encoding = hal::RecordEncoding::kJson;
  record->time_ns = tick.time_ns;
  record->origin = tick.origin;
  record->wants_prediction = tick.wants_prediction;
  record->columns_known = true;
  telemetry::JsonWriter json(text_);
  json.OpenObject();
  // A column of that name says it itself.
  if (!has_id_) PutPicked(json, "id", tick.id());
  if (!has_time_) PutPicked(json, "time", tick.time());
  bool missing = false;
  for (Held& held : parts_) {
    held.fresh = false;
    if (IsStale(held, now_ns)) {
      ++totals_.stale;
      missing = true;
      continue;
    }
    record->from_network = record->from_network || held.from_network;
    for (size_t c = 0; c < held.part.columns.size(); ++c)
      PutPicked(json, names_[held.first_column + c], held.now[c]);
  }
  json.CloseObject();
  record->sequence = next_sequence_++;
  if (json.overflow()) ++totals_.unreadable;
  if (missing && config_.skip_missing) ++totals_.skipped;
  if (json.overflow() || (missing && config_.skip_missing)) return Status::kDataLoss;
  record->payload = base::AsBytes(json.view());
  return Status::kOk;
}

Status Join::Poll(hal::Record* record) {
  more_ = true;
  bool lost = false, busy = false, all_ended = true;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const bool tick = !config_.slowest && i == config_.primary;
    for (int n = 0; !tick && n < kRecordsOfASource; ++n) {
      const Took took = TakeRecord(i, record);
      if (took == Took::kLabel) return Status::kOk;
      if (took == Took::kNothing) break;
      lost = lost || took == Took::kLost;
      busy = busy || n + 1 == kRecordsOfASource;
    }
    all_ended = all_ended && parts_[i].ended;
  }
  if (config_.slowest) {
    const int64_t now_ns = clock_.MonotonicNs();
    if (AllFresh(now_ns)) return Emit(parts_[config_.primary], record, now_ns);
    if (all_ended) return Status::kOutOfRange;
  } else {
    const Took took = TakeRecord(config_.primary, record);
    if (took == Took::kLabel) return Status::kOk;
    if (took == Took::kValues) return Emit(parts_[config_.primary], record, clock_.MonotonicNs());
    if (took == Took::kLost) return Status::kDataLoss;  // its next record may be there already
    if (parts_[config_.primary].ended) return Status::kOutOfRange;
  }
  more_ = busy;
  return lost ? Status::kDataLoss : Status::kNotFound;
}

int64_t Join::NextDueNs() {
  if (more_) return 1;
  int64_t due_ns = 0;
  for (const Held& held : parts_) {
    const int64_t next = held.ended ? 0 : held.part.source->NextDueNs();
    if (next != 0 && (due_ns == 0 || next < due_ns)) due_ns = next;
  }
  return due_ns;
}

void Join::Answer(uint32_t origin, std::string_view line) {
  const size_t index = origin >> kOriginBits;
  if (index < parts_.size()) parts_[index].part.source->Answer(origin & kOriginMask, line);
}

hal::SourceTotals Join::totals() const {
  hal::SourceTotals sum = totals_;
  for (const Held& held : parts_) sum += held.part.source->totals();
  return sum;
}

std::string_view Join::trouble() const {
  std::string_view first = parts_[config_.primary].part.source->trouble();
  for (const Held& held : parts_) {
    if (first.empty()) first = held.part.source->trouble();
  }
  return first;
}

}  // namespace dipper::runtime
