// JSON text (RFC 8259) and the words of the enums.
#include "agent/telemetry/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>

#include "agent/telemetry/encoders.h"

namespace dipper::telemetry {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

// Length of the well-formed UTF-8 sequence at the start of `text`, 0 when there is none (RFC 3629, table in
// section 4).
size_t SequenceLength(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : (lead >> 4) == 0xE           ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  if ((lead == 0xE0 && at(1) < 0xA0) || (lead == 0xED && at(1) > 0x9F)) return 0;
  if ((lead == 0xF0 && at(1) < 0x90) || (lead == 0xF4 && at(1) > 0x8F)) return 0;
  return length;
}

// "FellBack" -> "fell_back". A number the schema does not name prints as "unknown_<number>".
Word ToWord(const char* name, uint64_t number) {
  std::array<char, 32> text{};
  size_t size = 0;
  const auto add = [&](char c) {
    if (size < text.size()) text[size++] = c;
  };
  if (name[0] == '\0') {
    for (char c : std::string_view("unknown_")) add(c);
    const base::NumberText digits = base::FormatUint(number);
    for (char c : digits.view()) add(c);
  }
  for (const char* c = name; *c != '\0'; ++c) {
    const bool upper = *c >= 'A' && *c <= 'Z';
    if (upper && c != name) add('_');
    add(upper ? static_cast<char>(*c - 'A' + 'a') : *c);
  }
  Word word;
  word.text.AssignTruncated({text.data(), size});
  return word;
}

}  // namespace

void JsonWriter::Put(char c) {
  if (size_ == out_.size()) {
    overflow_ = true;
    return;
  }
  out_[size_++] = static_cast<uint8_t>(c);
}

void JsonWriter::Put(std::string_view text) {
  for (char c : text) Put(c);
}

void JsonWriter::Separate() {
  if (!first_ && !after_key_) Put(',');
  first_ = false;
  after_key_ = false;
}

void JsonWriter::Open(char bracket) {
  Separate();
  Put(bracket);
  first_ = true;
}

void JsonWriter::Close(char bracket) {
  Put(bracket);
  first_ = false;
}

void JsonWriter::Raw(std::string_view text) {
  Separate();
  Put(text);
}

void JsonWriter::PutEscaped(std::string_view text) {
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    const char c = text[0];
    if (length == 0) {
      Put('?');
    } else if (c == '"' || c == '\\') {
      Put('\\');
      Put(c);
    } else if (length == 1 && static_cast<uint8_t>(c) < 0x20) {
      Put("\\u00");
      Put(kHexDigits[static_cast<uint8_t>(c) >> 4]);
      Put(kHexDigits[static_cast<uint8_t>(c) & 15]);
    } else {
      Put(text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
}

void JsonWriter::Key(std::string_view name, std::string_view prefix) {
  Separate();
  Put('"');
  if (!prefix.empty()) {
    PutEscaped(prefix);
    Put('.');
  }
  PutEscaped(name);
  Put("\":");
  after_key_ = true;
}

void JsonWriter::Text(std::string_view value) {
  Separate();
  Put('"');
  PutEscaped(value);
  Put('"');
}

void JsonWriter::Float(float value) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value == 0 ? 0.0F : value);
  Raw(std::isfinite(value) ? std::string_view(digits.data(), end.ptr) : std::string_view("null"));
}

void JsonWriter::Hex64(uint64_t value) {
  Separate();
  Put('"');
  for (int shift = 60; shift >= 0; shift -= 4) Put(kHexDigits[(value >> shift) & 15]);
  Put('"');
}

Word WordOf(schema::EventKind kind) {
  return ToWord(schema::EnumNameEventKind(kind), static_cast<uint64_t>(kind));
}
Word WordOf(schema::UpdateState state) {
  return ToWord(schema::EnumNameUpdateState(state), static_cast<uint64_t>(state));
}
Word WordOf(schema::Reason reason) {
  return ToWord(schema::EnumNameReason(reason), static_cast<uint64_t>(reason));
}
Word WordOf(schema::Severity severity) {
  return ToWord(schema::EnumNameSeverity(severity), static_cast<uint64_t>(severity));
}
Word WordOf(schema::CommandStatus status) {
  return ToWord(schema::EnumNameCommandStatus(status), static_cast<uint64_t>(status));
}
Word WordOf(schema::SlotName slot) {
  switch (slot) {  // a table over 256 values would be generated otherwise
    case schema::SlotName::A:
      return ToWord("A", 0);
    case schema::SlotName::B:
      return ToWord("B", 1);
    case schema::SlotName::Factory:
      return ToWord("Factory", 2);
    default:
      return ToWord("None", 255);
  }
}

}  // namespace dipper::telemetry
