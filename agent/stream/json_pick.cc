// One walk of nlohmann's SAX parser; each place knows how far the way from the outside agrees with it.
#include "agent/stream/json_pick.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "agent/base/number.h"
#include "agent/base/text.h"
#include "agent/stream/csv.h"
#include "agent/stream/json.h"
#include "agent/stream/json_sax.h"

namespace dipper::stream {

using base::Status;

namespace {

/// The name with ~1 and ~0 undone. False: a '~' that is neither.
bool Unescape(std::string_view escaped, std::string* name) {
  for (size_t i = 0; i < escaped.size(); ++i) {
    char c = escaped[i];
    if (c == '~') {
      if (++i == escaped.size() || (escaped[i] != '0' && escaped[i] != '1')) return false;
      c = escaped[i] == '0' ? '~' : '/';
    }
    *name += c;
  }
  return true;
}

Picked PickedText(std::string_view text) {
  Picked picked;
  if (Ok(picked.text.Assign(text))) picked.kind = Picked::Kind::kText;
  return picked;
}

Picked PickedNumber(double number) {
  Picked picked{.kind = std::isfinite(number) ? Picked::Kind::kNumber : Picked::Kind::kAbsent};
  picked.number = number;
  return picked;
}

}  // namespace

class PickHandler : public SaxBrackets<PickHandler> {
 public:
  PickHandler(JsonPick& pick, std::span<Picked> picked) : d_(pick), picked_(picked) {}
  bool found() const { return found_; }
  bool too_deep() const { return too_deep_; }

  bool null() { return Put({}); }
  bool boolean(bool value) { return Put({.kind = value ? Picked::Kind::kTrue : Picked::Kind::kFalse}); }
  bool number_integer(int64_t value) { return Put(PickedNumber(static_cast<double>(value))); }
  bool number_unsigned(uint64_t value) {
    Picked picked{.kind = Picked::Kind::kWhole};
    picked.number = static_cast<double>(value);
    picked.whole = value;
    return Put(picked);
  }
  bool number_float(double, const std::string& text) {
    // By the one function that reads numbers everywhere: nothing depends on the locale.
    const base::Result<double> number = base::ParseDouble(text);
    return Put(number.ok() ? PickedNumber(*number) : Picked{});
  }
  bool string(const std::string& value) { return Put(PickedText(value)); }
  bool key(const std::string& name) {
    Name(name);
    return true;
  }

 private:
  friend SaxBrackets<PickHandler>;

  /// The way now ends with `name`, inside `depth_` brackets.
  void Name(std::string_view name) {
    const auto above = static_cast<uint8_t>(depth_ - 1);
    for (size_t i = 0; i < d_.places_.size(); ++i) {
      uint8_t& matched = d_.matched_[i];
      matched = std::min(matched, above);
      const JsonPick::Names& names = d_.places_[i];
      if (matched == above && names.size() > above && names[above] == name) ++matched;
    }
  }

  /// Inside a list every value has a number for a name.
  void Index() {
    if (depth_ > 0 && is_array_[depth_ - 1]) Name(base::FormatUint(next_index_[depth_ - 1]++).view());
  }

  bool Open(bool array) {
    Index();
    if (!Assign({})) return false;
    if (depth_ == kMaxJsonDepth) {
      too_deep_ = true;
      return false;
    }
    is_array_[depth_] = array;
    next_index_[depth_++] = 0;
    return true;
  }
  bool Close() {
    --depth_;
    return true;
  }
  bool Put(const Picked& value) {
    Index();
    return Assign(value);
  }
  bool Assign(const Picked& value) {
    for (size_t i = 0; i < d_.places_.size(); ++i) {
      if (d_.places_[i].size() != depth_ || d_.matched_[i] != depth_) continue;
      if (d_.seen_[i]) return false;
      d_.seen_[i] = true;
      picked_[i] = value;
      found_ = found_ || value.kind != Picked::Kind::kAbsent;
    }
    return true;
  }

  JsonPick& d_;
  std::span<Picked> picked_;
  uint32_t depth_ = 0;
  std::array<bool, kMaxJsonDepth> is_array_{};
  std::array<uint64_t, kMaxJsonDepth> next_index_{};
  bool found_ = false;
  bool too_deep_ = false;
};

Status JsonPick::Bind(std::span<const std::string_view> places) {
  places_.clear();
  any_whole_ = false;
  only_whole_ = true;
  if (places.size() > kMaxPicks) return Status::kResourceExhausted;
  std::vector<Names> bound;
  for (std::string_view place : places) {
    Names& names = bound.emplace_back();
    any_whole_ = any_whole_ || place.empty();
    only_whole_ = only_whole_ && place.empty();
    if (!place.empty() && place[0] != '/') {
      names.emplace_back(place);
      continue;
    }
    while (!place.empty()) {
      if (names.size() == kMaxJsonDepth) return Status::kResourceExhausted;
      place.remove_prefix(1);
      const std::string_view escaped = place.substr(0, place.find('/'));
      place.remove_prefix(escaped.size());
      if (!Unescape(escaped, &names.emplace_back())) return Status::kInvalidArgument;
    }
  }
  places_ = std::move(bound);
  return Status::kOk;
}

Status JsonPick::PickPlain(std::string_view text, std::span<Picked> picked) const {
  const std::string_view word = TrimBlanks(WithoutLineEnd(text));
  const bool printable =
      std::all_of(word.begin(), word.end(), [](char c) { return static_cast<uint8_t>(c) >= 0x20; });
  const Picked whole = printable ? PickedText(word) : Picked{};
  if (whole.kind == Picked::Kind::kAbsent || word.empty()) return Status::kInvalidArgument;
  for (size_t i = 0; i < places_.size(); ++i) picked[i] = whole;
  return Status::kOk;
}

Status JsonPick::Pick(std::string_view text, std::span<Picked> picked) {
  DIPPER_CHECK(picked.size() == places_.size());
  std::fill(picked.begin(), picked.end(), Picked{});
  if (text.size() > kMaxLineBytes) return Status::kResourceExhausted;
  matched_.fill(0);
  seen_.fill(false);
  PickHandler handler(*this, picked);
  text = base::WithoutByteOrderMark(text);
  // The parser takes a NUL for the end of the text.
  const bool parsed = text.find('\0') == std::string_view::npos &&
                      nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
  if (parsed) return handler.found() ? Status::kOk : Status::kNotFound;
  std::fill(picked.begin(), picked.end(), Picked{});
  if (handler.too_deep()) return Status::kResourceExhausted;
  return only_whole_ && any_whole_ ? PickPlain(text, picked) : Status::kInvalidArgument;
}

}  // namespace dipper::stream
