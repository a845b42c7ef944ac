// Labels as devices get them: late, missing, too late, twice, out of order, of one class only.
#include <gtest/gtest.h>

#include "tests/contract/learn/cases.h"

namespace dipper::learn::testing {
namespace {

constexpr uint64_t kPlaces = 64;  // samples that wait by default

class Labels : public ::testing::TestWithParam<ModelCase> {};

TEST_P(Labels, LateOnesDoNotDiverge) {
  Fixture model(SpecOf(GetParam()));
  Stream stream(7);
  RunStream(model.model(), model.spec(), &stream, 2900, 40);
  const Metrics metrics = model->ReadMetrics();
  EXPECT_LT(metrics.faded_loss, 1.15 * metrics.faded_trivial_loss);
  EXPECT_LE(metrics.pending, kPlaces);
}

/// Labels from outside.
class OutsideLabels : public Labels {};

TEST_P(OutsideLabels, TooLateOnesAreCountedAndLost) {
  Fixture model(SpecOf(GetParam()));
  Stream stream(12);
  RunStream(model.model(), model.spec(), &stream, 500, 100);
  const Metrics metrics = model->ReadMetrics();
  EXPECT_EQ(metrics.labels, 0U);
  EXPECT_EQ(metrics.unmatched_labels, 400U);
  EXPECT_EQ(metrics.lost_samples, 500 - kPlaces);
  EXPECT_EQ(metrics.pending, kPlaces);
  EXPECT_TRUE(metrics.cold);
}

TEST_P(OutsideLabels, MissingOnesAndThoseOutOfOrderStillTeach) {
  Fixture model(SpecOf(GetParam()));
  Stream stream(13);
  constexpr uint64_t kBlock = 16;
  uint64_t id = 0, given = 0;
  for (uint64_t block = 0; block < 180; ++block) {
    double labels[kBlock];
    for (double& label : labels) {
      const Stream::Sample sample = stream.Next(LabelClasses(model.spec()));
      ASSERT_EQ(model->Observe(++id, 0, sample.x, nullptr), base::Status::kOk);
      label = sample.label;
    }
    // Of every block one label in four never comes, the others newest first.
    for (uint64_t back = 0; back < kBlock; ++back) {
      if (back % 4 == 3) continue;
      ASSERT_EQ(model->Learn(id - back, labels[kBlock - 1 - back], 1.0, nullptr), base::Status::kOk);
      ++given;
    }
  }
  const Metrics metrics = model->ReadMetrics();
  EXPECT_EQ(metrics.labels, given);
  EXPECT_EQ(metrics.learned, given);
  EXPECT_EQ(metrics.lost_samples + metrics.pending, id - given);
  EXPECT_LT(metrics.faded_loss, 0.85 * metrics.faded_trivial_loss);
}

TEST_P(Labels, UnmatchedOnesChangeOnlyTheirCounter) {
  Fixture model(SpecOf(GetParam()));
  Stream stream(14);
  RunStream(model.model(), model.spec(), &stream, 400);
  const base::ByteView rest = model.memory().subspan(sizeof(ImageHeader));
  const std::vector<uint8_t> before(rest.begin(), rest.end());
  const uint64_t unmatched = model->ReadMetrics().unmatched_labels;
  const uint64_t last = model->last_id();
  // Learned already (a forecast: too old), never seen, far away.
  for (const uint64_t id : {last - 200, last + 1, uint64_t{0}, ~uint64_t{0}})
    EXPECT_EQ(model->Learn(id, 1.0, 1.0, nullptr), base::Status::kNotFound) << id;
  if (GetParam().labelled()) {
    EXPECT_EQ(model->Learn(last, 1.0, 1.0, nullptr), base::Status::kNotFound);
  }
  EXPECT_EQ(model->ReadMetrics().unmatched_labels, unmatched + (GetParam().labelled() ? 5 : 4));
  EXPECT_EQ(std::memcmp(rest.data(), before.data(), before.size()), 0);
}

class OutsideClasses : public Labels {};

TEST_P(OutsideClasses, OneClassOnlyThenAnUnseenOne) {
  Fixture model(SpecOf(GetParam()));
  const uint32_t classes = model.spec().class_count();
  Numbers numbers(8);
  Output out;
  for (uint64_t id = 1; id <= 1200; ++id) {
    const bool second = id > 600;
    const float x[4] = {static_cast<float>(numbers.Normal() + (second ? 4.0 : 0.0)), 0.0F, 0.0F, 0.0F};
    ASSERT_EQ(model->Observe(id, 0, x, &out), base::Status::kOk);
    if (id == 600) {
      EXPECT_EQ(out.class_index, 0);
    }
    ASSERT_EQ(model->Learn(id, second ? classes - 1.0 : 0.0, 1.0, nullptr), base::Status::kOk);
  }
  EXPECT_EQ(out.class_index, static_cast<int32_t>(classes) - 1);
  EXPECT_TRUE(model->AllFinite());
}

template <typename Wanted>
auto CasesWith(Wanted wanted) {
  std::vector<ModelCase> cases;
  for (const ModelCase& test : AllCases()) {
    if (wanted(test)) cases.push_back(test);
  }
  return ::testing::ValuesIn(cases);
}

std::string NameOf(const ::testing::TestParamInfo<ModelCase>& info) { return info.param.name(); }

INSTANTIATE_TEST_SUITE_P(Learners, Labels, CasesWith([](const ModelCase& c) { return c.target != "scores"; }),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Learners, OutsideLabels, CasesWith([](const ModelCase& c) { return c.labelled(); }),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Learners, OutsideClasses,
                         CasesWith([](const ModelCase& c) { return c.labelled() && c.classification(); }),
                         NameOf);

}  // namespace
}  // namespace dipper::learn::testing
