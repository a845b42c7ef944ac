// Inference by plain rules, each of which leaves a note.
#include "tools/lab/spec_init.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "agent/learn/image/limits.h"
#include "tools/lab/column_profile.h"
#include "tools/lab/desk_model.h"
#include "tools/lab/error.h"
#include "tools/lab/loss_bound.h"
#include "tools/lab/season.h"
#include "tools/lab/spec_params.h"
#include "tools/lab/spec_text.h"
#include "tools/lab/spec_words.h"

namespace dipper::lab {
namespace {

constexpr size_t kMaxListedCategories = 64;
/// A numeric label with at most so many distinct whole numbers names classes rather than amounts.
constexpr size_t kMaxNumericClasses = 20;

class Inference {
 public:
  Inference(const CsvTable& table, const SpecInitOptions& options) : table_(table), options_(options) {}

  SpecInitResult Run() {
    CheckOptions();
    ProfiledRows about;
    columns_ = ProfileColumns(table_, kInferenceRows, &about);
    const uint64_t rows = about.read;
    if (rows == 0) {
      throw Error(ExitCode::kFailure,
                  fmt::format("'{}' has a header but no usable row{}", table_.path(),
                              about.skipped == 0 ? "; add data"
                                                 : ": " + SkippedText(about.skipped, table_.path(),
                                                                      about.first_skipped_line)));
    }
    if (about.skipped > 0)
      result_.warnings.push_back(SkippedText(about.skipped, table_.path(), about.first_skipped_line));
    Note("{}: separator '{}', {} columns, looked at {}{} rows", table_.path(), table_.delimiter(),
         columns_.size(), rows == kInferenceRows ? "the first " : "all ", rows);
    spec().model_id = options_.model_id;
    spec().seed = options_.seed;
    spec().budget_bytes = options_.budget_bytes;
    InferTask();
    for (const ColumnProfile& column : columns_) AddFeature(column);
    if (spec().features.empty()) {
      throw Error(ExitCode::kFailure,
                  fmt::format("'{}' has no column that can be a feature beside the label", table_.path()));
    }
    NoteFeatures();
    SetTarget();
    SetLossBound();
    SetStages();
    SetLearner();
    FitRace();
    FitForest();
    const DeskModel desk(spec());
    const learn::Layout& layout = desk.spec().plan().layout;
    if (layout.target.kind == schema::TargetKind::LabelColumn)
      Note("{} samples can wait for their labels; pending.capacity sets another number",
           layout.pending_capacity);
    Note("a model takes {} bytes of its budget of {}", desk.spec().state_bytes(), spec().budget_bytes);
    return std::move(result_);
  }

 private:
  template <typename... Args>
  void Note(fmt::format_string<Args...> format, Args&&... args) {
    result_.notes.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  schema::SpecT& spec() { return result_.spec; }

  void CheckOptions() {
    const auto& learners = words::kLearners;
    if (std::find(learners.begin(), learners.end(), options_.learner) == learners.end()) {
      const std::string suggestion = Suggestion(options_.learner, learners);
      throw Error(ExitCode::kUsage,
                  fmt::format("unknown learner '{}'{} There are: {}", options_.learner,
                              suggestion.empty() ? "." : suggestion, fmt::join(learners, ", ")));
    }
    const bool anomaly = options_.task == schema::Task::Anomaly;
    unsupervised_ = options_.learner == "half_space_trees";
    if (unsupervised_ && (!options_.feature.empty() || !anomaly)) {
      throw Error(ExitCode::kUsage,
                  "half_space_trees scores how unusual a row is and forecasts nothing: give --task anomaly, "
                  "without --feature");
    }
    forecast_ = !unsupervised_ && (!options_.feature.empty() || anomaly);
    if (options_.label.empty() && !forecast_ && !unsupervised_) {
      throw Error(ExitCode::kUsage,
                  "what is to be learned? Give --label COLUMN, or --feature COLUMN --ahead N to "
                  "forecast a feature");
    }
    if (!options_.label.empty()) label_ = table_.ColumnIndex(options_.label);
    if (!options_.feature.empty() && options_.feature == options_.label) {
      throw Error(ExitCode::kUsage,
                  fmt::format("'{}' cannot be the label and the feature to forecast", options_.label));
    }
    if (!options_.feature.empty()) table_.ColumnIndex(options_.feature);
  }

  void InferTask() {
    if (unsupervised_) {
      spec().task = schema::Task::Anomaly;
      return;
    }
    if (forecast_) {
      spec().task = options_.task.value_or(schema::Task::Regression);
      if (spec().task == schema::Task::Classification) {
        throw Error(ExitCode::kUsage,
                    "a forecast of a feature is a regression (or anomaly) task; drop --task");
      }
      return;
    }
    const ColumnProfile& label = columns_[label_];
    if (label.present() == 0) {
      throw Error(ExitCode::kFailure,
                  fmt::format("column '{}' has no value in these rows; is it the label?", label.name));
    }
    const bool numbers = label.numeric == label.present();
    const bool few = label.texts.size() <= kMaxNumericClasses && label.whole == label.present();
    spec().task =
        options_.task.value_or(numbers && !few ? schema::Task::Regression : schema::Task::Classification);
    const char* const task = spec().task == schema::Task::Regression ? "regression" : "classification";
    if (options_.task.has_value()) {
      Note("task: {}, as asked", task);
    } else {
      Note("task: {}, because the label '{}' has {}", task, label.name,
           !numbers ? fmt::format("{} distinct texts", label.texts.size())
           : few    ? fmt::format("only {} distinct values, whole numbers", label.texts.size())
                    : fmt::format("{} distinct numbers", label.texts.size()));
    }
    if (spec().task == schema::Task::Regression && !numbers) {
      throw Error(ExitCode::kUsage,
                  fmt::format("regression needs numbers, but the label '{}' has texts", label.name));
    }
  }

  void AddFeature(const ColumnProfile& column) {
    if (!options_.label.empty() && column.name == options_.label) return;
    auto feature = std::make_unique<schema::FeatureT>();
    feature->name = column.name;
    if (!column.IsNumeric()) {
      if (column.texts.size() > kMaxListedCategories && column.texts.size() * 2 > column.present()) {
        Note(
            "column '{}' is left out: {} different texts in {} values look like a name or a time, not a "
            "category",
            column.name, column.texts.size(), column.present());
        return;
      }
      feature->type = schema::FeatureType::Categorical;
      feature->categories = column.FrequentTexts(kMaxListedCategories);
      if (feature->categories.size() < column.texts.size()) {
        Note("feature '{}': the {} most frequent of {} categories are listed, the rest counts as other",
             column.name, feature->categories.size(), column.texts.size());
      }
    } else if (column.numeric < column.present()) {
      Note("feature '{}': {} of {} values are no numbers and will count as missing", column.name,
           column.present() - column.numeric, column.present());
    }
    if (column.missing > 0) {
      Note("feature '{}': {} of {} values are missing", column.name, column.missing, column.cells);
    }
    if (spec().features.size() == learn::kMaxFeatures) {
      throw Error(ExitCode::kFailure,
                  fmt::format("more than {} features; drop columns that do not help", learn::kMaxFeatures));
    }
    spec().features.push_back(std::move(feature));
  }

  void NoteFeatures() {
    const auto categorical = std::count_if(spec().features.begin(), spec().features.end(), IsCategorical);
    Note("{} features: {} numeric, {} categorical", spec().features.size(),
         static_cast<int64_t>(spec().features.size()) - categorical, categorical);
  }

  static bool IsCategorical(const std::unique_ptr<schema::FeatureT>& feature) {
    return feature->type == schema::FeatureType::Categorical;
  }

  void SetTarget() {
    spec().target = std::make_unique<schema::TargetT>();
    if (forecast_) {
      SetForecast();
      return;
    }
    spec().target->kind = unsupervised_ ? schema::TargetKind::None : schema::TargetKind::LabelColumn;
    if (unsupervised_) {
      spec().anomaly = std::make_unique<schema::AnomalyScoreT>();
      spec().anomaly->hold = 0;  // each row by itself
    }
    spec().target->name = options_.label;
    if (!unsupervised_) spec().target->label_delay = options_.label_delay;
    if (spec().task == schema::Task::Classification) SetClasses(columns_[label_]);
  }

  void SetForecast() {
    size_t index = 0;
    const auto& features = spec().features;
    while (index < features.size() &&
           (options_.feature.empty() ? IsCategorical(features[index])
                                     : features[index]->name != options_.feature)) {
      ++index;
    }
    if (index == features.size() || IsCategorical(features[index])) {
      throw Error(ExitCode::kUsage,
                  fmt::format("only a numeric feature can be forecast{}",
                              options_.feature.empty() ? "" : ", and '" + options_.feature + "' is none"));
    }
    spec().target->kind = schema::TargetKind::FeatureAhead;
    spec().target->feature = static_cast<uint16_t>(index);
    spec().target->ahead = options_.ahead;
    spec().anomaly = std::make_unique<schema::AnomalyScoreT>();
    Note("target: '{}', {} samples ahead{}; anomalies are scored from its residuals", features[index]->name,
         options_.ahead,
         options_.feature.empty() ? " (the first numeric feature; --feature names another)" : "");
  }

  /// A package's gate needs one, and who just has data knows none.
  void SetLossBound() {
    if (unsupervised_ || spec().task == schema::Task::Classification) return;
    const std::string& name =
        forecast_ ? spec().features[spec().target->feature]->name : columns_[label_].name;
    const auto column = std::ranges::find(columns_, name, &ColumnProfile::name);
    spec().loss_bound = InferLossBound(column->values, forecast_ ? options_.ahead : options_.label_delay + 1);
    Note(
        "loss_bound: {}, four times what the last known value of '{}' is off by in the mean of these rows, "
        "or "
        "a twentieth of its range; the health gate of a package cuts losses there",
        spec().loss_bound, name);
  }

  void SetClasses(const ColumnProfile& label) {
    std::vector<std::string>& classes = spec().target->classes;
    const size_t most = learn::kMaxClasses - 1;
    classes = label.FrequentTexts(most);
    const bool whole = label.whole == label.present();
    const auto low = static_cast<int64_t>(label.least);
    const auto high = static_cast<int64_t>(label.greatest);
    bool two = classes.size() == 2;
    if (whole && (low == 0 || low == 1) && low == high) {
      // One class only so far, as in a stream of rare alarms: 0 and 1 is what such labels mean.
      classes = {"0", "1"};
      two = true;
      Note("label '{}' is always {} in these rows; taken as one of 0 and 1", label.name, low);
    } else if (whole && !(two && (high - low == 1 || (low == -1 && high == 1))) &&
               high - low < static_cast<int64_t>(most)) {
      // Whole numbers with gaps: the numbers between have probably not come yet.
      classes.clear();
      for (int64_t value = low; value <= high; ++value) classes.push_back(std::to_string(value));
      two = false;
    }
    if (classes.size() == 1) two = false;
    spec().target->spare_classes = two ? 0 : 1;
    Note("classes: {}{}", fmt::join(classes, ", "),
         two ? " (if there can be more, list them in target.classes or set target.spare_classes)"
             : "; a class that comes later counts as other");
  }

  void SetStages() {
    const auto& features = spec().features;
    const bool categorical = std::any_of(features.begin(), features.end(), IsCategorical);
    if (forecast_) {
      schema::LagsT lags;
      lags.inputs = {spec().target->feature};
      lags.lags = {1, 2, 3};
      AddStage(std::move(lags));
    }
    const bool rules = options_.learner == "hoeffding_tree" || options_.learner == "naive_bayes" ||
                       options_.learner == "adaptive_forest" || unsupervised_;
    if (rules) return;  // takes inputs of any scale, categories too
    SetSeason();
    if (categorical) AddStage(schema::OneHotT{});
    AddStage(schema::StandardScalerT{});
  }

  /// Values mean most beside what is usual at their time. A race takes the deviations from the mean of the
  /// last season in; they cost time, so for other learners they are only suggested.
  void SetSeason() {
    Season season;
    std::vector<std::string> where;
    for (const ColumnProfile& column : columns_) {
      if (!column.IsNumeric() || column.name == options_.label) continue;
      const Season own = FindSeason(column.values);
      if (own.period == 0) continue;
      where.push_back(column.name);
      if (own.correlation > season.correlation) season = own;
    }
    if (where.empty() || season.period > learn::kMaxLag) return;
    schema::RollingT rolling;
    rolling.window = static_cast<uint16_t>(season.period);
    rolling.statistics = {schema::Statistic::Deviation};
    for (size_t i = 0; i < spec().features.size(); ++i) {
      if (!IsCategorical(spec().features[i])) rolling.inputs.push_back(static_cast<uint16_t>(i));
    }
    const bool taken = options_.learner == "race" && 2 * spec().features.size() <= learn::kMaxInputs;
    Note("season: {} comes back after {} rows{}", fmt::join(where, ", "), season.period,
         taken ? "; each feature also as its deviation from the mean of so many rows"
               : "; a [[stage]] of kind rolling with statistics = [\"deviation\"] and that window may help");
    if (taken) AddStage(std::move(rolling));
  }

  template <typename T>
  void AddStage(T params) {
    auto stage = std::make_unique<schema::StageT>();
    stage->params.Set(std::move(params));
    spec().stages.push_back(std::move(stage));
  }

  /// What tells apart most kinds of streams: lines, local likeness, and rules. A forest is worth its bytes;
  /// where they are too few, a tree takes its place, and then likeness goes.
  void FitRace() {
    schema::RaceT* race = spec().learner.AsRace();
    if (race == nullptr) return;
    // The first choice that fits; else, without the season, the first that fits then.
    for (const bool season : {true, false}) {
      if (!season && !DropSeason()) break;
      if (ChooseMembers(race)) break;
    }
    Note("race: {}", fmt::join(MemberWords(*race), ", "));
  }

  bool ChooseMembers(schema::RaceT* race) {
    const bool classes = spec().task == schema::Task::Classification;
    using Kind = schema::LearnerParams;
    // A regression tree with linear leaves is ahead of a forest of them in the same bytes.
    const std::vector<std::vector<Kind>> choices = {{Kind::Knn, Kind::AdaptiveForest},
                                                    {Kind::AdaptiveForest},
                                                    {Kind::Knn, Kind::HoeffdingTree},
                                                    {Kind::HoeffdingTree},
                                                    {}};
    for (const std::vector<Kind>& more : choices) {
      if (!classes && std::find(more.begin(), more.end(), Kind::AdaptiveForest) != more.end()) continue;
      race->members.clear();
      AddMember(race, Kind::Linear);
      AddMember(race, classes ? Kind::NaiveBayes : Kind::Rls);
      for (const Kind kind : more) AddMember(race, kind);
      if (Fits()) return true;
    }
    return false;
  }

  /// False if there is none.
  bool DropSeason() {
    const auto dropped = std::erase_if(
        spec().stages, [](const auto& stage) { return stage->params.type == schema::StageParams::Rolling; });
    if (dropped > 0) Note("the season's deviations are left out: the budget does not hold them");
    return dropped > 0;
  }

  /// A forest of few trees where the budget does not hold the usual number.
  void FitForest() {
    schema::AdaptiveForestT* forest = spec().learner.AsAdaptiveForest();
    if (forest == nullptr || Fits()) return;
    for (const uint16_t trees : {uint16_t{5}, uint16_t{3}}) {
      forest->trees = trees;
      if (Fits()) break;
    }
    Note("adaptive_forest: {} trees, since the budget holds no more", forest->trees);
  }

  bool Fits() const {
    const std::vector<uint8_t> bytes = CompileSpec(result_.spec);
    return learn::Spec::Parse(bytes).ok();
  }

  static std::vector<std::string> MemberWords(const schema::RaceT& race) {
    std::vector<std::string> members;
    for (const auto& member : race.members) {
      members.push_back(words::kLearners[static_cast<size_t>(member->params.type) - 1]);
    }
    return members;
  }

  static void AddMember(schema::RaceT* race, schema::LearnerParams kind) {
    race->members.push_back(std::make_unique<schema::RaceMemberT>());
    ForKind<LearnerKinds>(static_cast<size_t>(kind) - 1, [race](auto identity) {
      race->members.back()->params.Set(typename decltype(identity)::type());
    });
  }

  void SetLearner() {
    const auto kind = std::find(words::kLearners.begin(), words::kLearners.end(), options_.learner);
    ForKind<LearnerKinds>(static_cast<size_t>(kind - words::kLearners.begin()),
                          [this](auto identity) { spec().learner.Set(typename decltype(identity)::type()); });
    if (unsupervised_) return;  // no loss to watch
    auto drift = std::make_unique<schema::DriftT>();
    drift->params.Set(schema::AdwinT{});
    spec().drift.push_back(std::move(drift));
  }

  const CsvTable& table_;
  const SpecInitOptions& options_;
  SpecInitResult result_;
  std::vector<ColumnProfile> columns_;
  uint32_t label_ = 0;
  bool forecast_ = false;
  bool unsupervised_ = false;
};

}  // namespace

SpecInitResult InferSpec(const CsvTable& table, const SpecInitOptions& options) {
  return Inference(table, options).Run();
}

}  // namespace dipper::lab
