// See explain.h.
#include "tools/lab/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tools/lab/desk_model.h"
#include "tools/lab/error.h"
#include "tools/lab/input_names.h"
#include "tools/lab/samples.h"
#include "tools/lab/spec_words.h"

namespace dipper::lab {
namespace {

constexpr double kLargestGap = 1e-9;  // of the parts' sum and the answer, relative to the largest of them

std::vector<std::string> ClassNames(const learn::Spec& spec) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < spec.class_count(); ++i) {
    const std::string_view name = spec.class_name(i);
    names.push_back(name.empty() ? fmt::format("spare place {}", i) : std::string(name));
  }
  return names;
}

[[noreturn]] void FailUntold(const schema::SpecT& spec) {
  const auto kind = static_cast<size_t>(spec.learner.type) - 1;
  throw Error(ExitCode::kFailure,
              fmt::format("{} cannot say which inputs an answer comes from; linear, rls, naive_bayes, "
                          "hoeffding_tree, adaptive_forest and a race with one of them can",
                          words::kLearners[kind]));
}

/// A model over the rows of a file.
class Explainer {
 public:
  Explainer(const schema::SpecT& spec, const CsvTable& table, const ImageFile* image,
            const ExplainOptions& options)
      : spec_(spec),
        desk_(spec),
        model_(image == nullptr ? desk_.Create() : desk_.Attach(image->image)),
        samples_(DecodeTable(desk_.spec(), table, options.label)),
        classes_(ClassNames(desk_.spec())) {
    first_id_ = model_.samples() == 0 ? 0 : model_.last_id() + 1;
  }

  Explanation Run(const ExplainOptions& options, const std::string& path) {
    const std::optional<uint32_t> output = FindClass(options.output);
    uint64_t first = options.row.value_or(0);
    uint64_t end = first + 1;
    if (!options.row.has_value()) {
      end = samples_.rows;
      first = end - std::min(options.last, end);
    }
    if (first >= samples_.rows || first >= end) {
      throw Error(ExitCode::kUsage, fmt::format("there is no row {} in '{}': it has {} usable rows, counted "
                                                "from 0",
                                                first, path, samples_.rows));
    }
    Explanation out;
    out.warnings = WarningsOf(samples_, path);
    for (uint32_t i = 0; i < desk_.spec().feature_count(); ++i)
      out.features.emplace_back(desk_.spec().feature_name(i));
    out.inputs = InputNames(desk_.spec());
    for (uint64_t row = 0; row < end; ++row) {
      if (row >= first) out.rows.push_back(ExplainRow(row, output));
      if (row + 1 < end) Step(row);
    }
    out.importance.resize(desk_.spec().input_count());
    if (!base::Ok(model_.Importance(out.importance))) FailUntold(spec_);
    out.learned = model_.labels_learned();
    return out;
  }

 private:
  std::optional<uint32_t> FindClass(const std::string& name) const {
    if (name.empty()) return std::nullopt;
    if (classes_.empty()) throw Error(ExitCode::kUsage, "--class: the spec forecasts a value, not classes");
    const auto at = std::find(classes_.begin(), classes_.end(), name);
    if (at == classes_.end()) {
      throw Error(ExitCode::kUsage, fmt::format("--class '{}': the spec has no such class{}", name,
                                                Suggestion(name, classes_)));
    }
    return static_cast<uint32_t>(at - classes_.begin());
  }

  void Step(uint64_t row) {
    const uint64_t id = first_id_ + row;
    base::Status status = model_.Observe(id, 0, samples_.Row(row), nullptr);
    const bool labelled = desk_.spec().target_kind() == schema::TargetKind::LabelColumn &&
                          samples_.label_kinds[row] == LabelKind::kKnown;
    if (base::Ok(status) && labelled) status = model_.Learn(id, samples_.labels[row], 1, nullptr);
    if (!base::Ok(status)) {
      throw Error(ExitCode::kFailure,
                  fmt::format("row {}: the model refused to learn it ({})", row, base::StatusName(status)));
    }
  }

  ExplainedRow ExplainRow(uint64_t row, std::optional<uint32_t> wanted) {
    const std::span<const float> x = samples_.Row(row);
    learn::Output predicted;
    if (!base::Ok(model_.Predict(x, &predicted))) FailUntold(spec_);
    const uint32_t output =
        classes_.empty() ? 0 : wanted.value_or(static_cast<uint32_t>(predicted.class_index));
    const double answer = classes_.empty() ? predicted.value : predicted.probabilities[output];
    std::vector<double> parts(desk_.spec().input_count() + size_t{2});
    if (!base::Ok(model_.Contributions(x, output, parts))) FailUntold(spec_);
    CheckSum(row, parts, answer);
    ExplainedRow out;
    out.row = row;
    out.answer = answer;
    out.rest = parts.back();
    parts.pop_back();
    out.base = parts.back();
    parts.pop_back();
    out.terms = std::move(parts);
    for (const float value : x) out.inputs.push_back(static_cast<double>(value));
    if (!classes_.empty()) out.output = classes_[output];
    if (samples_.label_kinds[row] == LabelKind::kKnown && samples_.has_labels) {
      const double label = samples_.labels[row];
      out.label = classes_.empty() ? fmt::format("{:g}", label) : classes_[static_cast<size_t>(label)];
    }
    return out;
  }

  static void CheckSum(uint64_t row, const std::vector<double>& parts, double answer) {
    double sum = 0;
    double largest = std::fabs(answer);
    for (const double part : parts) {
      sum += part;
      largest = std::max(largest, std::fabs(part));
    }
    if (std::fabs(sum - answer) <= kLargestGap * (1.0 + largest)) return;
    throw Error(ExitCode::kVerificationFailed,
                fmt::format("row {}: the parts sum to {}, the answer is {}; this build cannot be trusted",
                            row, sum, answer));
  }

  const schema::SpecT& spec_;
  DeskModel desk_;
  learn::Model model_;
  SampleTable samples_;
  std::vector<std::string> classes_;
  uint64_t first_id_ = 0;
};

}  // namespace

Explanation Explain(const schema::SpecT& spec, const CsvTable& table, const ImageFile* image,
                    const ExplainOptions& options) {
  return Explainer(spec, table, image, options).Run(options, table.path());
}

}  // namespace dipper::lab
