// SpecT to spec text. Every parameter is written, so that a reader sees what there is to change.
#include <fmt/format.h>

#include <iterator>

#include "agent/base/number.h"
#include "tools/lab/spec_params.h"
#include "tools/lab/spec_text.h"
#include "tools/lab/spec_words.h"

namespace dipper::lab {
namespace {

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (code < 0x20 || code == 0x7F) {
      out += fmt::format("\\u{:04X}", code);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string QuotedList(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) out += (out.empty() ? "" : ", ") + Quoted(text);
  return "[" + out + "]";
}

std::string Number(double value) { return std::string(base::FormatJsonNumber(value).view()); }

std::string ByteCount(uint64_t bytes) {
  if (bytes > 0 && bytes % (1U << 20U) == 0) return fmt::format("\"{}MiB\"", bytes >> 20U);
  if (bytes > 0 && bytes % 1024 == 0) return fmt::format("\"{}KiB\"", bytes >> 10U);
  return std::to_string(bytes);
}

/// Writes the parameters that spec_params.h lists.
class ParamPrinter {
 public:
  ParamPrinter(std::string& text, const schema::SpecT& spec, bool moved)
      : text_(text), spec_(spec), moved_(moved) {}

  void Number(const char* key, double value, const Range&) { Line(key, lab::Number(value)); }
  template <typename T>
  void Count(const char* key, T value, uint64_t, uint64_t) {
    Line(key, std::to_string(value));
  }
  template <typename T>
  void Bytes(const char* key, T value, uint64_t, uint64_t) {
    Line(key, ByteCount(value));
  }
  void Flag(const char* key, bool value) { Line(key, value ? "true" : "false"); }
  template <typename T>
  void Choice(const char* key, T value, const std::vector<std::string>& names) {
    Line(key, Quoted(names[static_cast<size_t>(value)]));
  }
  template <typename T>
  void RequiredChoice(const char* key, T value, const std::vector<std::string>& names) {
    Choice(key, value, names);
  }
  template <typename T>
  void Counts(const char* key, const std::vector<T>& values, uint64_t, uint64_t) {
    if (!values.empty()) Line(key, fmt::format("[{}]", fmt::join(values, ", ")));
  }
  template <typename T>
  void RequiredCounts(const char* key, const std::vector<T>& values, uint64_t low, uint64_t high,
                      const char*) {
    Counts(key, values, low, high);
  }
  template <typename T>
  void Choices(const char* key, const std::vector<T>& values, const std::vector<std::string>& names,
               const char*) {
    std::vector<std::string> texts;
    texts.reserve(values.size());
    for (const T value : values) texts.push_back(names[static_cast<size_t>(value)]);
    Line(key, QuotedList(texts));
  }
  void Numbers(const char* key, const std::vector<double>& values, const Range&) {
    std::vector<std::string> texts;
    texts.reserve(values.size());
    for (const double value : values) texts.push_back(lab::Number(value));
    if (!texts.empty()) Line(key, fmt::format("[{}]", fmt::join(texts, ", ")));
  }
  void Inputs(const std::vector<uint16_t>& inputs) {
    if (inputs.empty()) return;
    std::vector<std::string> list;
    for (const uint16_t input : inputs) {
      // Once moved, a name would no longer mean the same input.
      const bool named = !moved_ && input < spec_.features.size();
      list.push_back(named ? Quoted(spec_.features[input]->name) : std::to_string(input));
    }
    Line("inputs", fmt::format("[{}]", fmt::join(list, ", ")));
  }
  void Members(const std::vector<std::unique_ptr<schema::RaceMemberT>>& members);

 private:
  void Line(std::string_view key, std::string_view value) { text_ += fmt::format("{} = {}\n", key, value); }

  std::string& text_;
  const schema::SpecT& spec_;
  bool moved_;
};

/// Title, kind and parameters of a union's value.
template <typename List, typename Union>
void PrintKind(std::string& text, const schema::SpecT& spec, std::string_view title, const Union& params,
               const std::vector<std::string>& names, bool moved = false) {
  const size_t kind = static_cast<size_t>(params.type) - 1;
  text += fmt::format("\n{}\nkind = {}\n", title, Quoted(names[kind]));
  ParamPrinter printer(text, spec, moved);
  ForKind<List>(kind, [&](auto identity) {
    Describe(printer, *static_cast<typename decltype(identity)::type*>(params.value));
  });
}

void ParamPrinter::Members(const std::vector<std::unique_ptr<schema::RaceMemberT>>& members) {
  for (const auto& member : members) {
    PrintKind<LearnerKinds>(text_, spec_, "[[learner.member]]", member->params, words::kLearners);
  }
}

class Printer {
 public:
  explicit Printer(const schema::SpecT& spec) : spec_(spec) {}

  std::string Print() {
    Line("format = 1");
    Line("model_id = {}", Quoted(spec_.model_id));
    Line("task = {}", Quoted(words::kTasks[static_cast<size_t>(spec_.task)]));
    Line("seed = {}", spec_.seed);
    Line("budget = {}", ByteCount(spec_.budget_bytes));
    Line("min_labels = {}", spec_.min_labels);
    if (spec_.loss_bound != 0) Line("loss_bound = {}", Number(spec_.loss_bound));
    PrintTarget();
    for (const auto& feature : spec_.features) PrintFeature(*feature);
    bool moved = false;
    for (const auto& stage : spec_.stages) {
      PrintKind<StageKinds>(text_, spec_, "[[stage]]", stage->params, words::kStages, moved);
      moved = moved || MovesInputs(stage->params.type);
    }
    PrintKind<LearnerKinds>(text_, spec_, "[learner]", spec_.learner, words::kLearners);
    PrintTable("pending", spec_.pending.get());
    PrintTable("anomaly", spec_.anomaly.get());
    PrintTable("intervals", spec_.intervals.get());
    for (const auto& drift : spec_.drift) PrintDrift(*drift);
    return text_;
  }

 private:
  template <typename... Args>
  void Line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }
  void Open(std::string_view title, std::string_view kind = {}) {
    Line("\n{}", title);
    if (!kind.empty()) Line("kind = {}", Quoted(kind));
  }

  void PrintTarget() {
    const schema::TargetT& target = *spec_.target;
    Open("[target]", words::kTargetKinds[static_cast<size_t>(target.kind)]);
    if (target.kind == schema::TargetKind::FeatureAhead) {
      Line("feature = {}", Quoted(spec_.features[target.feature]->name));
      Line("ahead = {}", target.ahead);
    } else if (!target.name.empty()) {
      Line("name = {}", Quoted(target.name));
    }
    if (target.label_delay != 0) Line("label_delay = {}", target.label_delay);
    if (!target.classes.empty()) Line("classes = {}", QuotedList(target.classes));
    if (target.spare_classes != 0) Line("spare_classes = {}", target.spare_classes);
    if (target.balanced) Line("balanced = true");
  }

  void PrintFeature(const schema::FeatureT& feature) {
    Open("[[feature]]");
    Line("name = {}", Quoted(feature.name));
    if (!feature.unit.empty()) Line("unit = {}", Quoted(feature.unit));
    Line("type = {}", Quoted(words::kFeatureTypes[static_cast<size_t>(feature.type)]));
    if (!feature.categories.empty()) Line("categories = {}", QuotedList(feature.categories));
  }

  template <typename Params>
  void PrintTable(std::string_view key, Params* params) {
    if (params == nullptr) return;
    Open(fmt::format("[{}]", key));
    ParamPrinter printer(text_, spec_, false);
    Describe(printer, *params);
  }

  void PrintDrift(const schema::DriftT& drift) {
    PrintKind<DetectorKinds>(text_, spec_, "[[drift]]", drift.params, words::kDetectors);
    Line("input = {}", Quoted(words::kDriftInputs[static_cast<size_t>(drift.input)]));
    Line("on_alarm = {}", Quoted(words::kDriftActions[static_cast<size_t>(drift.on_alarm)]));
  }

  const schema::SpecT& spec_;
  std::string text_;
};

}  // namespace

std::string PrintSpecText(const schema::SpecT& spec) { return Printer(spec).Print(); }

}  // namespace dipper::lab
