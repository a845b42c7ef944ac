// Any bytes as a CSV file: cut and decoded line by line as on a device, and as a whole table as at the desk.
// Both count the same rows; values are finite or the one canonical not-a-number, categories and classes in
// range.
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "tests/fuzz/sample_spec.h"
#include "tools/lab/csv_table.h"
#include "tools/lab/error.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header

/// As a device reads: no table, lines of at most 64 KiB, everything bad is counted.
void DecodeLines(std::string_view text, const schema::Spec& spec) {
  stream::SampleDecoder decoder(spec, "", "truth");
  std::vector<float> values(decoder.feature_count());
  stream::HeaderMatch match;
  uint64_t lines = 0;
  uint64_t taken = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end == std::string_view::npos ? end : end + 1);
    text.remove_prefix(line.size());
    if (!decoder.has_header()) {
      if (!base::Ok(decoder.ReadHeader(line, &match))) return;
      DIPPER_CHECK(match.columns <= stream::kMaxColumns && match.missing_features < decoder.feature_count());
      continue;
    }
    ++lines;
    stream::DecodedSample sample;
    const base::Status status = decoder.DecodeLine(line, values, &sample);
    if (!base::Ok(status)) continue;
    ++taken;
    fuzz::CheckSample(spec, values, sample);
  }
  const stream::DecodeCounters& counters = decoder.counters();
  DIPPER_CHECK(counters.records == taken);
  DIPPER_CHECK(counters.records + counters.wrong_columns + counters.malformed == lines);
}

void ReadTable(base::ByteView bytes, const schema::Spec& spec) {
  try {
    const lab::CsvTable table("fuzz.csv", {bytes.begin(), bytes.end()});
    DIPPER_CHECK(!table.columns().empty() && table.columns().size() <= stream::kMaxColumns);
    stream::SampleDecoder decoder(spec, "", "truth");
    std::vector<float> values(decoder.feature_count());
    const std::vector<std::string_view> names(table.columns().begin(), table.columns().end());
    stream::HeaderMatch match;
    const bool bound = base::Ok(decoder.BindColumns(names, &match));
    uint64_t last_line = 0;
    table.ForEachRow(
        [&](std::span<const std::string_view> cells, uint64_t line) {
          DIPPER_CHECK(cells.size() == table.columns().size() && line > last_line);
          last_line = line;
          if (!bound) return true;
          stream::DecodedSample sample;
          DIPPER_CHECK(base::Ok(decoder.DecodeCells(cells, values, &sample)));
          fuzz::CheckSample(spec, values, sample);
          return true;
        },
        [&](uint64_t line, uint32_t) {
          DIPPER_CHECK(line > last_line);
          last_line = line;
        });
  } catch (const lab::Error& error) {
    DIPPER_CHECK(std::string_view(error.what()).find("fuzz.csv") != std::string_view::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // The first byte chooses among three tasks.
  const schema::Spec& spec = fuzz::SampleSpec(data[0] % 3);
  const base::ByteView rest(data + 1, size - 1);
  DecodeLines(base::AsText(rest), spec);
  ReadTable(rest, spec);
  return 0;
}
