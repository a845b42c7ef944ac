// CellReader: what the text of one cell means to a spec: a number, a category, a label. Shared by every
// decoder of samples, so that a CSV file and a JSON stream of the same data give the same values. Thread-safe
// once built. No heap.
#pragma once

#include <cstdint>
#include <string_view>

#include "agent/schema/spec_generated.h"

namespace dipper::stream {

/// The canonical not-a-number that means "missing" in samples (bits 7fc00000).
float MissingValue();

/// What a label cell says.
enum class LabelState : uint8_t {
  kAbsent = 0,   ///< No such column, or the cell is empty.
  kPresent = 1,  ///< `value` holds the class index or target.
  kUnknown = 2,  ///< A class the spec has no place for, or no number: not usable.
};

struct Label {
  LabelState state = LabelState::kAbsent;
  bool is_other = false;  ///< An unlisted class that went to the place `other`.
  double value = 0;
};

/// One decoded record. The feature values are in the span given to the decoder.
struct DecodedSample {
  Label label;
  Label truth;  ///< From the optional `truth` column: for scoring and display only, never learned.
  uint32_t missing_cells = 0;  ///< Feature cells without a value (canonical NaN).
  uint32_t bad_cells = 0;      ///< Feature cells that are no number; taken as missing.
  uint32_t unseen_cells = 0;   ///< Categories the spec does not list; index = number of listed ones.
};

class CellReader {
 public:
  /// @param spec  A verified spec; it must outlive the reader.
  explicit CellReader(const schema::Spec& spec) : spec_(spec) {}

  const schema::Spec& spec() const { return spec_; }
  uint32_t feature_count() const { return spec_.features()->size(); }
  std::string_view FeatureName(uint32_t feature) const;

  /// The value of a feature from the text of its cell, counted in `sample`: missing, bad (no number, or
  /// beyond float32) and unseen. Cost: O(text), and O(categories) for a categorical feature.
  float ReadText(uint32_t feature, std::string_view cell, DecodedSample* sample) const;
  /// The same from a number. A category is then the one that is spelled as this number.
  float ReadNumber(uint32_t feature, double value, DecodedSample* sample) const;
  /// The same from a number that is the category's index, as in rows of floats.
  float ReadIndex(uint32_t feature, float value, DecodedSample* sample) const;

  /// Class by its text, or by a number equal to that of a class text; or the target.
  Label ReadLabel(std::string_view cell) const;
  /// A number that is the target or the class index itself.
  Label LabelFromIndex(double value) const;

 private:
  float ReadCategory(uint32_t feature, std::string_view text, DecodedSample* sample) const;

  const schema::Spec& spec_;
};

}  // namespace dipper::stream
