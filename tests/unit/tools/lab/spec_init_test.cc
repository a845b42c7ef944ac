// Inference: delimiter, types, classes, task, what is left out; and that the result is always a spec.
#include "tools/lab/spec_init.h"

#include <gtest/gtest.h>

#include "tests/unit/tools/lab/fixture.h"
#include "tools/lab/desk_model.h"

namespace dipper::lab {
namespace {

SpecInitResult Infer(const std::string& csv, SpecInitOptions options = {}) {
  if (options.label.empty() && options.feature.empty()) options.label = "class";
  SpecInitResult result = InferSpec(Table(csv), options);
  // Whatever is inferred prints as a text that parses to the same spec.
  EXPECT_EQ(CompileSpec(ParseSpecText(PrintSpecText(result.spec), "t")), CompileSpec(result.spec));
  return result;
}

bool Noted(const SpecInitResult& result, const std::string& part) {
  for (const std::string& note : result.notes) {
    if (note.find(part) != std::string::npos) return true;
  }
  return false;
}

/// One numeric feature and the labels given, over and over.
std::string Labels(const std::vector<std::string>& labels, size_t rows = 60) {
  std::string csv = "x,class\n";
  for (size_t i = 0; i < rows; ++i)
    csv += std::to_string(i * 7 % 13) + "," + labels[i % labels.size()] + "\n";
  return csv;
}

using Classes = std::vector<std::string>;

TEST(SpecInit, FindsTheTask) {
  EXPECT_EQ(Infer(Labels({"0", "1"})).spec.task, schema::Task::Classification);
  EXPECT_EQ(Infer(Labels({"up", "down"})).spec.task, schema::Task::Classification);
  EXPECT_EQ(Infer(Labels({"1.5", "2.5", "0"})).spec.task, schema::Task::Regression);
  std::vector<std::string> many;
  for (int i = 0; i < 40; ++i) many.push_back(std::to_string(i));
  EXPECT_EQ(Infer(Labels(many)).spec.task, schema::Task::Regression);
  SpecInitOptions options;
  options.task = schema::Task::Regression;
  EXPECT_EQ(Infer(Labels({"0", "1"}), options).spec.task, schema::Task::Regression);
  EXPECT_EQ(Catch([&] { Infer(Labels({"up", "down"}), options); }).code, ExitCode::kUsage);
}

TEST(SpecInit, ListsClassesWithRoomForOthers) {
  const auto target = [](const std::vector<std::string>& labels) {
    return std::move(*Infer(Labels(labels)).spec.target);
  };
  EXPECT_EQ(target({"1", "0"}).classes, (Classes{"0", "1"}));
  EXPECT_EQ(target({"1", "0"}).spare_classes, 0U);
  EXPECT_EQ(target({"0"}).classes, (Classes{"0", "1"}));  // rare alarms: none came yet
  EXPECT_EQ(target({"-1", "1"}).classes, (Classes{"-1", "1"}));
  EXPECT_EQ(target({"up", "down"}).classes, (Classes{"down", "up"}));
  EXPECT_EQ(target({"3", "1", "5"}).classes, (Classes{"1", "2", "3", "4", "5"}));
  EXPECT_EQ(target({"3", "1", "5"}).spare_classes, 1U);
  EXPECT_EQ(target({"a", "b", "c"}).spare_classes, 1U);
  EXPECT_EQ(target({"10", "9", "a"}).classes, (Classes{"10", "9", "a"}));
}

TEST(SpecInit, TellsNumbersFromCategoriesAndNames) {
  std::string csv = "n;c;id;holes;class\n";
  for (int i = 0; i < 200; ++i) {
    csv += std::to_string(i % 17) + ";" + (i % 3 == 0 ? "red" : "blue") + ";user" + std::to_string(i) + ";" +
           (i % 4 == 0 ? "NA" : "1.5") + ";" + (i % 2 == 0 ? "yes" : "no") + "\n";
  }
  const SpecInitResult result = Infer(csv);
  const auto& features = result.spec.features;
  ASSERT_EQ(features.size(), 3U);
  EXPECT_EQ(features[0]->type, schema::FeatureType::Numeric);
  EXPECT_EQ(features[1]->categories, (Classes{"blue", "red"}));
  EXPECT_EQ(features[2]->name, "holes");
  EXPECT_EQ(features[2]->type, schema::FeatureType::Numeric);
  EXPECT_TRUE(Noted(result, "separator ';'"));
  EXPECT_TRUE(Noted(result, "'id' is left out"));
  EXPECT_TRUE(Noted(result, "'holes': 50 of 200 values are missing"));
  EXPECT_TRUE(result.spec.stages[0]->params.AsOneHot() != nullptr);  // linear takes no categories
}

TEST(SpecInit, WorksForEveryLearner) {
  std::string csv = "n,c,class\n";
  for (int i = 0; i < 100; ++i)
    csv += std::to_string(i % 9) + "," + (i % 2 == 0 ? "a" : "b") + "," + (i % 5 == 0 ? "1" : "0") + "\n";
  for (const char* learner : {"linear", "rls", "hoeffding_tree"}) {
    SpecInitOptions options;
    options.learner = learner;
    EXPECT_NE(Infer(csv, options).spec.learner.type, schema::LearnerParams::NONE) << learner;
  }
  SpecInitOptions options;
  options.learner = "liner";
  EXPECT_TRUE(Catch([&] { Infer(csv, options); }).Says("did you mean 'linear'?"));
}

TEST(SpecInit, LooksAtOnlySoManyRows) {
  std::string csv = Labels({"0", "1"}, kInferenceRows);
  csv += "not a number,surprise\n";
  const SpecInitResult result = Infer(csv);
  EXPECT_EQ(result.spec.target->classes, (Classes{"0", "1"}));
  EXPECT_TRUE(Noted(result, "the first 1000 rows"));
}

TEST(SpecInit, MakesForecasts) {
  SpecInitOptions options;
  options.feature = "x";
  options.ahead = 3;
  const SpecInitResult result = Infer(TwoClassCsv(50), options);
  EXPECT_EQ(result.spec.task, schema::Task::Regression);
  EXPECT_EQ(result.spec.target->kind, schema::TargetKind::FeatureAhead);
  EXPECT_EQ(result.spec.target->ahead, 3U);
  EXPECT_EQ(result.spec.features.size(), 3U);
  EXPECT_NE(result.spec.anomaly, nullptr);
  options.label = "class";
  EXPECT_EQ(Infer(TwoClassCsv(50), options).spec.features.size(), 2U);  // the truth is no feature
  options.task = schema::Task::Anomaly;
  EXPECT_EQ(Infer(TwoClassCsv(50), options).spec.task, schema::Task::Anomaly);
}

TEST(SpecInit, GivesTheGateALossBound) {
  SpecInitOptions options;
  std::string csv = "x,y,class\n";
  for (int i = 0; i < 200; ++i)
    csv += std::to_string(i % 2 == 0 ? 1.5 : 4.0) + "," + std::to_string(i * 31 % 97) + "," +
           std::to_string(i) + ".5\n";
  options.feature = "x";
  EXPECT_DOUBLE_EQ(Infer(csv, options).spec.loss_bound, 10);  // 4 times 2.5
  options.ahead = 2;
  EXPECT_DOUBLE_EQ(Infer(csv, options).spec.loss_bound, 0.13);  // the last known value is right: 2.5 / 20
  options = {};
  options.label = "class";
  EXPECT_DOUBLE_EQ(Infer(csv, options).spec.loss_bound, 9.8);  // of 1 a row: 196 / 20 is more than 4
  options.label_delay = 9;
  EXPECT_DOUBLE_EQ(Infer(csv, options).spec.loss_bound, 40);  // the last known label is 10 rows old
  EXPECT_EQ(Infer(Labels({"0", "1"})).spec.loss_bound, 0);    // classes have theirs
}

TEST(SpecInit, TellsOfRowsThatItSkips) {
  const SpecInitResult result = Infer(Labels({"0", "1"}) + "1\n2,0,7\n");
  ASSERT_EQ(result.warnings.size(), 1U);
  EXPECT_EQ(result.warnings[0].find("2 rows were skipped"), 0U) << result.warnings[0];
  EXPECT_NE(result.warnings[0].find("test.csv:62"), std::string::npos) << result.warnings[0];
  EXPECT_TRUE(Infer(Labels({"0", "1"})).warnings.empty());
}

TEST(SpecInit, SmallBudgetsHoldARace) {
  for (const uint64_t budget : {uint64_t{16384}, uint64_t{65536}}) {
    for (const char* learner : {"race", "knn", "hoeffding_tree", "adaptive_forest"}) {
      SpecInitOptions options;
      options.learner = learner;
      options.budget_bytes = budget;
      const SpecInitResult result = Infer(TwoClassCsv(300), options);
      EXPECT_EQ(result.spec.pending, nullptr);  // by the budget
      EXPECT_TRUE(Noted(result, budget == 16384 ? "16 samples can wait" : "64 samples can wait")) << learner;
    }
  }
}

TEST(SpecInit, TheRingCoversTheLabelDelay) {
  SpecInitOptions options;
  options.label_delay = 100;
  const SpecInitResult result = Infer(TwoClassCsv(300), options);
  EXPECT_TRUE(Noted(result, "101 samples can wait"));
  EXPECT_EQ(DeskModel(result.spec).spec().plan().layout.pending_capacity, 101U);
}

TEST(SpecInit, ABudgetThatIsTooSmallSaysWhereItGoes) {
  SpecInitOptions options;
  options.budget_bytes = 2048;
  const Thrown thrown = Catch([&] { Infer(TwoClassCsv(300), options); });
  EXPECT_EQ(thrown.code, ExitCode::kUsage);
  for (const char* part : {"raise it", "of the 2048 bytes", "drift ", "auc 592", "pending "})
    EXPECT_TRUE(thrown.Says(part)) << part << ": " << thrown.message;
}

TEST(SpecInit, RefusesWhatCannotWork) {
  EXPECT_TRUE(Catch([] { Infer("x,class\n"); }).Says("no usable row"));
  EXPECT_TRUE(Catch([] { Infer("class\n1\n0\n"); }).Says("no column that can be a feature"));
  EXPECT_TRUE(Catch([] { Infer("x,class\n1,\n2,NA\n"); }).Says("has no value"));
  SpecInitOptions options;
  options.label = "klass";
  EXPECT_EQ(Catch([&] { Infer("x,class\n1,2\n", options); }).code, ExitCode::kNotFound);
  options.label = "class";
  options.budget_bytes = 64;
  EXPECT_TRUE(Catch([&] { Infer(Labels({"0", "1"}), options); }).Says("budget"));
}

}  // namespace
}  // namespace dipper::lab
