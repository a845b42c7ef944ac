// The prequential run against a plain loop written here, delays, rivals, odd data.
#include "tools/lab/prequential.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/tools/lab/fixture.h"
#include "tools/lab/desk_model.h"
#include "tools/lab/samples.h"

namespace dipper::lab {
namespace {

EvalResult Eval(const std::string& csv, uint64_t delay = 0) {
  EvalOptions options;
  options.label_delay = delay;
  return Evaluate(TwoClassSpec(), Table(csv), options);
}

/// A CSV whose features say nothing and whose labels are given.
std::string Labelled(const std::vector<std::string>& labels) {
  std::string csv = "x,y,class\n";
  for (const std::string& label : labels) csv += "1,2," + label + "\n";
  return csv;
}

TEST(Prequential, AgreesWithThePlainLoop) {
  const CsvTable table = Table(TwoClassCsv(400));
  for (uint64_t delay : {uint64_t{0}, uint64_t{1}, uint64_t{30}}) {
    EvalOptions options;
    options.label_delay = delay;
    const EvalResult result = Evaluate(TwoClassSpec(), table, options);
    DeskModel desk(TwoClassSpec());
    learn::Model model = desk.Create();
    const SampleTable samples = DecodeTable(desk.spec(), table, "");
    double right = 0;
    double trivial_right = 0;
    for (uint64_t i = 0; i < samples.rows; ++i) {
      learn::Output output;
      ASSERT_EQ(model.Observe(i, 0, samples.Row(i), &output), base::Status::kOk);
      const double known = i > delay ? samples.labels[i - delay - 1] : 0;
      right += output.class_index == static_cast<int32_t>(samples.labels[i]) ? 1 : 0;
      trivial_right += known == samples.labels[i] ? 1 : 0;
      if (i < delay) continue;
      ASSERT_EQ(model.Learn(i - delay, samples.labels[i - delay], 1, nullptr), base::Status::kOk);
    }
    EXPECT_DOUBLE_EQ(result.whole.model.accuracy, right / 400) << delay;
    EXPECT_DOUBLE_EQ(result.whole.trivial.accuracy, trivial_right / 400) << delay;
    EXPECT_EQ(result.state_digest, model.ImageDigest()) << delay;
    EXPECT_EQ(result.state_bytes, model.image().size());
    EXPECT_GT(result.whole.model.accuracy, 0.8);
    EXPECT_GT(result.whole.model.auc, 0.85);
    // With prompt labels the model's own running metrics are the same numbers.
    if (delay == 0) {
      EXPECT_NEAR(model.ReadMetrics().accuracy, result.whole.model.accuracy, 1e-12);
      EXPECT_NEAR(model.ReadMetrics().kappa, result.whole.model.kappa, 1e-12);
      EXPECT_NEAR(model.ReadMetrics().trivial_accuracy, result.whole.trivial.accuracy, 1e-12);
    }
  }
}

TEST(Prequential, TheRivalKnowsOnlyWhatIsAvailable) {
  // The rival says class 0 until a label is there, then the last one that came.
  const std::string csv = Labelled({"1", "1", "0", "0", "1", "1"});
  EXPECT_DOUBLE_EQ(Eval(csv, 0).whole.trivial.accuracy, 3.0 / 6);    // 0 1 1 0 0 1
  EXPECT_DOUBLE_EQ(Eval(csv, 1).whole.trivial.accuracy, 0.0);        // 0 0 1 1 0 0
  EXPECT_DOUBLE_EQ(Eval(csv, 2).whole.trivial.accuracy, 2.0 / 6);    // 0 0 0 1 1 0
  EXPECT_DOUBLE_EQ(Eval(csv, 100).whole.trivial.accuracy, 2.0 / 6);  // always 0
}

TEST(Prequential, BeforeTheFirstLabelTheModelSaysClassZero) {
  const EvalResult result = Eval(TwoClassCsv(100), 99);
  EXPECT_DOUBLE_EQ(result.whole.model.accuracy, result.whole.trivial.accuracy);
}

TEST(Prequential, EnlargesTheRingForLateLabels) {
  const EvalResult result = Eval(TwoClassCsv(300), 150);
  ASSERT_EQ(result.notes.size(), 1U);
  EXPECT_NE(result.notes[0].find("pending.capacity raised from 64 to 151"), std::string::npos);
  EXPECT_TRUE(result.warnings.empty());
  EXPECT_TRUE(Eval(TwoClassCsv(300), 63).notes.empty());
  EXPECT_TRUE(Catch([] { Eval(TwoClassCsv(10), 70000); }).Says("too long"));
}

TEST(Prequential, ScoresHalvesAndBlocks) {
  // Right everywhere but in one block: labels flip in rows 200 to 249 of 1000.
  std::string csv = "x,y,class\n";
  for (int i = 0; i < 1000; ++i) {
    const bool label = i % 2 == 0;
    const bool flipped = i >= 200 && i < 250;
    csv += std::string(label ? "900,100," : "100,900,") + (label != flipped ? "1" : "0") + "\n";
  }
  const EvalResult result = Eval(csv);
  ASSERT_TRUE(result.worst_block.has_value());
  EXPECT_EQ(result.worst_block_index, 4U);
  EXPECT_EQ(result.worst_block_first_row, 200U);
  EXPECT_EQ(result.worst_block->model.rows, 50U);
  EXPECT_EQ(result.second_half.model.rows, 500U);
  EXPECT_GT(result.second_half.model.accuracy, result.whole.model.accuracy);
  EXPECT_EQ(VerdictOf(result), Verdict::kBetter);  // labels alternate: the last one is wrong every time
}

TEST(Prequential, SaysWhenNothingWasLearned) {
  EXPECT_EQ(VerdictOf(Eval(Labelled({"0", "0", "0", "0"}))), Verdict::kNotBetter);
}

TEST(Prequential, AccuracyAloneDoesNotJudgeARareClass) {
  EvalResult result;
  for (Scores* scores : {&result.whole.model, &result.whole.trivial})
    scores->mae = scores->auc = std::nan("");
  result.whole.model.accuracy = 0.98;
  result.whole.model.kappa = 0.5;
  result.whole.trivial.accuracy = 0.99;
  result.whole.trivial.kappa = 0.1;
  EXPECT_EQ(VerdictOf(result), Verdict::kBetterForRare);
  result.whole.model.kappa = 0.12;  // no more than chance
  EXPECT_EQ(VerdictOf(result), Verdict::kNotBetter);
  result.has_flags = true;
  result.whole.model.auc = 0.9;
  result.whole.trivial.auc = 0.55;
  EXPECT_EQ(VerdictOf(result), Verdict::kBetterForRare);
  result.whole.model.accuracy = 0.995;
  EXPECT_EQ(VerdictOf(result), Verdict::kBetter);
}

TEST(Prequential, AForecastThatNoRowCanScoreIsNoResult) {
  schema::SpecT spec = ParseSpecText(
      "format = 1\nmodel_id = \"m\"\ntask = \"regression\"\nbudget = \"64KiB\"\n[target]\nkind = "
      "\"feature_ahead\"\nfeature = \"x\"\nahead = 5\n[[feature]]\nname = \"x\"\n[learner]\nkind = \"rls\"\n",
      "f.toml");
  const Thrown thrown = Catch([&] { Evaluate(std::move(spec), Table("x\n1\n2\n3\n4\n5\n"), {}); });
  EXPECT_EQ(thrown.code, ExitCode::kFailure);
  EXPECT_TRUE(thrown.Says("5 usable rows and the forecast is 5 ahead")) << thrown.message;
}

TEST(Prequential, LeavesUnlabelledRowsOutOfTheScore) {
  const EvalResult result = Eval(Labelled({"0", "", "1", "NA", "0"}));
  EXPECT_EQ(result.rows, 5U);
  EXPECT_EQ(result.whole.model.rows, 3U);
  EXPECT_EQ(result.unlabelled_rows, 2U);
  EXPECT_DOUBLE_EQ(result.whole.trivial.accuracy, 1.0 / 3);  // 0, then 0 for 1, then 1 for 0
}

TEST(Prequential, CountsClassesWithoutAPlaceAsErrors) {
  const EvalResult result = Eval(Labelled({"0", "0", "strange", "0"}));
  EXPECT_EQ(result.unknown_labels, 1U);
  EXPECT_EQ(result.whole.model.rows, 4U);
  EXPECT_LE(result.whole.model.accuracy, 0.75);
  ASSERT_FALSE(result.warnings.empty());
  EXPECT_NE(result.warnings[0].find("'strange'"), std::string::npos);
}

TEST(Prequential, GivesUnseenClassesToOther) {
  schema::SpecT spec = TwoClassSpec();
  spec.target->spare_classes = 1;
  const EvalResult result = Evaluate(std::move(spec), Table(Labelled({"0", "new", "newer"})), {});
  EXPECT_EQ(result.other_labels, 2U);
  EXPECT_EQ(result.unknown_labels, 0U);
}

TEST(Prequential, CountsBadRowsAndCells) {
  const EvalResult result = Eval("x,y,class\n1,2,0\n1,2\n1,2,1,1\nNA,oops,1\n3,4,0\n");
  EXPECT_EQ(result.rows, 3U);
  EXPECT_EQ(result.skipped_rows, 2U);
  EXPECT_EQ(result.missing_cells, 1U);
  EXPECT_EQ(result.bad_cells, 1U);
  EXPECT_NE(result.warnings[0].find("test.csv:3"), std::string::npos);
}

TEST(Prequential, RefusesWhatDoesNotFit) {
  EXPECT_TRUE(Catch([] { Eval("x,y,class\n"); }).Says("no usable row"));
  EXPECT_TRUE(Catch([] { Eval("x,y,class\n1\n"); }).Says("the first is line 2"));
  EXPECT_EQ(Catch([] { Eval("x,class\n1,0\n"); }).code, ExitCode::kNotFound);
  EXPECT_EQ(Catch([] { Eval("x,y,label\n1,2,0\n"); }).code, ExitCode::kNotFound);
  EXPECT_TRUE(Catch([] { Eval(Labelled({"a", "b"})); }).Says("the first one is 'a'"));
  EvalOptions options;
  options.label = "x";
  EXPECT_TRUE(
      Catch([&] { Evaluate(TwoClassSpec(), Table(TwoClassCsv(5)), options); }).Says("would see its answer"));
}

TEST(Prequential, TheSeedIsPartOfTheImage) {
  EvalOptions options;
  options.seed = 99;
  const EvalResult other = Evaluate(TwoClassSpec(), Table(TwoClassCsv(50)), options);
  EXPECT_EQ(other.seed, 99U);
  EXPECT_NE(other.state_digest, Eval(TwoClassCsv(50)).state_digest);
}

constexpr char kForecastSpec[] = R"(format = 1
task = "regression"
[target]
kind = "feature_ahead"
feature = "v"
ahead = 2
[[feature]]
name = "v"
[[stage]]
kind = "lags"
inputs = ["v"]
lags = [1, 2, 3]
[learner]
kind = "rls"
[anomaly]
)";

TEST(Prequential, ForecastsBringTheirOwnLabels) {
  std::string csv = "v,odd\n";
  for (int i = 0; i < 600; ++i) {
    const bool odd = i >= 400 && i < 405;
    csv += std::to_string(odd ? 30 : std::sin(i * 0.3)) + "," + (odd ? "1" : "0") + "\n";
  }
  EvalOptions options;
  options.label = "odd";
  const EvalResult result = Evaluate(ParseSpecText(kForecastSpec, "f"), Table(csv), options);
  EXPECT_EQ(result.whole.model.rows, 598U);  // the last two have no truth yet
  EXPECT_LT(result.whole.model.mae, result.whole.trivial.mae);
  EXPECT_GT(result.whole.model.auc, 0.95);
  EXPECT_GE(result.anomaly_events, 1U);
  const EvalResult without = Evaluate(ParseSpecText(kForecastSpec, "f"), Table(csv), {});
  EXPECT_TRUE(std::isnan(without.whole.model.auc));
  EXPECT_DOUBLE_EQ(without.whole.model.mae, result.whole.model.mae);
}

}  // namespace
}  // namespace dipper::lab
