// JsonPick: single values out of a JSON text by JSON pointer (RFC 6901), before any spec is known: what a
// message of another device says, for sources that bring a few values of a larger payload. Not thread-safe.
// Heap: at Bind, and what the parser needs for one text.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/fixed.h"
#include "agent/base/status.h"

namespace dipper::stream {

/// Places in one text.
inline constexpr size_t kMaxPicks = 128;
/// Of one picked text.
inline constexpr size_t kMaxPickBytes = 64;

/// One picked value.
struct Picked {
  enum class Kind : uint8_t {
    kAbsent,  ///< Not there, null, or nothing that is one value: a list, an object, a text that is too long.
    kNumber,  ///< `number`.
    kWhole,   ///< `whole`, a number from 0 to 2^64 - 1; `number` too.
    kText,    ///< `text`.
    kTrue,
    kFalse,
  };
  Kind kind = Kind::kAbsent;
  double number = 0;
  uint64_t whole = 0;
  base::FixedString<kMaxPickBytes> text{};
};

class JsonPick {
 public:
  /// Sets what is picked: a text that begins with '/' is a JSON pointer, any other the name of a member of
  /// the outermost object; the empty text is the whole payload, for payloads that are one number, text or
  /// flag.
  /// @returns kInvalidArgument: a pointer that is none; kResourceExhausted: more than kMaxPicks, or deeper
  /// than
  ///          kMaxJsonDepth. After an error nothing is picked.
  base::Status Bind(std::span<const std::string_view> places);

  /// Picks. A payload that is no JSON is a text of its own where the whole payload is asked for: "ON",
  /// "open".
  ///
  /// Cost: O(text + members * places).
  /// @param picked  One a place; filled on kOk.
  /// @returns kInvalidArgument: no JSON, or a place that is there twice; kResourceExhausted: longer than
  ///          kMaxLineBytes or deeper than kMaxJsonDepth; kNotFound: not one of the places is there.
  base::Status Pick(std::string_view text, std::span<Picked> picked);

  size_t places() const { return places_.size(); }

 private:
  friend class PickHandler;
  using Names = std::vector<std::string>;  ///< From the outermost object inwards; ~0 and ~1 undone.

  base::Status PickPlain(std::string_view text, std::span<Picked> picked) const;

  std::vector<Names> places_;
  bool any_whole_ = false;                    ///< Some place is the whole payload.
  bool only_whole_ = false;                   ///< All are.
  std::array<uint8_t, kMaxPicks> matched_{};  ///< Names of a place that the way to here has.
  std::array<bool, kMaxPicks> seen_{};
};

}  // namespace dipper::stream
