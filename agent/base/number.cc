// Number parsing and printing over <charconv>.
#include "agent/base/number.h"

#include <charconv>
#include <cmath>

namespace dipper::base {
namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

template <typename T, typename... Args>
Result<T> ParseWhole(std::string_view text, Args... args) {
  text = Trim(text);
  // from_chars takes no plus sign, which spreadsheets write; "+-1" stays an error.
  if (text.size() > 1 && text[0] == '+' && text[1] != '-' && text[1] != '+') text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, args...);
  if (error == std::errc::result_out_of_range) return Status::kOutOfRange;
  if (error != std::errc{} || end != text.data() + text.size()) return Status::kInvalidArgument;
  return value;
}

template <typename T>
NumberText Format(T value) {
  NumberText out;
  const auto [end, error] = std::to_chars(out.text.data(), out.text.data() + out.text.size(), value);
  DIPPER_CHECK(error == std::errc{});
  out.length = static_cast<uint32_t>(end - out.text.data());
  return out;
}

}  // namespace

Result<double> ParseDouble(std::string_view text) { return ParseWhole<double>(text); }

Result<uint64_t> ParseUint(std::string_view text) { return ParseWhole<uint64_t>(text, 10); }

Result<uint64_t> ParseByteCount(std::string_view text) {
  text = Trim(text);
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  DIPPER_ASSIGN_OR_RETURN(const uint64_t count, ParseUint(text.substr(0, digits)));
  const std::string_view unit = Trim(text.substr(digits));
  struct Unit {
    std::string_view name;
    uint64_t bytes;
  };
  static constexpr Unit kUnits[] = {{"", 1},       {"B", 1},           {"kB", 1000},      {"MB", 1000000},
                                    {"KiB", 1024}, {"MiB", 1U << 20U}, {"GiB", 1U << 30U}};
  for (const Unit& known : kUnits) {
    if (unit == known.name) {
      if (count > UINT64_MAX / known.bytes) return Status::kOutOfRange;
      return count * known.bytes;
    }
  }
  return Status::kInvalidArgument;
}

NumberText FormatJsonNumber(double value) {
  if (!std::isfinite(value)) {
    NumberText out;
    out.text = {'n', 'u', 'l', 'l'};
    out.length = 4;
    return out;
  }
  return Format(value);
}

NumberText FormatUint(uint64_t value) { return Format(value); }
NumberText FormatInt(int64_t value) { return Format(value); }

}  // namespace dipper::base
