// Explanations of rows: the parts sum to the answer, carry the names of the inputs, and mean what they say.
#include "tools/lab/explain.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/unit/tools/lab/fixture.h"
#include "tools/lab/desk_model.h"
#include "tools/lab/input_names.h"

namespace dipper::lab {
namespace {

schema::SpecT SpecOf(const std::string& learner) {
  std::string text = kTwoClassSpec;
  return ParseSpecText(text.replace(text.find("\"linear\""), 8, '"' + learner + '"'), "s.toml");
}

Explanation ExplainLast(const std::string& learner, uint64_t last, const std::string& output = "") {
  ExplainOptions options;
  options.last = last;
  options.output = output;
  return Explain(SpecOf(learner), Table(TwoClassCsv(2000)), nullptr, options);
}

TEST(Explain, PartsSumToTheAnswer) {
  for (const char* learner : {"linear", "rls", "naive_bayes", "hoeffding_tree", "adaptive_forest"}) {
    const Explanation all = ExplainLast(learner, 50);
    ASSERT_EQ(all.rows.size(), 50U);
    EXPECT_EQ(all.rows.front().row, 1950U);
    EXPECT_EQ(all.learned, 1999U);  // the last row's label comes after its explanation
    for (const ExplainedRow& row : all.rows) {
      ASSERT_EQ(row.terms.size(), all.inputs.size());
      const double sum = std::accumulate(row.terms.begin(), row.terms.end(), row.base + row.rest);
      EXPECT_NEAR(sum, row.answer, 1e-9) << learner;
      EXPECT_GE(row.answer, 0.5);  // of two classes the answered one is explained
    }
    const double shares = std::accumulate(all.importance.begin(), all.importance.end(), 0.0);
    EXPECT_TRUE(shares == 0.0 || std::fabs(shares - 1.0) < 1e-9) << learner;  // 0: a tree without a split
  }
}

TEST(Explain, TheInputThatSpeaksForTheClassAddsToIt) {
  const Explanation all = ExplainLast("linear", 200, "1");  // class 1 is x > y
  for (const ExplainedRow& row : all.rows) {
    EXPECT_EQ(row.output, "1");
    EXPECT_TRUE(row.inputs[0] <= 600 || row.terms[0] > 0.0);
    EXPECT_TRUE(row.inputs[1] <= 600 || row.terms[1] < 0.0);
  }
  EXPECT_NEAR(all.importance[0], 0.5, 0.1);
  EXPECT_NEAR(all.importance[0] + all.importance[1], 1.0, 1e-9);
}

TEST(Explain, ARowIsExplainedAsItStoodBeforeItsLabel) {
  ExplainOptions options;
  options.row = 0;
  const CsvTable table = Table(TwoClassCsv(100));
  const Explanation fresh = Explain(SpecOf("linear"), table, nullptr, options);
  EXPECT_EQ(fresh.learned, 0U);
  EXPECT_EQ(fresh.rows[0].answer, 0.5);
  const ImageFile image = TrainImage(SpecOf("linear"), table, "", 0, 100);
  const Explanation trained = Explain(SpecOf("linear"), table, &image, options);
  EXPECT_EQ(trained.learned, 100U);
  EXPECT_GT(trained.rows[0].answer, 0.5);
}

TEST(Explain, WhatCannotBeSaidIsRefusedByName) {
  const Thrown thrown = Catch([&] { ExplainLast("knn", 1); });
  EXPECT_EQ(thrown.code, ExitCode::kFailure);
  EXPECT_TRUE(thrown.Says("knn cannot say")) << thrown.message;
  EXPECT_EQ(Catch([] { ExplainLast("linear", 1, "2"); }).code, ExitCode::kUsage);
  ExplainOptions options;
  options.row = 10;
  const CsvTable table = Table(TwoClassCsv(10));
  EXPECT_TRUE(Catch([&] { Explain(SpecOf("linear"), table, nullptr, options); }).Says("has 10 usable rows"));
  const ImageFile other = TrainImage(SpecOf("rls"), table, "", 0, 10);
  options.row = 1;
  EXPECT_EQ(Catch([&] { Explain(SpecOf("linear"), table, &other, options); }).code,
            ExitCode::kVerificationFailed);
}

TEST(InputNames, FollowTheStages) {
  const std::string text =
      "format = 1\nmodel_id = \"main\"\ntask = \"regression\"\nbudget = \"64KiB\"\n"
      "[target]\nkind = \"label_column\"\nname = \"y\"\n[[feature]]\nname = \"load\"\n"
      "[[feature]]\nname = \"kind\"\ntype = \"categorical\"\ncategories = [\"a\", \"b\"]\n"
      "[[stage]]\nkind = \"one_hot\"\n[[stage]]\nkind = \"lags\"\ninputs = [0]\nlags = [1, 4]\n"
      "[[stage]]\nkind = \"rolling\"\ninputs = [0]\nwindow = 8\nstatistics = [\"mean\", \"std\"]\n"
      "[[stage]]\nkind = \"interactions\"\ninputs = [0, 1]\n"
      "[[stage]]\nkind = \"standard_scaler\"\n[learner]\nkind = \"linear\"\n";
  const DeskModel desk(ParseSpecText(text, "s.toml"));
  const std::vector<std::string> expected = {"load",          "kind=a",       "kind=b",
                                             "kind=other",    "load[-1]",     "load[-4]",
                                             "mean(load, 8)", "std(load, 8)", "load * kind=a"};
  EXPECT_EQ(InputNames(desk.spec()), expected);
}

}  // namespace
}  // namespace dipper::lab
