// JsonDecoder: one JSON object a record (RFC 8259) to the values that a model observes, and label records
// that come on their own. Members match features by name, or by a JSON pointer (RFC 6901) each. Every bad
// record is a counted outcome, never a crash: docs/reference/json-samples.md. Not thread-safe. Heap: at Bind,
// and what the parser needs for one record (bounded by kMaxLineBytes).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "agent/base/status.h"
#include "agent/schema/spec_generated.h"
#include "agent/stream/cell_reader.h"
#include "agent/stream/csv.h"

namespace dipper::stream {

/// Brackets inside each other in one record, the outermost included.
inline constexpr uint32_t kMaxJsonDepth = 16;
/// Names in all pointers together.
inline constexpr uint32_t kMaxJsonPlaces = 4096;

/// Unit of the `time` member.
enum class TimeUnit : uint8_t { kSeconds, kMilliseconds, kMicroseconds, kNanoseconds };

/// Where in a record things are. A text that begins with '/' is a JSON pointer; any other is the name of a
/// member of the outermost object. Empty: not in the record. The texts must outlive the decoder.
struct JsonPlaces {
  std::string_view id = "id";
  std::string_view time = "time";
  TimeUnit time_unit = TimeUnit::kSeconds;
  std::string_view label{};  ///< "" takes the spec's target name.
  std::string_view truth{};  ///< Shown, never learned.
  // Label records have an id as above, and:
  std::string_view late_label = "label";
  std::string_view weight = "weight";
  /// A place a feature in the spec's order, "" for the feature's name; shorter: the rest by name.
  std::span<const std::string_view> features{};
};

/// One decoded record. The feature values are in the span given to the decoder.
struct JsonSample : DecodedSample {
  bool has_id = false;
  uint64_t id = 0;
  bool has_time = false;
  int64_t time_ns = 0;  ///< Since 1970.
};

/// A label that arrives on its own: {"id": 7, "label": "ok", "weight": 1}.
struct JsonLabel {
  uint64_t id = 0;
  Label label;
  double weight = 1;  ///< Finite, >= 0.
};

/// A record that may be either: `label` of a label record, otherwise `sample`.
struct JsonRecord {
  bool is_label = false;  ///< By what is in it, usable or not.
  bool has_id = false;    ///< `id` is its own, also where the record is refused.
  uint64_t id = 0;
  JsonSample sample;
  JsonLabel label;
};

struct JsonCounters {
  uint64_t records = 0;      ///< Samples decoded.
  uint64_t labels = 0;       ///< Label records decoded.
  uint64_t malformed = 0;    ///< Refused: no JSON object, too long, too deep, not UTF-8, beyond double range.
  uint64_t duplicates = 0;   ///< Refused: a member that is read is there twice.
  uint64_t bad_ids = 0;      ///< Refused: the id is no whole number below 2^64, or a label record has none.
  uint64_t bad_labels = 0;   ///< Label records refused: no label, or an unusable weight.
  uint64_t no_features = 0;  ///< Refused: not one of the features is a member, and it is no label record.
  uint64_t bad_times = 0;    ///< Taken without time: no number, or out of range.
  uint64_t missing_cells = 0;  ///< null, "", "NA" and the like, and members that are not there.
  uint64_t bad_cells = 0;      ///< No number, beyond float32, an object or a list; taken as missing.
  uint64_t unseen_cells = 0;
  uint64_t extra_members = 0;  ///< Members nobody asked for; ignored.
  uint64_t unknown_labels = 0;
  uint64_t other_labels = 0;
};

class JsonDecoder {
 public:
  /// @param spec  A verified spec; it must outlive the decoder.
  explicit JsonDecoder(const schema::Spec& spec);

  /// Sets where things are. Once, before decoding; the only place that allocates for good.
  /// @returns kInvalidArgument: a pointer that is none (RFC 6901), more places than features, or two things
  /// at
  ///          one place (a label that is also a feature would let the model see its answer);
  ///          kResourceExhausted: more than kMaxJsonPlaces names or kMaxJsonDepth levels. After an error the
  ///          decoder decodes nothing.
  base::Status Bind(const JsonPlaces& places);

  /// Decodes one record.
  ///
  /// Cost: O(record) when its members come in the features' order, O(record * features) at worst.
  /// @param text    One JSON object; blanks and a UTF-8 byte order mark around it are ignored.
  /// @param values  One place a feature; filled on kOk.
  /// @returns kFailedPrecondition: not bound; kInvalidArgument: malformed, a duplicate, or a bad id;
  ///          kResourceExhausted: longer than kMaxLineBytes or deeper than kMaxJsonDepth. Each error is
  ///          counted and leaves `values` and `sample` as they were.
  base::Status DecodeSample(std::string_view text, std::span<float> values, JsonSample* sample);

  /// Decodes a label record. Its label may be of state kUnknown, counted. Errors as DecodeSample.
  base::Status DecodeLabel(std::string_view text, JsonLabel* label);

  /// Decodes a record that says by its members what it is: with a label and none of the features it is a
  /// label record, faulty or not. One whose features are all null is a label record if it is a good one.
  ///
  /// Cost: as DecodeSample; a label record is read twice.
  /// @param values   Filled on kOk for a sample.
  /// @param partial  A record without a feature is one whose values are all missing: its columns are known.
  /// @returns as DecodeSample and DecodeLabel; kNotFound: neither a feature nor a label is there. `is_label`
  /// and
  ///          the id are set on errors too, as far as they are known.
  base::Status Decode(std::string_view text, bool partial, std::span<float> values, JsonRecord* record);

  uint32_t feature_count() const { return reader_.feature_count(); }
  const JsonCounters& counters() const { return counters_; }

 private:
  friend class JsonHandler;
  static constexpr uint16_t kNoPlace = 0xFFFF;
  static constexpr uint16_t kNoRole = 0xFFFF;
  static constexpr uint16_t kIdRole = 0xFFFE;
  static constexpr uint16_t kTimeRole = 0xFFFD;
  static constexpr uint16_t kLabelRole = 0xFFFC;
  static constexpr uint16_t kTruthRole = 0xFFFB;
  static constexpr uint16_t kWeightRole = 0xFFFA;

  /// A name on the way to something that is read. Places 0 and 1 are the whole of a sample and of a label
  /// record.
  struct Place {
    std::string_view name;  ///< As in the pointer, ~0 and ~1 not yet undone.
    bool escaped = false;
    uint16_t role = kNoRole;
    uint16_t first_child = kNoPlace;
    uint16_t last_child = kNoPlace;  ///< The one that was found last: the search begins behind it.
    uint16_t next = kNoPlace;
  };

  base::Status BindAll(const JsonPlaces& places);
  base::Status BindText(uint16_t root, std::string_view where, uint16_t role);
  base::Status BindName(uint16_t root, std::string_view name, uint16_t role);
  base::Status AddName(uint16_t* place, std::string_view name, bool escaped);
  base::Status SetRole(uint16_t place, uint16_t role);
  /// The child of `place` with this name, or kNoPlace.
  uint16_t FindChild(uint16_t place, std::string_view name);
  base::Status Parse(std::string_view text, uint16_t root);
  bool Saw(uint16_t role) const { return (seen_roles_ & (1U << (kNoRole - role))) != 0; }
  bool SawFeature() const;
  base::Status FinishLabel(JsonLabel* label);
  void FinishSample(std::span<float> values, JsonSample* sample);

  CellReader reader_;
  std::vector<Place> places_;
  TimeUnit time_unit_ = TimeUnit::kSeconds;
  bool bound_ = false;
  JsonCounters counters_;
  // The record being decoded.
  std::vector<float> row_;
  std::vector<bool> seen_;  ///< By feature.
  uint32_t seen_roles_ = 0;
  JsonSample sample_;
  double weight_ = 1;
  uint32_t extra_members_ = 0;
  bool bad_time_ = false;
  bool bad_weight_ = false;
};

}  // namespace dipper::stream
