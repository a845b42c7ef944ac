// SampleDecoder: lines of separated values, or rows of float32, to the values that a model observes. Columns
// match features by name, in any order. Every bad record is a counted outcome, never a crash. Not
// thread-safe. No heap: about 22 KiB of fixed memory.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "agent/schema/spec_generated.h"
#include "agent/stream/cell_reader.h"
#include "agent/stream/csv.h"

namespace dipper::stream {

/// How a header fits the features.
struct HeaderMatch {
  uint32_t columns = 0;
  uint32_t missing_features = 0;  ///< Features without a column: always missing.
  uint32_t extra_columns = 0;     ///< Columns nobody asked for: ignored.
  uint32_t first_missing = 0;     ///< Index of the first such feature, when there is one.
  bool has_label = false;
  bool has_truth = false;
};

struct DecodeCounters {
  uint64_t records = 0;        ///< Records decoded.
  uint64_t wrong_columns = 0;  ///< Records refused: another number of cells than the header has.
  uint64_t malformed = 0;      ///< Records refused: broken quotes, too long, too many columns, wrong length.
  uint64_t missing_cells = 0;
  uint64_t bad_cells = 0;
  uint64_t unseen_cells = 0;
  uint64_t unknown_labels = 0;
  uint64_t other_labels = 0;
};

class SampleDecoder {
 public:
  /// @param spec   A verified spec; it must outlive the decoder.
  /// @param label  Label column; "" takes the spec's target name.
  /// @param truth  Column of the truth that is shown but never learned; "" for none.
  explicit SampleDecoder(const schema::Spec& spec, std::string_view label = {}, std::string_view truth = {});

  /// Reads the header line and matches its columns to the features by name. The texts are not kept.
  /// @returns kInvalidArgument: broken quotes, or two columns with one name that is used; kResourceExhausted:
  /// over
  ///          kMaxLineBytes or kMaxColumns; kNotFound: not one feature has a column. After an error the
  ///          decoder has no header.
  base::Status ReadHeader(std::string_view line, HeaderMatch* match);

  /// The same from names already cut.
  base::Status BindColumns(std::span<const std::string_view> names, HeaderMatch* match);

  /// Decodes one line.
  ///
  /// Cost: O(cells + categories of each categorical cell), no heap.
  /// @param values  One place a feature; filled on kOk.
  /// @returns kFailedPrecondition: no header yet; kInvalidArgument: cells differ from the header, or broken
  /// quotes;
  ///          kResourceExhausted: line too long. Each error is counted and leaves `values` as it was.
  base::Status DecodeLine(std::string_view line, std::span<float> values, DecodedSample* sample);

  /// The same from cells already cut.
  base::Status DecodeCells(std::span<const std::string_view> cells, std::span<float> values,
                           DecodedSample* sample);

  /// Decodes a row of float32, little-endian, in column order. Label and truth columns are class index or
  /// target; infinity and not-a-number mean missing. Errors as DecodeLine.
  base::Status DecodeFloats(base::ByteView row, std::span<float> values, DecodedSample* sample);

  /// Decodes a label that arrives on its own: class text or number, as in a label column. Counted.
  Label DecodeLabel(std::string_view text);

  bool has_header() const { return column_count_ > 0; }
  uint32_t feature_count() const;
  const DecodeCounters& counters() const { return counters_; }

 private:
  void CountLabel(const Label& label);
  void CountSample(const DecodedSample& sample);

  CellReader reader_;
  std::string_view label_name_;
  std::string_view truth_name_;
  char delimiter_ = ',';
  uint32_t column_count_ = 0;
  std::array<uint16_t, kMaxColumns> roles_{};  // feature index, or one of the roles in decoder.cc
  std::array<std::string_view, kMaxColumns> cells_{};
  std::array<char, 4096> scratch_{};
  DecodeCounters counters_;
};

}  // namespace dipper::stream
