// SpecT to spec text. Every parameter is written, so that a reader sees what there is to change.
#include <fmt/format.h>

#include <iterator>

#include "agent/base/number.h"
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
    for (const auto& stage : spec_.stages) PrintStage(stage->params);
    PrintLearner();
    PrintPolicies();
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
    if (!target.classes.empty()) Line("classes = {}", QuotedList(target.classes));
    if (target.spare_classes != 0) Line("spare_classes = {}", target.spare_classes);
  }

  void PrintFeature(const schema::FeatureT& feature) {
    Open("[[feature]]");
    Line("name = {}", Quoted(feature.name));
    if (!feature.unit.empty()) Line("unit = {}", Quoted(feature.unit));
    Line("type = {}", Quoted(words::kFeatureTypes[static_cast<size_t>(feature.type)]));
    if (!feature.categories.empty()) Line("categories = {}", QuotedList(feature.categories));
  }

  void PrintInputs(const std::vector<uint16_t>& inputs) {
    if (inputs.empty()) return;
    std::string list;
    for (uint16_t input : inputs) {
      // One-hot moves the positions behind it, so that a name would no longer mean the same input.
      const bool named = !moved_ && input < spec_.features.size();
      list +=
          (list.empty() ? "" : ", ") + (named ? Quoted(spec_.features[input]->name) : std::to_string(input));
    }
    Line("inputs = [{}]", list);
  }

  void PrintStage(const schema::StageParamsUnion& params) {
    Open("[[stage]]", words::kStages[static_cast<size_t>(params.type) - 1]);
    if (const schema::StandardScalerT* scaler = params.AsStandardScaler()) {
      PrintInputs(scaler->inputs);
      Line("decay = {}", Number(scaler->decay));
      Line("clip = {}", Number(scaler->clip));
    } else if (const schema::LagsT* lags = params.AsLags()) {
      PrintInputs(lags->inputs);
      Line("lags = [{}]", fmt::join(lags->lags, ", "));
      Line("differences = {}", lags->differences);
    } else if (const schema::OneHotT* one_hot = params.AsOneHot()) {
      PrintInputs(one_hot->inputs);
      moved_ = true;
    } else if (const schema::FaultT* fault = params.AsFault()) {
      Line("fault = {}", Quoted(words::kFaults[static_cast<size_t>(fault->kind)]));
      Line("at_sample = {}", fault->at_sample);
      Line("value = {}", fault->value);
    }
  }

  void PrintLearner() {
    Open("[learner]", words::kLearners[static_cast<size_t>(spec_.learner.type) - 1]);
    if (const schema::LinearT* linear = spec_.learner.AsLinear()) {
      Line("loss = {}", Quoted(words::kLosses[static_cast<size_t>(linear->loss)]));
      Line("rate = {}", Number(linear->rate));
      Line("l2 = {}", Number(linear->l2));
      Line("adaptive = {}", linear->adaptive);
    } else if (const schema::RlsT* rls = spec_.learner.AsRls()) {
      Line("forgetting = {}", Number(rls->forgetting));
      Line("regularization = {}", Number(rls->regularization));
    } else if (const schema::HoeffdingTreeT* tree = spec_.learner.AsHoeffdingTree()) {
      Line("pool_bytes = {}", ByteCount(tree->pool_bytes));
      Line("grace_labels = {}", tree->grace_labels);
      Line("delta = {}", Number(tree->delta));
      Line("tie = {}", Number(tree->tie));
      Line("max_depth = {}", tree->max_depth);
    }
  }

  void PrintPolicies() {
    if (spec_.pending != nullptr) {
      Open("[pending]");
      Line("capacity = {}", spec_.pending->capacity);
      Line("max_age_samples = {}", spec_.pending->max_age_samples);
    }
    if (spec_.anomaly != nullptr) {
      Open("[anomaly]");
      Line("raise = {}", Number(spec_.anomaly->raise));
      Line("clear = {}", Number(spec_.anomaly->clear));
      Line("min_raise_samples = {}", spec_.anomaly->min_raise_samples);
      Line("min_clear_samples = {}", spec_.anomaly->min_clear_samples);
      Line("decay = {}", Number(spec_.anomaly->decay));
      Line("hold = {}", Number(spec_.anomaly->hold));
    }
    for (const auto& drift : spec_.drift) {
      const schema::PageHinkleyT* detector = drift->params.AsPageHinkley();
      if (detector == nullptr) continue;
      Open("[[drift]]", words::kDetectors[0]);
      Line("input = {}", Quoted(words::kDriftInputs[static_cast<size_t>(detector->input)]));
      Line("delta = {}", Number(detector->delta));
      Line("threshold = {}", Number(detector->threshold));
      Line("min_samples = {}", detector->min_samples);
    }
  }

  const schema::SpecT& spec_;
  std::string text_;
  bool moved_ = false;
};

}  // namespace

std::string PrintSpecText(const schema::SpecT& spec) { return Printer(spec).Print(); }

}  // namespace dipper::lab
