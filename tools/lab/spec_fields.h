// FieldReader: typed, range-checked access to one table of a spec text. Whatever is not asked for is an
// unknown key. Every problem is a lab::Error "file:line: key: what is wrong; what is allowed". Not
// thread-safe.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dipper::lab {

/// Bounds of a number. `*_open`: the bound itself is not allowed.
struct Range {
  double low;
  double high;
  bool low_open = false;
  bool high_open = false;
};

class FieldReader {
 public:
  /// @param name  How messages call the table, for example "[learner]".
  FieldReader(const toml::table& table, std::string name, const std::string& file);

  bool Has(const char* key) const { return table_.contains(key); }
  std::string Text(const char* key, std::string fallback);
  std::string RequiredText(const char* key);
  std::vector<std::string> Texts(const char* key);
  double Number(const char* key, double fallback, const Range& range);
  std::vector<double> Numbers(const char* key, const Range& range);
  uint64_t Count(const char* key, uint64_t fallback, uint64_t low, uint64_t high);
  std::vector<uint64_t> Counts(const char* key, uint64_t low, uint64_t high);
  /// An integer of bytes, or a text as "64KiB".
  uint64_t Bytes(const char* key, uint64_t fallback, uint64_t low, uint64_t high);
  bool Flag(const char* key, bool fallback);
  /// One of `names`; its index.
  size_t Choice(const char* key, size_t fallback, const std::vector<std::string>& names);
  size_t RequiredChoice(const char* key, const std::vector<std::string>& names);
  /// A list of `names`; their indices.
  std::vector<size_t> Choices(const char* key, const std::vector<std::string>& names);
  /// A table, or null when absent.
  const toml::table* Table(const char* key);
  /// The tables of an array of tables, in order.
  std::vector<const toml::table*> Tables(const char* key);
  /// The node itself, for mixed lists; null when absent.
  const toml::node* Node(const char* key) { return Find(key); }

  /// Throws for the first key that nobody asked for.
  void Finish() const;

  [[noreturn]] void Fail(const toml::node* at, const char* key, const std::string& what) const;

 private:
  const toml::node* Find(const char* key);
  double NumberOf(const toml::node& node, const char* key, const Range& range) const;
  const toml::node* Require(const char* key);
  size_t ChoiceOf(const toml::node& node, const char* key, const std::vector<std::string>& names) const;

  const toml::table& table_;
  std::string name_;
  const std::string& file_;
  std::vector<std::string> known_;
};

/// "file:line: " of a node.
std::string Where(const std::string& file, const toml::node& node);

}  // namespace dipper::lab
