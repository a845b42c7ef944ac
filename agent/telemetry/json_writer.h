// JsonWriter: one JSON value into a fixed buffer. Too little room is remembered, never written past. Not
// thread-safe. No heap.
#pragma once

#include <cstdint>
#include <string_view>

#include "agent/base/bytes.h"
#include "agent/base/number.h"

namespace dipper::telemetry {

class JsonWriter {
 public:
  explicit JsonWriter(base::MutableBytes out) : out_(out) {}

  void OpenObject() { Open('{'); }
  void CloseObject() { Close('}'); }
  void OpenArray() { Open('['); }
  void CloseArray() { Close(']'); }

  /// Name of the next member; `prefix` and '.' go before it when not empty.
  void Key(std::string_view name, std::string_view prefix = {});
  void Text(std::string_view value);  ///< Escaped; bytes that are not UTF-8 become '?'.
  /// The wire does not keep the sign of zero, so neither does the mirror.
  void Number(double value) { Raw(base::FormatJsonNumber(value == 0 ? 0.0 : value).view()); }
  void Float(float value);  ///< The shortest digits that give this float again.
  void Uint(uint64_t value) { Raw(base::FormatUint(value).view()); }
  void Int(int64_t value) { Raw(base::FormatInt(value).view()); }
  void Bool(bool value) { Raw(value ? "true" : "false"); }
  void Hex64(uint64_t value);

  bool overflow() const { return overflow_; }
  std::string_view view() const { return base::AsText(out_.first(size_)); }

 private:
  void Open(char bracket);
  void Close(char bracket);
  void Raw(std::string_view text);
  void Separate();
  void Put(char c);
  void Put(std::string_view text);
  void PutEscaped(std::string_view text);

  base::MutableBytes out_;
  size_t size_ = 0;
  bool first_ = true;  // nothing yet in the innermost bracket
  bool after_key_ = false;
  bool overflow_ = false;
};

}  // namespace dipper::telemetry
