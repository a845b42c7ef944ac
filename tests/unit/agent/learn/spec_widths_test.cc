// How many inputs each stage makes of those before it, and what a spec says about them.
#include <gtest/gtest.h>

#include <string>

#include "tests/contract/learn/cases.h"

namespace dipper::learn::testing {
namespace {

/// Inputs of the learner for f0, f1, f2 and a category of three, with these stages; 0 and the reason if the
/// spec is refused.
template <typename... Stages>
uint32_t InputsAfter(std::string* why, Stages... stages) {
  schema::SpecT table = MakeSpec("hoeffding_tree", 3, 2);
  AddFeature(&table, "kind", {"a", "b", "c"});
  (AddStage(&table, stages), ...);
  Compiled compiled(table);
  const auto spec = compiled.Parse();
  *why = spec.ok() ? "" : compiled.why();
  return spec.ok() ? spec->input_count() : 0;
}

class SpecWidths : public ::testing::Test {
 protected:
  std::string why_;
};

TEST_F(SpecWidths, StagesThatKeepThem) {
  EXPECT_EQ(InputsAfter(&why_), 4U);
  EXPECT_EQ(InputsAfter(&why_, schema::StandardScalerT()), 4U);
  EXPECT_EQ(InputsAfter(&why_, schema::RobustClipT()), 4U);
  EXPECT_EQ(InputsAfter(&why_, schema::ImputerT()), 4U);
}

TEST_F(SpecWidths, ImputerAppendsAFlagForEach) {
  schema::ImputerT imputer;
  imputer.missing_flags = true;
  EXPECT_EQ(InputsAfter(&why_, imputer), 8U);
  imputer.inputs = {1, 3};
  EXPECT_EQ(InputsAfter(&why_, imputer), 6U);
  imputer.mode = schema::ImputerMode::Mean;  // a category has no mean
  EXPECT_EQ(InputsAfter(&why_, imputer), 0U);
  imputer.inputs.clear();
  EXPECT_EQ(InputsAfter(&why_, imputer), 7U);  // the numeric ones
}

TEST_F(SpecWidths, CategoriesAreReplaced) {
  schema::HashedT hashed;
  EXPECT_EQ(InputsAfter(&why_, schema::OneHotT()), 3U + 4U);
  EXPECT_EQ(InputsAfter(&why_, hashed), 3U + 32U);
  hashed.buckets = 5;
  EXPECT_EQ(InputsAfter(&why_, hashed), 3U + 5U);
  EXPECT_EQ(InputsAfter(&why_, hashed, schema::OneHotT()), 0U);  // none is left
  EXPECT_NE(why_.find("stage.inputs"), std::string::npos) << why_;
}

TEST_F(SpecWidths, Interactions) {
  schema::InteractionsT interactions;
  EXPECT_EQ(InputsAfter(&why_, interactions), 4U + 3U);
  interactions.squares = true;
  EXPECT_EQ(InputsAfter(&why_, interactions), 4U + 6U);
  interactions.inputs = {0, 2};
  EXPECT_EQ(InputsAfter(&why_, interactions), 4U + 3U);
  interactions.inputs = {0};
  EXPECT_EQ(InputsAfter(&why_, interactions), 4U + 1U);
  interactions.squares = false;  // nothing to multiply
  EXPECT_EQ(InputsAfter(&why_, interactions), 0U);
}

TEST_F(SpecWidths, WindowsOfSamples) {
  schema::LagsT lags;
  lags.lags = {1, 2, 10};
  EXPECT_EQ(InputsAfter(&why_, lags), 4U + 12U);
  lags.differences = true;
  EXPECT_EQ(InputsAfter(&why_, lags), 4U + 9U);
  schema::RollingT rolling;
  rolling.statistics = {schema::Statistic::Mean, schema::Statistic::Kurtosis};
  EXPECT_EQ(InputsAfter(&why_, rolling), 4U + 6U);
  rolling.inputs = {2};
  EXPECT_EQ(InputsAfter(&why_, rolling), 4U + 2U);
  rolling.statistics.clear();
  EXPECT_EQ(InputsAfter(&why_, rolling), 0U);
  schema::BandEnergyT bands;
  EXPECT_EQ(InputsAfter(&why_, bands), 4U + 24U);
  bands.inputs = {1};
  bands.bands = 3;
  EXPECT_EQ(InputsAfter(&why_, bands), 4U + 3U);
  bands.edges = {0.01, 0.1, 0.2, 0.5};
  EXPECT_EQ(InputsAfter(&why_, bands), 4U + 3U);
  bands.edges = {0.01, 0.1};
  EXPECT_EQ(InputsAfter(&why_, bands), 0U);
}

TEST_F(SpecWidths, OneAfterTheOther) {
  schema::ImputerT imputer;
  imputer.missing_flags = true;
  schema::InteractionsT interactions;
  interactions.inputs = {0, 1};
  schema::LagsT lags;
  lags.inputs = {8};  // the product
  lags.lags = {1};
  EXPECT_EQ(InputsAfter(&why_, imputer, interactions, lags), 8U + 1U + 1U);
  Fixture all(SpecOf({"linear", "regression", "stages"}));
  EXPECT_EQ(all.spec().input_count(), 39U);
  EXPECT_EQ(all.spec().feature_count(), 4U);
}

TEST_F(SpecWidths, TooManyInputsAreRefusedByName) {
  schema::RollingT rolling;
  for (int i = 0; i < 12; ++i) rolling.statistics.push_back(static_cast<schema::Statistic>(i));
  EXPECT_EQ(InputsAfter(&why_, rolling), 40U);
  schema::ImputerT imputer;
  imputer.missing_flags = true;
  EXPECT_EQ(InputsAfter(&why_, rolling, rolling, imputer), 0U);  // twice 40 + 39 * 12
  EXPECT_NE(why_.find("512"), std::string::npos) << why_;
}

}  // namespace
}  // namespace dipper::learn::testing
