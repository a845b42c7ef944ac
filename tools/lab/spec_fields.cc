// Typed access to TOML tables.
#include "tools/lab/spec_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "agent/base/number.h"
#include "tools/lab/error.h"

namespace dipper::lab {
namespace {

std::string Join(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::string RangeText(const Range& range) {
  if (std::isinf(range.high)) return fmt::format("{} {}", range.low_open ? "above" : "at least", range.low);
  return fmt::format("{} {} and {} {}", range.low_open ? "above" : "at least", range.low,
                     range.high_open ? "below" : "at most", range.high);
}

}  // namespace

std::string Where(const std::string& file, const toml::node& node) {
  return fmt::format("{}:{}: ", file, node.source().begin.line);
}

FieldReader::FieldReader(const toml::table& table, std::string name, const std::string& file)
    : table_(table), name_(std::move(name)), file_(file) {}

void FieldReader::Fail(const toml::node* at, const char* key, const std::string& what) const {
  const toml::node& node = at != nullptr ? *at : table_;
  throw Error(ExitCode::kUsage, fmt::format("{}{} {}: {}", Where(file_, node), name_, key, what));
}

const toml::node* FieldReader::Find(const char* key) {
  known_.emplace_back(key);
  return table_.get(key);
}

const toml::node* FieldReader::Require(const char* key) {
  const toml::node* node = Find(key);
  if (node == nullptr) Fail(nullptr, key, "is missing; add it");
  return node;
}

std::string FieldReader::Text(const char* key, std::string fallback) {
  const toml::node* node = Find(key);
  if (node == nullptr) return fallback;
  if (!node->is_string()) Fail(node, key, "must be a text in quotes");
  return node->as_string()->get();
}

std::string FieldReader::RequiredText(const char* key) {
  const toml::node* node = Require(key);
  if (!node->is_string() || node->as_string()->get().empty())
    Fail(node, key, "must be a text in quotes, not empty");
  return node->as_string()->get();
}

std::vector<std::string> FieldReader::Texts(const char* key) {
  std::vector<std::string> texts;
  const toml::node* node = Find(key);
  if (node == nullptr) return texts;
  if (!node->is_array()) Fail(node, key, "must be a list of texts");
  for (const toml::node& item : *node->as_array()) {
    if (!item.is_string()) Fail(&item, key, "must be a list of texts");
    texts.push_back(item.as_string()->get());
  }
  return texts;
}

double FieldReader::NumberOf(const toml::node& node, const char* key, const Range& range) const {
  if (!node.is_number()) Fail(&node, key, "must be a number " + RangeText(range));
  const double value = *node.value<double>();
  const bool inside = std::isfinite(value) && (range.low_open ? value > range.low : value >= range.low) &&
                      (range.high_open ? value < range.high : value <= range.high);
  if (!inside) Fail(&node, key, fmt::format("{} is out of range; it must be {}", value, RangeText(range)));
  return value;
}

double FieldReader::Number(const char* key, double fallback, const Range& range) {
  const toml::node* node = Find(key);
  return node == nullptr ? fallback : NumberOf(*node, key, range);
}

std::vector<double> FieldReader::Numbers(const char* key, const Range& range) {
  std::vector<double> numbers;
  const toml::node* node = Find(key);
  if (node == nullptr) return numbers;
  if (!node->is_array()) Fail(node, key, "must be a list of numbers " + RangeText(range));
  for (const toml::node& item : *node->as_array()) numbers.push_back(NumberOf(item, key, range));
  return numbers;
}

uint64_t FieldReader::Count(const char* key, uint64_t fallback, uint64_t low, uint64_t high) {
  const toml::node* node = Find(key);
  if (node == nullptr) return fallback;
  const int64_t value = node->is_integer() ? node->as_integer()->get() : -1;
  if (value < 0 || static_cast<uint64_t>(value) < low || static_cast<uint64_t>(value) > high) {
    Fail(node, key, fmt::format("must be a whole number from {} to {}", low, high));
  }
  return static_cast<uint64_t>(value);
}

std::vector<uint64_t> FieldReader::Counts(const char* key, uint64_t low, uint64_t high) {
  std::vector<uint64_t> counts;
  const toml::node* node = Find(key);
  if (node == nullptr) return counts;
  const std::string allowed = fmt::format("must be a list of whole numbers from {} to {}", low, high);
  if (!node->is_array()) Fail(node, key, allowed);
  for (const toml::node& item : *node->as_array()) {
    const int64_t value = item.is_integer() ? item.as_integer()->get() : -1;
    if (value < 0 || static_cast<uint64_t>(value) < low || static_cast<uint64_t>(value) > high)
      Fail(&item, key, allowed);
    counts.push_back(static_cast<uint64_t>(value));
  }
  return counts;
}

uint64_t FieldReader::Bytes(const char* key, uint64_t fallback, uint64_t low, uint64_t high) {
  const toml::node* node = Find(key);
  if (node == nullptr) return fallback;
  base::Result<uint64_t> bytes = base::Status::kInvalidArgument;
  if (node->is_integer() && node->as_integer()->get() >= 0)
    bytes = static_cast<uint64_t>(node->as_integer()->get());
  if (node->is_string()) bytes = base::ParseByteCount(node->as_string()->get());
  if (!bytes.ok() || *bytes < low || *bytes > high) {
    Fail(node, key, fmt::format("must be a byte count from {} to {}, for example \"64KiB\"", low, high));
  }
  return *bytes;
}

bool FieldReader::Flag(const char* key, bool fallback) {
  const toml::node* node = Find(key);
  if (node == nullptr) return fallback;
  if (!node->is_boolean()) Fail(node, key, "must be true or false");
  return node->as_boolean()->get();
}

size_t FieldReader::ChoiceOf(const toml::node& node, const char* key,
                             const std::vector<std::string>& names) const {
  const std::string text = node.is_string() ? node.as_string()->get() : std::string();
  const auto found = std::find(names.begin(), names.end(), text);
  if (found == names.end()) {
    Fail(&node, key,
         fmt::format("'{}' is unknown{} Allowed: {}", text,
                     Suggestion(text, names).empty() ? "." : Suggestion(text, names), Join(names)));
  }
  return static_cast<size_t>(found - names.begin());
}

size_t FieldReader::Choice(const char* key, size_t fallback, const std::vector<std::string>& names) {
  const toml::node* node = Find(key);
  return node == nullptr ? fallback : ChoiceOf(*node, key, names);
}

size_t FieldReader::RequiredChoice(const char* key, const std::vector<std::string>& names) {
  return ChoiceOf(*Require(key), key, names);
}

std::vector<size_t> FieldReader::Choices(const char* key, const std::vector<std::string>& names) {
  std::vector<size_t> choices;
  const toml::node* node = Find(key);
  if (node == nullptr) return choices;
  if (!node->is_array()) Fail(node, key, "must be a list of: " + Join(names));
  for (const toml::node& item : *node->as_array()) choices.push_back(ChoiceOf(item, key, names));
  return choices;
}

const toml::table* FieldReader::Table(const char* key) {
  const toml::node* node = Find(key);
  if (node == nullptr) return nullptr;
  if (!node->is_table()) Fail(node, key, fmt::format("must be a table: [{}]", key));
  return node->as_table();
}

std::vector<const toml::table*> FieldReader::Tables(const char* key) {
  std::vector<const toml::table*> tables;
  const toml::node* node = Find(key);
  if (node == nullptr) return tables;
  if (!node->is_array()) Fail(node, key, fmt::format("must be a list of tables: [[{}]]", key));
  for (const toml::node& item : *node->as_array()) {
    if (!item.is_table()) Fail(&item, key, fmt::format("must be a list of tables: [[{}]]", key));
    tables.push_back(item.as_table());
  }
  return tables;
}

void FieldReader::Finish() const {
  for (const auto& [key, node] : table_) {
    if (std::find(known_.begin(), known_.end(), key.str()) != known_.end()) continue;
    const std::string suggestion = Suggestion(key.str(), known_);
    throw Error(ExitCode::kUsage,
                fmt::format("{}{}: unknown key '{}'{} Known: {}", Where(file_, node), name_, key.str(),
                            suggestion.empty() ? "." : suggestion, Join(known_)));
  }
}

}  // namespace dipper::lab
