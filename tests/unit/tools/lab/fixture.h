// Small made-up CSV files and specs for the tests of tools/lab. Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/lab/csv_table.h"
#include "tools/lab/error.h"
#include "tools/lab/spec_text.h"

namespace dipper::lab {

inline CsvTable Table(const std::string& text) {
  return CsvTable("test.csv", std::vector<uint8_t>(text.begin(), text.end()));
}

/// Message and code of the Error that `call` throws; "" when it throws none.
struct Thrown {
  std::string message;
  ExitCode code = ExitCode::kOk;
  bool Says(const std::string& part) const { return message.find(part) != std::string::npos; }
};
inline Thrown Catch(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.what(), error.code()};
  }
  return {};
}

/// Rows x, y, class with class = (x > y), from a small generator of its own.
inline std::string TwoClassCsv(uint64_t rows) {
  std::string text = "x,y,class\n";
  uint32_t state = 12345;
  const auto next = [&] {
    state = state * 1664525U + 1013904223U;
    return state >> 16U;
  };
  for (uint64_t i = 0; i < rows; ++i) {
    const uint32_t x = next() % 1000;
    const uint32_t y = next() % 1000;
    text += std::to_string(x) + "," + std::to_string(y) + "," + (x > y ? "1" : "0") + "\n";
  }
  return text;
}

inline constexpr char kTwoClassSpec[] = R"(format = 1
model_id = "main"
task = "classification"
budget = "64KiB"
[target]
kind = "label_column"
name = "class"
classes = ["0", "1"]
[[feature]]
name = "x"
[[feature]]
name = "y"
[[stage]]
kind = "standard_scaler"
[learner]
kind = "linear"
)";
inline schema::SpecT TwoClassSpec() { return ParseSpecText(kTwoClassSpec, "s.toml"); }

}  // namespace dipper::lab
