// Weights of labels: 0 moves nothing, rare classes may weigh more, and what a reset does to waiting samples.
#include <gtest/gtest.h>

#include <cmath>

#include "agent/learn/image/parts.h"
#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

using base::Status;

/// Everything behind the ring of waiting samples: truth, metrics, windows, detectors, learners.
std::vector<uint8_t> Learned(Fixture& model) {
  const Section& pending = model.spec().plan().layout.pending_section;
  const base::ByteView rest = model.memory().subspan(pending.offset + pending.bytes);
  return {rest.begin(), rest.end()};
}

std::vector<uint8_t> LearnerBytes(Fixture& model) {
  const Section& section = model.spec().plan().layout.learners[0].section;
  const base::ByteView own = model.memory().subspan(section.offset, section.bytes);
  return {own.begin(), own.end()};
}

schema::SpecT Everything(const std::string& learner, uint32_t classes) {
  schema::SpecT spec = MakeSpec(learner, 2, classes);
  spec.intervals = std::make_unique<schema::IntervalsT>();
  if (classes == 0) spec.anomaly = std::make_unique<schema::AnomalyScoreT>();
  AddDetector(&spec, schema::AdwinT());
  return spec;
}

TEST(WeightZero, MovesNothingThatIsLearnedOrScored) {
  for (const char* learner : {"linear", "rls", "hoeffding_tree", "knn", "race"}) {
    for (const uint32_t classes : {0U, 2U, 3U}) {
      Fixture model(Everything(learner, classes));
      Numbers numbers(5);
      for (uint64_t id = 1; id <= 300; ++id) {
        const float x[2] = {static_cast<float>(numbers.Normal()), static_cast<float>(numbers.Normal())};
        const double y = classes == 0 ? static_cast<double>(x[0]) : (x[0] > 0.0F ? 1.0 : 0.0);
        ASSERT_EQ(model->Observe(id, 0, x, nullptr), Status::kOk);
        if (id % 3 != 0) {
          ASSERT_EQ(model->Learn(id, y, 1.0, nullptr), Status::kOk);
          continue;
        }
        const std::vector<uint8_t> before = Learned(model);
        const Metrics metrics = model->ReadMetrics();
        Outcome outcome;
        ASSERT_EQ(model->Learn(id, 1.0, 0.0, &outcome), Status::kOk);
        EXPECT_EQ(Learned(model), before) << learner << " " << classes;
        EXPECT_TRUE(outcome.valid);
        EXPECT_EQ(outcome.loss,
                  classes == 0 ? std::fabs(outcome.predicted - 1.0) : (outcome.predicted == 1.0 ? 0.0 : 1.0));
        const Metrics after = model->ReadMetrics();
        EXPECT_EQ(after.labels, metrics.labels);
        EXPECT_EQ(after.learned, metrics.learned);
        EXPECT_EQ(after.pending, 0U);  // the sample is let go
        EXPECT_EQ(model->Learn(id, 1.0, 1.0, nullptr), Status::kNotFound);
      }
    }
  }
}

TEST(WeightZero, TheTrivialRivalDoesNotHearOfIt) {
  Fixture model(MakeSpec("linear", 1, 2));
  const float x = 0.0F;
  const auto give = [&](uint64_t id, double y, double weight) {
    Outcome outcome;
    EXPECT_EQ(model->Observe(id, 0, {&x, 1}, nullptr), Status::kOk);
    EXPECT_EQ(model->Learn(id, y, weight, &outcome), Status::kOk);
    return outcome.trivial_loss;
  };
  EXPECT_EQ(give(1, 1.0, 1.0), 1.0);  // it starts with class 0
  EXPECT_EQ(give(2, 0.0, 0.0), 1.0);  // told, and not learned by the rival
  EXPECT_EQ(give(3, 1.0, 1.0), 0.0);  // so it still says 1
}

TEST(Reset, ALabelOfASampleFromBeforeTeachesAsToAFreshLearner) {
  schema::SpecT spec = MakeSpec("linear", 1, 2);
  AddDetector(&spec, schema::CusumT(), schema::DriftInput::Features, schema::DriftAction::Reset);
  Fixture model(spec);
  const auto resets = [&] { return base::Load<ImageHeader>(model.memory().data()).resets; };
  Numbers numbers(8);
  std::vector<float> xs(1);
  uint64_t id = 0;
  // Labels come one sample late, so one waits whenever the detector looks at the next sample.
  while (resets() == 0 && id < 20000) {
    const double shift = id < 2000 ? 0.0 : 3.0;
    const auto x = static_cast<float>(numbers.Normal() + shift);
    xs.push_back(x);
    ASSERT_EQ(model->Observe(++id, 0, {&x, 1}, nullptr), Status::kOk);
    if (resets() == 0 && id > 1) {
      ASSERT_EQ(model->Learn(id - 1, xs[id - 1] > 0.5F ? 1.0 : 0.0, 1.0, nullptr), Status::kOk);
    }
  }
  ASSERT_EQ(resets(), 1U);
  Outcome outcome;
  ASSERT_EQ(model->Learn(id - 1, 1.0, 1.0, &outcome), Status::kOk);
  Fixture fresh(spec);
  ASSERT_EQ(fresh->Observe(1, 0, {&xs[id - 1], 1}, nullptr), Status::kOk);
  ASSERT_EQ(fresh->Learn(1, 1.0, 1.0, nullptr), Status::kOk);
  EXPECT_EQ(LearnerBytes(model), LearnerBytes(fresh));
  EXPECT_EQ(outcome.predicted, 1.0);  // scored is what was said then
}

TEST(LateLabels, OnlyLearnersThatLookAtTheirAnswerNeedAFreshOne) {
  for (const char* learner : {"linear", "rls", "hoeffding_tree", "naive_bayes", "knn", "adaptive_forest"}) {
    Fixture model(MakeSpec(learner, 2, 2));
    Layout layout = model.spec().plan().layout;
    layout.Bind(model.spec().plan().tables.data());
    const LearnerLayout& own = layout.learners[0];
    AlignedBytes with(own.section.bytes);
    AlignedBytes without(own.section.bytes);
    ASSERT_EQ(CreatePart(own.config, with.bytes()), Status::kOk);
    ASSERT_EQ(CreatePart(own.config, without.bytes()), Status::kOk);
    Numbers numbers(4);
    bool looks = false;
    for (int i = 0; i < 1500; ++i) {
      const float x[2] = {static_cast<float>(numbers.Normal()), static_cast<float>(numbers.Normal())};
      const double y = x[0] + x[1] > 0.0F ? 1.0 : 0.0;
      double right[2];
      const double wrong[2] = {0.75, 0.25};
      WithPart(own.config, with.bytes(), [&](auto& part) {
        looks = kLearnsFromAnswer<std::decay_t<decltype(part)>>;
        part.Predict(x, right);
        part.Learn(x, right, y, 1.0);
      });
      WithPart(own.config, without.bytes(), [&](auto& part) { part.Learn(x, wrong, y, 1.0); });
    }
    const bool same = std::memcmp(with.bytes().data(), without.bytes().data(), own.section.bytes) == 0;
    EXPECT_EQ(same, !looks) << learner;
  }
}

}  // namespace
}  // namespace dipper::learn::testing
