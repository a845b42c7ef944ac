// Spec text: both ways, and a clear error for every wrong line.
#include "tools/lab/spec_text.h"

#include <gtest/gtest.h>

#include "tests/unit/tools/lab/fixture.h"

namespace dipper::lab {
namespace {

constexpr char kFullSpec[] = R"(format = 1
model_id = "pump"
task = "regression"
seed = 7
budget = "128KiB"
min_labels = 12
loss_bound = 2.5

[target]
kind = "feature_ahead"
feature = "temperature"
ahead = 2

[[feature]]
name = "temperature"
unit = "Cel"
type = "numeric"

[[feature]]
name = "mode \"x\""
type = "categorical"
categories = ["eco", "boost"]

[[stage]]
kind = "lags"
inputs = ["temperature"]
lags = [1, 2, 5]
differences = true

[[stage]]
kind = "one_hot"
inputs = ["mode \"x\""]

[[stage]]
kind = "standard_scaler"
inputs = [0, 1]
decay = 0.99
clip = 8

[learner]
kind = "rls"
forgetting = 0.9999
regularization = 0.5

[pending]
capacity = 100
max_age_samples = 1000

[anomaly]
raise = 0.999
clear = 0.9
min_raise_samples = 3
min_clear_samples = 4
decay = 0.99
hold = 0.5
max_events_per_hour = 12

[[drift]]
kind = "page_hinkley"
input = "score"
delta = 0.25
threshold = 20
min_samples = 40
)";

schema::SpecT Parse(const std::string& text) { return ParseSpecText(text, "s.toml"); }

Thrown Refused(const std::string& text) {
  return Catch([&] { Parse(text); });
}

/// kTwoClassSpec with `from` replaced by `to`.
std::string Changed(const std::string& from, const std::string& to) {
  std::string text = kTwoClassSpec;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(SpecText, ReadsEveryKey) {
  const schema::SpecT spec = Parse(kFullSpec);
  EXPECT_EQ(spec.model_id, "pump");
  EXPECT_EQ(spec.task, schema::Task::Regression);
  EXPECT_EQ(spec.seed, 7U);
  EXPECT_EQ(spec.budget_bytes, 131072U);
  EXPECT_EQ(spec.min_labels, 12U);
  EXPECT_EQ(spec.loss_bound, 2.5);
  EXPECT_EQ(spec.target->kind, schema::TargetKind::FeatureAhead);
  EXPECT_EQ(spec.target->feature, 0U);
  EXPECT_EQ(spec.target->ahead, 2U);
  ASSERT_EQ(spec.features.size(), 2U);
  EXPECT_EQ(spec.features[0]->unit, "Cel");
  EXPECT_EQ(spec.features[1]->name, "mode \"x\"");
  EXPECT_EQ(spec.features[1]->categories, (std::vector<std::string>{"eco", "boost"}));
  ASSERT_EQ(spec.stages.size(), 3U);
  EXPECT_EQ(spec.stages[0]->params.AsLags()->lags, (std::vector<uint16_t>{1, 2, 5}));
  EXPECT_TRUE(spec.stages[0]->params.AsLags()->differences);
  EXPECT_EQ(spec.stages[1]->params.AsOneHot()->inputs, (std::vector<uint16_t>{1}));
  EXPECT_EQ(spec.stages[2]->params.AsStandardScaler()->inputs, (std::vector<uint16_t>{0, 1}));
  EXPECT_EQ(spec.stages[2]->params.AsStandardScaler()->clip, 8.0);
  EXPECT_EQ(spec.learner.AsRls()->forgetting, 0.9999);
  EXPECT_EQ(spec.pending->capacity, 100U);
  EXPECT_EQ(spec.pending->max_age_samples, 1000U);
  EXPECT_EQ(spec.anomaly->min_clear_samples, 4U);
  EXPECT_EQ(spec.anomaly->hold, 0.5);
  EXPECT_EQ(spec.anomaly->max_events_per_hour, 12u);
  ASSERT_EQ(spec.drift.size(), 1U);
  EXPECT_EQ(spec.drift[0]->input, schema::DriftInput::Score);
  EXPECT_EQ(spec.drift[0]->params.AsPageHinkley()->min_samples, 40U);
}

TEST(SpecText, PrintsWhatParsesToTheSame) {
  for (const std::string& text :
       {std::string(kFullSpec), std::string(kTwoClassSpec),
        Changed("\"linear\"", "\"hoeffding_tree\"\ngrace_labels = 50\ndelta = 1e-9")}) {
    const schema::SpecT spec = Parse(text);
    const std::string printed = PrintSpecText(spec);
    EXPECT_EQ(CompileSpec(Parse(printed)), CompileSpec(spec)) << printed;
    EXPECT_EQ(PrintSpecText(DecompileSpec(CompileSpec(spec))), printed);
  }
}

TEST(SpecText, NamesTheLineAndTheNearestKey) {
  const Thrown unknown = Refused(Changed("budget = ", "buget = "));
  EXPECT_EQ(unknown.code, ExitCode::kUsage);
  EXPECT_TRUE(unknown.Says("s.toml:4: ")) << unknown.message;
  EXPECT_TRUE(unknown.Says("unknown key 'buget'; did you mean 'budget'?")) << unknown.message;
  const Thrown nested = Refused(Changed("kind = \"linear\"", "kind = \"linear\"\nratee = 1"));
  EXPECT_TRUE(nested.Says("s.toml:17: [learner]: unknown key 'ratee'; did you mean 'rate'?"))
      << nested.message;
  const Thrown kind = Refused(Changed("\"linear\"", "\"liner\""));
  EXPECT_TRUE(kind.Says("did you mean 'linear'?") && kind.Says("hoeffding_tree")) << kind.message;
  const Thrown syntax = Refused("format = 1\ntask = \n");
  EXPECT_TRUE(syntax.Says("s.toml:2: not valid TOML")) << syntax.message;
}

TEST(SpecText, ChecksEveryRange) {
  const auto learner = [](const std::string& kind, const std::string& line) {
    return Refused(Changed("kind = \"linear\"", "kind = \"" + kind + "\"\n" + line));
  };
  EXPECT_TRUE(
      learner("linear", "rate = 0").Says("s.toml:17: [learner] rate: 0 is out of range; it must be above 0"));
  EXPECT_TRUE(learner("linear", "rate = nan").Says("[learner] rate"));
  EXPECT_TRUE(learner("linear", "l2 = -1").Says("[learner] l2"));
  EXPECT_TRUE(learner("race", "trivial = 1").Says("must be true or false"));
  EXPECT_TRUE(learner("rls", "forgetting = 1.1").Says("[learner] forgetting"));
  EXPECT_TRUE(learner("hoeffding_tree", "delta = 1").Says("[learner] delta"));
  EXPECT_TRUE(learner("hoeffding_tree", "max_depth = 65").Says("from 1 to 64"));
  EXPECT_TRUE(learner("hoeffding_tree", "grace_labels = -1").Says("[learner] grace_labels"));
  EXPECT_TRUE(Refused(Changed("\"64KiB\"", "\"64 KB\"")).Says("byte count"));
  EXPECT_TRUE(Refused(Changed("\"64KiB\"", "0")).Says("byte count"));
  EXPECT_TRUE(
      Refused(Changed("format = 1", "format = 2")).Says("format: must be a whole number from 1 to 1"));
  EXPECT_TRUE(Refused(Changed("format = 1", "")).Says("begin the file with format = 1"));
  EXPECT_TRUE(Refused(Changed("model_id = \"main\"", "model_id = 5")).Says("must be a text"));
  EXPECT_TRUE(Refused(Changed("name = \"y\"", "name = \"x\"")).Says("two features are called 'x'"));
  EXPECT_TRUE(
      Refused(Changed("name = \"y\"", "name = \"y\"\ncategories = [\"a\"]")).Says("numeric feature has no"));
  EXPECT_TRUE(
      Refused(Changed("name = \"y\"", "name = \"y\"\ntype = \"categorical\"")).Says("needs its categories"));
  EXPECT_TRUE(Refused(Changed("kind = \"standard_scaler\"", "kind = \"standard_scaler\"\ninputs = [\"z\"]"))
                  .Says("there is no feature 'z'"));
  EXPECT_TRUE(Refused(Changed("kind = \"standard_scaler\"", "kind = \"lags\"")).Says("lags: is missing"));
}

TEST(SpecText, AsksTheDevicesCheckToo) {
  // Nothing here is out of range by itself; only the whole does not fit.
  const Thrown small = Refused(Changed("\"64KiB\"", "64"));
  EXPECT_TRUE(small.Says("s.toml: ")) << small.message;
  EXPECT_TRUE(small.Says("resource_exhausted")) << small.message;
  const Thrown id = Refused(Changed("\"main\"", "\"../main\""));
  EXPECT_TRUE(id.Says("model_id")) << id.message;
}

TEST(SpecText, NamesMeanPositionsOnlyUntilOneHotMovesThem) {
  std::string text = kFullSpec;
  text.replace(text.find("inputs = [0, 1]"), 15, "inputs = [\"temperature\"]");
  EXPECT_TRUE(Refused(text).Says("name them by position"));
}

TEST(SpecText, RefusesForeignCompiledBytes) {
  std::vector<uint8_t> bytes = CompileSpec(Parse(kTwoClassSpec));
  EXPECT_EQ(CompileSpec(DecompileSpec(bytes)), bytes);
  bytes.resize(bytes.size() / 2);
  EXPECT_EQ(Catch([&] { DecompileSpec(bytes); }).code, ExitCode::kVerificationFailed);
}

}  // namespace
}  // namespace dipper::lab
