// What a model does at an alarm: reset, raise the rate, a learner in the background; each against a learner
// that cannot forget by itself, on a stream whose rule turns round.
#include <gtest/gtest.h>

#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

constexpr uint64_t kTurn = 6000;

schema::SpecT SpecWith(const std::string& learner, schema::DriftAction action) {
  schema::SpecT spec = MakeSpec(learner, 2, 2);
  if (auto* bayes = spec.learner.AsNaiveBayes()) bayes->fading = 1.0;
  if (auto* rls = spec.learner.AsRls()) rls->forgetting = 1.0;
  auto drift = std::make_unique<schema::DriftT>();
  drift->on_alarm = action;
  drift->params.Set(schema::AdwinT());
  spec.drift.push_back(std::move(drift));
  return spec;
}

struct Turned {
  double late_error = 0;  // of the last 2,000 labels
  Metrics metrics;
};

Turned RunTurn(const schema::SpecT& spec, bool frozen_after_turn = false) {
  Fixture model(spec);
  Numbers numbers(3);
  Turned run;
  for (uint64_t i = 0; i < 2 * kTurn; ++i) {
    if (i == kTurn && frozen_after_turn) model->SetFrozen(true);
    const float x[2] = {static_cast<float>(numbers.Normal()), static_cast<float>(numbers.Normal())};
    const bool up = x[0] + 0.5F * x[1] > 0.0F;
    const double label = up == (i < kTurn) ? 1.0 : 0.0;
    Outcome outcome;
    EXPECT_EQ(model->Observe(i + 1, 0, x, nullptr), base::Status::kOk);
    EXPECT_EQ(model->Learn(i + 1, label, 1.0, &outcome), base::Status::kOk);
    if (i >= 2 * kTurn - 2000) run.late_error += outcome.loss / 2000.0;
  }
  EXPECT_TRUE(model->AllFinite());
  run.metrics = model->ReadMetrics();
  return run;
}

TEST(DriftActions, ReportChangesNothing) {
  const Turned run = RunTurn(SpecWith("naive_bayes", schema::DriftAction::Report));
  EXPECT_GT(run.late_error, 0.3);
  EXPECT_GE(run.metrics.drift_alarms, 1U);
  EXPECT_EQ(run.metrics.replacements, 0U);
}

TEST(DriftActions, ResetStartsAnew) {
  const Turned run = RunTurn(SpecWith("naive_bayes", schema::DriftAction::Reset));
  EXPECT_LT(run.late_error, 0.1);
}

TEST(DriftActions, ABackgroundLearnerTakesOverWhenItIsBetter) {
  for (const char* learner : {"naive_bayes", "rls"}) {
    const Turned run = RunTurn(SpecWith(learner, schema::DriftAction::Background));
    EXPECT_GE(run.metrics.replacements, 1U) << learner;
    EXPECT_LT(run.late_error, 0.15) << learner;
  }
}

TEST(DriftActions, RaisedRatesFollowAChange) {
  const double left_alone = RunTurn(SpecWith("rls", schema::DriftAction::Report)).late_error;
  const double raised = RunTurn(SpecWith("rls", schema::DriftAction::RaiseRate)).late_error;
  EXPECT_LT(raised, 0.5 * left_alone);
}

TEST(DriftActions, NothingIsDoneToAFrozenModel) {
  for (const schema::DriftAction action : {schema::DriftAction::Reset, schema::DriftAction::Background}) {
    const Turned run = RunTurn(SpecWith("naive_bayes", action), true);
    EXPECT_GT(run.late_error, 0.8);
    EXPECT_EQ(run.metrics.replacements, 0U);
  }
}

TEST(DriftActions, WhatCannotBeDoneIsRefusedByName) {
  Compiled tree(SpecWith("hoeffding_tree", schema::DriftAction::RaiseRate));
  EXPECT_EQ(tree.Parse().status(), base::Status::kInvalidArgument);
  EXPECT_NE(std::string(tree.why()).find("raise_rate"), std::string::npos);
  Compiled race(SpecWith("race", schema::DriftAction::Background));
  EXPECT_EQ(race.Parse().status(), base::Status::kInvalidArgument);
  EXPECT_NE(std::string(race.why()).find("background"), std::string::npos);
}

}  // namespace
}  // namespace dipper::learn::testing
