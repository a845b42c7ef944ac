// JSON records: nlohmann's SAX parser walks the text once, a tree of places says what is read.
#include "agent/stream/json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "agent/base/number.h"
#include "agent/stream/json_sax.h"

namespace dipper::stream {
namespace {

using base::Status;

constexpr uint16_t kSampleRoot = 0;
constexpr uint16_t kLabelRoot = 1;
/// Up to here every whole double is one whole number.
constexpr double kExactDouble = 9007199254740992.0;

int64_t NanosecondsOf(TimeUnit unit) {
  switch (unit) {
    case TimeUnit::kSeconds:
      return 1'000'000'000;
    case TimeUnit::kMilliseconds:
      return 1'000'000;
    case TimeUnit::kMicroseconds:
      return 1'000;
    case TimeUnit::kNanoseconds:
      break;
  }
  return 1;
}

/// Whether a name of a pointer, ~0 and ~1 not yet undone, means `name`.
bool UnescapedEquals(std::string_view escaped, std::string_view name) {
  size_t at = 0;
  for (size_t i = 0; i < escaped.size(); ++i, ++at) {
    char c = escaped[i];
    if (c == '~') c = escaped[++i] == '0' ? '~' : '/';
    if (at >= name.size() || name[at] != c) return false;
  }
  return at == name.size();
}

/// One value of any kind, as the parser gives it.
struct Scalar {
  enum class Kind : uint8_t { kNull, kBoolean, kWhole, kNumber, kText, kBracket } kind = Kind::kNull;
  bool flag = false;
  bool negative = false;  ///< kWhole
  uint64_t whole = 0;     ///< kWhole: bits of an int64_t when negative
  double number = 0;      ///< kWhole, kNumber
  std::string_view text{};
};

}  // namespace

/// What the parser calls. Every function says whether to go on.
class JsonHandler : public SaxBrackets<JsonHandler> {
 public:
  enum class Failure : uint8_t { kNone, kTooDeep, kDuplicate, kBadId };

  JsonHandler(JsonDecoder& decoder, uint16_t root) : d_(decoder), root_(root) {}
  Failure failure() const { return failure_; }

  bool null() { return Value({}); }
  bool boolean(bool value) { return Value({.kind = Scalar::Kind::kBoolean, .flag = value}); }
  bool number_integer(int64_t value) {
    return Value({.kind = Scalar::Kind::kWhole,
                  .negative = value < 0,
                  .whole = static_cast<uint64_t>(value),
                  .number = static_cast<double>(value)});
  }
  bool number_unsigned(uint64_t value) {
    return Value({.kind = Scalar::Kind::kWhole, .whole = value, .number = static_cast<double>(value)});
  }
  bool number_float(double, const std::string& text) {
    // The text again, by the one function that reads numbers everywhere: nothing depends on the locale. Below
    // the smallest double it is no number to that function, so it stays a text, as in CSV.
    const base::Result<double> number = base::ParseDouble(text);
    return number.ok() ? Value({.kind = Scalar::Kind::kNumber, .number = *number})
                       : Value({.kind = Scalar::Kind::kText, .text = text});
  }
  bool string(const std::string& value) { return Value({.kind = Scalar::Kind::kText, .text = value}); }
  bool key(const std::string& name) {
    Level& level = levels_[depth_ - 1];
    pending_ = level.place == JsonDecoder::kNoPlace ? JsonDecoder::kNoPlace : d_.FindChild(level.place, name);
    if (level.place != JsonDecoder::kNoPlace && pending_ == JsonDecoder::kNoPlace) ++d_.extra_members_;
    return true;
  }

 private:
  friend SaxBrackets<JsonHandler>;

  struct Level {
    uint16_t place = JsonDecoder::kNoPlace;
    bool array = false;
    uint64_t next_index = 0;
  };

  bool Fail(Failure failure) {
    failure_ = failure;
    return false;
  }

  /// The place of the value that begins here.
  uint16_t Here() {
    if (depth_ == 0) return root_;
    Level& level = levels_[depth_ - 1];
    if (!level.array) return pending_;
    const uint64_t index = level.next_index++;
    return level.place == JsonDecoder::kNoPlace ? level.place
                                                : d_.FindChild(level.place, base::FormatUint(index).view());
  }

  bool Open(bool array) {
    const uint16_t place = Here();
    if (depth_ == kMaxJsonDepth) return Fail(Failure::kTooDeep);
    if (depth_ == 0 && array) return false;  // a record is an object
    if (depth_ > 0 && !Put(place, {.kind = Scalar::Kind::kBracket})) return false;
    levels_[depth_++] = {place, array, 0};
    return true;
  }
  bool Close() {
    --depth_;
    return true;
  }
  bool Value(const Scalar& value) {
    if (depth_ == 0) return false;  // a record is an object
    return Put(Here(), value);
  }

  bool Put(uint16_t place, const Scalar& value) {
    const uint16_t role = place == JsonDecoder::kNoPlace ? JsonDecoder::kNoRole : d_.places_[place].role;
    if (role == JsonDecoder::kNoRole) return true;
    if (!FirstTime(role)) return Fail(Failure::kDuplicate);
    switch (role) {
      case JsonDecoder::kIdRole:
        return PutId(value) || Fail(Failure::kBadId);
      case JsonDecoder::kTimeRole:
        PutTime(value);
        break;
      case JsonDecoder::kWeightRole:
        PutWeight(value);
        break;
      case JsonDecoder::kLabelRole:
        d_.sample_.label = LabelOf(value);
        break;
      case JsonDecoder::kTruthRole:
        d_.sample_.truth = LabelOf(value);
        break;
      default:
        d_.row_[role] = FeatureOf(role, value);
        break;
    }
    return true;
  }

  bool FirstTime(uint16_t role) {
    if (role < d_.seen_.size()) {
      const bool first = !d_.seen_[role];
      d_.seen_[role] = true;
      return first;
    }
    const uint32_t bit = 1U << (JsonDecoder::kNoRole - role);
    const bool first = (d_.seen_roles_ & bit) == 0;
    d_.seen_roles_ |= bit;
    return first;
  }

  bool PutId(const Scalar& value) {
    base::Result<uint64_t> id = Status::kInvalidArgument;
    if (value.kind == Scalar::Kind::kNull) return true;
    if (value.kind == Scalar::Kind::kWhole && !value.negative) id = value.whole;
    if (value.kind == Scalar::Kind::kText) id = base::ParseUint(value.text);
    if (value.kind == Scalar::Kind::kNumber && value.number >= 0 && value.number <= kExactDouble &&
        std::trunc(value.number) == value.number) {
      id = static_cast<uint64_t>(value.number);
    }
    if (!id.ok()) return false;
    d_.sample_.has_id = true;
    d_.sample_.id = *id;
    return true;
  }

  void PutTime(const Scalar& value) {
    if (value.kind == Scalar::Kind::kNull) return;
    const int64_t unit = NanosecondsOf(d_.time_unit_);
    bool good = false;
    if (value.kind == Scalar::Kind::kWhole) {
      const auto whole = static_cast<int64_t>(value.whole);
      good = value.negative == (whole < 0) && !__builtin_mul_overflow(whole, unit, &d_.sample_.time_ns);
    } else if (base::Result<double> number = NumberOf(value); number.ok()) {
      constexpr double kMost = 9.2e18;  // inside int64_t
      const double time = std::floor(*number * static_cast<double>(unit) + 0.5);
      good = time >= -kMost && time <= kMost;
      if (good) d_.sample_.time_ns = static_cast<int64_t>(time);
    }
    if (!good) d_.sample_.time_ns = 0;
    d_.sample_.has_time = good;
    d_.bad_time_ = !good;
  }

  void PutWeight(const Scalar& value) {
    if (value.kind == Scalar::Kind::kNull) return;
    const base::Result<double> weight = NumberOf(value);
    d_.bad_weight_ = !weight.ok() || !std::isfinite(*weight) || *weight < 0;
    if (!d_.bad_weight_) d_.weight_ = *weight;
  }

  /// kInvalidArgument: neither a number nor a text that is one.
  static base::Result<double> NumberOf(const Scalar& value) {
    if (value.kind == Scalar::Kind::kText) return base::ParseDouble(value.text);
    if (value.kind == Scalar::Kind::kWhole || value.kind == Scalar::Kind::kNumber) return value.number;
    return Status::kInvalidArgument;
  }

  /// A whole number as it is written, so that ids beyond 2^53 used as classes keep their digits.
  static base::NumberText TextOf(const Scalar& value) {
    if (value.kind != Scalar::Kind::kWhole) return base::FormatJsonNumber(value.number);
    return value.negative ? base::FormatInt(static_cast<int64_t>(value.whole))
                          : base::FormatUint(value.whole);
  }

  Label LabelOf(const Scalar& value) const {
    const CellReader& reader = d_.reader_;
    switch (value.kind) {
      case Scalar::Kind::kNull:
        return {};
      case Scalar::Kind::kText:
        return reader.ReadLabel(value.text);
      case Scalar::Kind::kWhole:
      case Scalar::Kind::kNumber:
        return reader.ReadLabel(TextOf(value).view());
      case Scalar::Kind::kBoolean: {
        const Label word = reader.ReadLabel(value.flag ? "true" : "false");
        const Label number = reader.ReadLabel(value.flag ? "1" : "0");
        const bool listed = word.state == LabelState::kPresent && !word.is_other;
        return listed || number.state != LabelState::kPresent ? word : number;
      }
      case Scalar::Kind::kBracket:
        break;
    }
    return {.state = LabelState::kUnknown};
  }

  float FeatureOf(uint16_t feature, const Scalar& value) {
    const CellReader& reader = d_.reader_;
    JsonSample* const sample = &d_.sample_;
    switch (value.kind) {
      case Scalar::Kind::kNull:
        ++sample->missing_cells;
        return MissingValue();
      case Scalar::Kind::kText:
        return reader.ReadText(feature, value.text, sample);
      case Scalar::Kind::kWhole:
      case Scalar::Kind::kNumber:
        return reader.ReadNumber(feature, value.number, sample);
      case Scalar::Kind::kBoolean:
        return reader.spec().features()->Get(feature)->type() == schema::FeatureType::Categorical
                   ? reader.ReadText(feature, value.flag ? "true" : "false", sample)
                   : reader.ReadNumber(feature, value.flag ? 1 : 0, sample);
      case Scalar::Kind::kBracket:
        break;
    }
    ++sample->bad_cells;
    return MissingValue();
  }

  JsonDecoder& d_;
  uint16_t root_;
  uint16_t pending_ = JsonDecoder::kNoPlace;
  uint32_t depth_ = 0;
  std::array<Level, kMaxJsonDepth> levels_{};
  Failure failure_ = Failure::kNone;
};

JsonDecoder::JsonDecoder(const schema::Spec& spec) : reader_(spec) {}

Status JsonDecoder::SetRole(uint16_t place, uint16_t role) {
  if (places_[place].role != kNoRole) return Status::kInvalidArgument;
  places_[place].role = role;
  return Status::kOk;
}

Status JsonDecoder::AddName(uint16_t* place, std::string_view name, bool escaped) {
  uint16_t last = kNoPlace;
  for (uint16_t child = places_[*place].first_child; child != kNoPlace; child = places_[child].next) {
    const Place& other = places_[child];
    // One spelling a name: `~` is only ever written as ~0, so equal texts are equal names, but "a" by name
    // and
    // "/a" by pointer are one place as well.
    const bool same = other.escaped == escaped ? other.name == name
                      : escaped                ? UnescapedEquals(name, other.name)
                                               : UnescapedEquals(other.name, name);
    if (same) {
      *place = child;
      return Status::kOk;
    }
    last = child;
  }
  if (places_.size() >= kMaxJsonPlaces) return Status::kResourceExhausted;
  const auto added = static_cast<uint16_t>(places_.size());
  places_.push_back({.name = name, .escaped = escaped});
  (last == kNoPlace ? places_[*place].first_child : places_[last].next) = added;
  *place = added;
  return Status::kOk;
}

Status JsonDecoder::BindName(uint16_t root, std::string_view name, uint16_t role) {
  uint16_t place = root;
  DIPPER_RETURN_IF_ERROR(AddName(&place, name, false));
  return SetRole(place, role);
}

Status JsonDecoder::BindText(uint16_t root, std::string_view where, uint16_t role) {
  if (where.empty()) return Status::kOk;
  if (where[0] != '/') return BindName(root, where, role);
  uint16_t place = root;
  for (uint32_t depth = 0; !where.empty(); ++depth) {
    if (depth == kMaxJsonDepth) return Status::kResourceExhausted;
    where.remove_prefix(1);
    const std::string_view name = where.substr(0, where.find('/'));
    where.remove_prefix(name.size());
    for (size_t at = name.find('~'); at != std::string_view::npos; at = name.find('~', at + 1)) {
      if (at + 1 == name.size() || (name[at + 1] != '0' && name[at + 1] != '1')) {
        return Status::kInvalidArgument;
      }
    }
    DIPPER_RETURN_IF_ERROR(AddName(&place, name, name.find('~') != std::string_view::npos));
  }
  return SetRole(place, role);
}

Status JsonDecoder::BindAll(const JsonPlaces& places) {
  for (uint32_t f = 0; f < feature_count(); ++f) {
    const auto role = static_cast<uint16_t>(f);
    const bool named = f < places.features.size() && !places.features[f].empty();
    DIPPER_RETURN_IF_ERROR(named ? BindText(kSampleRoot, places.features[f], role)
                                 : BindName(kSampleRoot, reader_.FeatureName(f), role));
  }
  const flatbuffers::String* target = reader_.spec().target()->name();
  if (!places.label.empty()) {
    DIPPER_RETURN_IF_ERROR(BindText(kSampleRoot, places.label, kLabelRole));
  } else if (target != nullptr && target->size() > 0) {
    DIPPER_RETURN_IF_ERROR(BindName(kSampleRoot, {target->c_str(), target->size()}, kLabelRole));
  }
  DIPPER_RETURN_IF_ERROR(BindText(kSampleRoot, places.truth, kTruthRole));
  DIPPER_RETURN_IF_ERROR(BindText(kSampleRoot, places.id, kIdRole));
  DIPPER_RETURN_IF_ERROR(BindText(kSampleRoot, places.time, kTimeRole));
  DIPPER_RETURN_IF_ERROR(BindText(kLabelRoot, places.id, kIdRole));
  DIPPER_RETURN_IF_ERROR(BindText(kLabelRoot, places.late_label, kLabelRole));
  return BindText(kLabelRoot, places.weight, kWeightRole);
}

Status JsonDecoder::Bind(const JsonPlaces& places) {
  bound_ = false;
  if (places.features.size() > feature_count() || feature_count() >= kWeightRole) {
    return Status::kInvalidArgument;
  }
  places_.assign(2, Place{});
  row_.assign(feature_count(), MissingValue());
  seen_.assign(feature_count(), false);
  time_unit_ = places.time_unit;
  DIPPER_RETURN_IF_ERROR(BindAll(places));
  bound_ = true;
  return Status::kOk;
}

uint16_t JsonDecoder::FindChild(uint16_t place, std::string_view name) {
  const uint16_t first = places_[place].first_child;
  if (first == kNoPlace) return kNoPlace;
  // Records of one sender have their members in one order, so the next name is mostly the next place.
  const uint16_t last = places_[place].last_child;
  const uint16_t begin = last == kNoPlace || places_[last].next == kNoPlace ? first : places_[last].next;
  uint16_t child = begin;
  do {
    const Place& candidate = places_[child];
    if (candidate.escaped ? UnescapedEquals(candidate.name, name) : candidate.name == name) {
      places_[place].last_child = child;
      return child;
    }
    child = candidate.next == kNoPlace ? first : candidate.next;
  } while (child != begin);
  return kNoPlace;
}

Status JsonDecoder::Parse(std::string_view text, uint16_t root) {
  if (!bound_) return Status::kFailedPrecondition;
  sample_ = {};
  seen_.assign(seen_.size(), false);
  seen_roles_ = 0;
  weight_ = 1;
  extra_members_ = 0;
  bad_time_ = bad_weight_ = false;
  for (float& value : row_) value = MissingValue();
  if (text.size() > kMaxLineBytes) {
    ++counters_.malformed;
    return Status::kResourceExhausted;
  }
  JsonHandler handler(*this, root);
  // The parser takes a NUL for the end of the text; in a record it is a fault like any other.
  const bool parsed = text.find('\0') == std::string_view::npos &&
                      nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
  if (parsed) return Status::kOk;
  switch (handler.failure()) {
    case JsonHandler::Failure::kDuplicate:
      ++counters_.duplicates;
      return Status::kInvalidArgument;
    case JsonHandler::Failure::kBadId:
      ++counters_.bad_ids;
      return Status::kInvalidArgument;
    case JsonHandler::Failure::kTooDeep:
      ++counters_.malformed;
      return Status::kResourceExhausted;
    case JsonHandler::Failure::kNone:
      break;
  }
  ++counters_.malformed;
  return Status::kInvalidArgument;
}

Status JsonDecoder::DecodeSample(std::string_view text, std::span<float> values, JsonSample* sample) {
  DIPPER_CHECK(values.size() == feature_count());
  DIPPER_RETURN_IF_ERROR(Parse(text, kSampleRoot));
  FinishSample(values, sample);
  return Status::kOk;
}

void JsonDecoder::FinishSample(std::span<float> values, JsonSample* sample) {
  for (const bool seen : seen_) sample_.missing_cells += seen ? 0U : 1U;
  ++counters_.records;
  counters_.missing_cells += sample_.missing_cells;
  counters_.bad_cells += sample_.bad_cells;
  counters_.unseen_cells += sample_.unseen_cells;
  counters_.extra_members += extra_members_;
  counters_.bad_times += bad_time_ ? 1U : 0U;
  counters_.unknown_labels += sample_.label.state == LabelState::kUnknown ? 1U : 0U;
  counters_.other_labels += sample_.label.is_other ? 1U : 0U;
  std::copy(row_.begin(), row_.end(), values.begin());
  *sample = sample_;
}

bool JsonDecoder::SawFeature() const { return std::find(seen_.begin(), seen_.end(), true) != seen_.end(); }

Status JsonDecoder::DecodeLabel(std::string_view text, JsonLabel* label) {
  DIPPER_RETURN_IF_ERROR(Parse(text, kLabelRoot));
  return FinishLabel(label);
}

Status JsonDecoder::FinishLabel(JsonLabel* label) {
  if (!sample_.has_id) {
    ++counters_.bad_ids;
    return Status::kInvalidArgument;
  }
  if (sample_.label.state == LabelState::kAbsent || bad_weight_) {
    ++counters_.bad_labels;
    return Status::kInvalidArgument;
  }
  ++counters_.labels;
  counters_.extra_members += extra_members_;
  counters_.unknown_labels += sample_.label.state == LabelState::kUnknown ? 1U : 0U;
  counters_.other_labels += sample_.label.is_other ? 1U : 0U;
  *label = {sample_.id, sample_.label, weight_};
  return Status::kOk;
}

Status JsonDecoder::Decode(std::string_view text, bool partial, std::span<float> values, JsonRecord* record) {
  DIPPER_CHECK(values.size() == feature_count());
  record->is_label = record->has_id = false;
  DIPPER_RETURN_IF_ERROR(Parse(text, kSampleRoot));
  record->has_id = sample_.has_id;
  record->id = sample_.id;
  const bool any = !std::all_of(row_.begin(), row_.end(), [](float value) { return std::isnan(value); });
  if (any || sample_.bad_cells > 0) {
    FinishSample(values, &record->sample);
    return Status::kOk;
  }
  // Not one value: what it is follows from the members that it has.
  const bool blank = partial || SawFeature();
  const bool own_label = Saw(kLabelRole);
  const JsonCounters before = counters_;
  const Status parsed = Parse(text, kLabelRoot);
  if (!Ok(parsed)) {
    if (!blank) return parsed;
    counters_ = before;  // of a sample nobody asked for that member
    return DecodeSample(text, values, &record->sample);
  }
  const bool good = sample_.has_id && sample_.label.state != LabelState::kAbsent && !bad_weight_;
  record->is_label = good || (!blank && (own_label || Saw(kLabelRole)));
  if (record->is_label) return FinishLabel(&record->label);
  if (blank) return DecodeSample(text, values, &record->sample);
  ++counters_.no_features;
  return Status::kNotFound;
}

}  // namespace dipper::stream
