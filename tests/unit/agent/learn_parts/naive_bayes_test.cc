// Naive Bayes against a textbook that keeps every row, also faded and with missing and nominal inputs; scale,
// order, drift, hostile inputs, damage.
#include "agent/learn/learners/naive_bayes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/naive_bayes_textbook.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::naive_bayes_test {
namespace {

using NbSection = Section<NaiveBayes, NaiveBayesConfig>;

const float kMissing = std::numeric_limits<float>::quiet_NaN();

double Normal(RandomState& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += NextUniform(random);
  return sum;
}

/// The textbook's classifier: not tempered.
NaiveBayesConfig Numeric(uint32_t inputs, uint32_t classes, double fading = 1.0) {
  NaiveBayesConfig config;
  config.tempered = false;
  config.inputs = inputs;
  config.outputs = classes;
  config.fading = fading;
  return config;
}

void Learn(NbSection& section, const Row& row) {
  std::vector<double> stored(section.config().outputs);
  section.part().Predict(row.x, stored);
  section.part().Learn(row.x, stored, row.y, row.weight);
}

std::vector<double> Predict(NbSection& section, const std::vector<float>& x) {
  std::vector<double> out(section.config().outputs);
  section.part().Predict(x, out);
  return out;
}

uint32_t Greatest(const std::vector<double>& p) {
  return static_cast<uint32_t>(std::max_element(p.begin(), p.end()) - p.begin());
}

void ExpectProbabilities(const std::vector<double>& p) {
  double sum = 0;
  for (const double one : p) {
    EXPECT_TRUE(std::isfinite(one) && one >= 0.0 && one <= 1.0);
    sum += one;
  }
  EXPECT_NEAR(sum, 1.0, 1e-12);
}

Row DrawRow(RandomState& random, uint32_t inputs, uint32_t classes, bool holes) {
  Row row;
  row.y = NextBelow(random, classes);
  row.weight = holes ? 0.5 + NextUniform(random) : 1.0;
  for (uint32_t i = 0; i < inputs; ++i) {
    const double spread = 1.0 + 0.5 * ((row.y + i) % 3);
    const double x = 0.7 * (row.y == i % classes ? 1.0 : 0.0) + spread * Normal(random) + i;
    row.x.push_back(holes && NextUniform(random) < 0.1 ? kMissing : static_cast<float>(x));
  }
  return row;
}

double LargestDifference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
  return largest;
}

void ExpectTextbook(const NaiveBayesConfig& config, bool holes, int rows, int from, double tolerance) {
  NbSection section(config);
  Textbook textbook(config);
  RandomState random = SeedRandom(11);
  double sure = 0;
  for (int i = 0; i < rows; ++i) {
    Row row = DrawRow(random, config.inputs, config.outputs, holes);
    for (size_t j = 0; j < config.categories.size(); ++j) {
      if (config.categories[j] == 0 || std::isnan(row.x[j])) continue;
      row.x[j] = static_cast<float>(NextBelow(random, row.y + 2)) - 0.0F;
    }
    if (i >= from) {
      const std::vector<double> p = Predict(section, row.x);
      ASSERT_LT(LargestDifference(p, textbook.Predict(row.x)), tolerance) << i;
      sure += p[row.y];
    }
    Learn(section, row);
    textbook.Learn(row);
  }
  EXPECT_GT(sure / (rows - from), 1.1 / config.outputs);  // the comparison was not about nothing
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(NaiveBayes, MatchesTheTextbook) {
  ExpectTextbook(Numeric(1, 2), false, 300, 30, 1e-9);
  ExpectTextbook(Numeric(8, 2), false, 300, 30, 1e-9);
  ExpectTextbook(Numeric(11, 5), false, 300, 60, 1e-9);
}

TEST(NaiveBayes, MatchesTheTextbookWhereInputsAreMissing) {
  ExpectTextbook(Numeric(7, 3), true, 300, 60, 1e-9);
}

TEST(NaiveBayes, MatchesTheTextbookFromTheFirstMissingValueOn) {
  // Until then all inputs share the weights of their class; of class 2 one input is never there.
  for (const double fading : {1.0, 0.99}) {
    for (const uint32_t classes : {2U, 3U}) {
      NbSection section(Numeric(7, classes, fading));
      Textbook textbook(Numeric(7, classes, fading));
      RandomState random = SeedRandom(24);
      for (int i = 0; i < 400; ++i) {
        Row row = DrawRow(random, 7, i < 150 ? 2 : classes, i > 150);
        if (row.y == 2) row.x[4] = kMissing;
        const std::vector<float> x = DrawRow(random, 7, classes, i % 2 == 0).x;
        if (i > 30) {
          ASSERT_LT(LargestDifference(Predict(section, x), textbook.Predict(x)), 1e-9) << i;
        }
        Learn(section, row);
        textbook.Learn(row);
      }
      EXPECT_EQ(section.Validate(), base::Status::kOk);
    }
  }
}

TEST(NaiveBayes, AnEmptyListOfCategoriesIsTheSameAsOneOfZeros) {
  const std::vector<uint16_t> zeros(7, 0);
  NaiveBayesConfig config = Numeric(7, 2, 0.999);
  NbSection without(config);
  config.categories = zeros;
  NbSection with(config);
  RandomState random = SeedRandom(25);
  for (int i = 0; i < 300; ++i) {
    const Row row = DrawRow(random, 7, 2, i > 200);
    ASSERT_EQ(Predict(without, row.x), Predict(with, row.x));
    Learn(without, row);
    Learn(with, row);
  }
  ASSERT_EQ(without.bytes().size(), with.bytes().size());
  EXPECT_TRUE(std::equal(without.bytes().begin(), without.bytes().end(), with.bytes().begin()));
}

TEST(NaiveBayes, MatchesTheTextbookWithNominalInputs) {
  const std::vector<uint16_t> mixed = {0, 3, 0, 0, 2};
  NaiveBayesConfig config = Numeric(5, 3);
  config.categories = mixed;
  ExpectTextbook(config, false, 300, 60, 1e-9);
  ExpectTextbook(config, true, 300, 60, 1e-9);
  const std::vector<uint16_t> nominal = {4, 1};
  config.categories = nominal;
  config.inputs = 2;
  ExpectTextbook(config, true, 300, 60, 1e-9);
}

TEST(NaiveBayes, MatchesTheTextbookWhileItFades) { ExpectTextbook(Numeric(3, 2, 0.99), true, 500, 60, 1e-9); }

TEST(NaiveBayes, FadingGoesOnWhenWeightsAreScaledBack) {
  // 0.99^-13794 is 2^200; the textbook starts late enough to have forgotten what it did not see. Scaling back
  // renews every class's variances, which the textbook does at the class's next label: hence the tolerance.
  const NaiveBayesConfig config = Numeric(3, 2, 0.99);
  NbSection section(config);
  Textbook textbook(config);
  RandomState random = SeedRandom(12);
  for (int i = 0; i < 14200; ++i) {
    const Row row = DrawRow(random, 3, 2, false);
    Learn(section, row);
    if (i >= 12000) textbook.Learn(row);
    if (i < 13780 || i % 5 != 0) continue;
    const std::vector<float> x = DrawRow(random, 3, 2, false).x;
    ASSERT_LT(LargestDifference(Predict(section, x), textbook.Predict(x)), 1e-4) << i;
  }
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(NaiveBayes, FadingFollowsDrift) {
  for (const double fading : {1.0, 0.99}) {
    NbSection section(Numeric(2, 2, fading));
    RandomState random = SeedRandom(13);
    int right = 0;
    for (int i = 0; i < 6000; ++i) {
      const uint32_t y = NextBelow(random, 2);
      const bool swapped = i >= 5000;
      const double centre = (y == 1) != swapped ? 2.0 : -2.0;
      const Row row = {
          {static_cast<float>(centre + Normal(random)), static_cast<float>(Normal(random))}, y, 1};
      right += i >= 5500 && Greatest(Predict(section, row.x)) == y ? 1 : 0;
      Learn(section, row);
    }
    if (fading < 1.0) {
      EXPECT_GT(right, 460);
    } else {
      EXPECT_LT(right, 40);
    }
  }
}

TEST(NaiveBayes, TemperingMakesCopiedInputsCountOnce) {
  // One input, and the same input fifty times: what is known is the same, and so should the answers be.
  double loss[3] = {};
  for (int kind = 0; kind < 3; ++kind) {
    const uint32_t inputs = kind == 0 ? 1 : 50;
    NaiveBayesConfig config = Numeric(inputs, 3);
    config.tempered = kind != 1;
    NbSection section(config);
    RandomState random = SeedRandom(22);
    for (int i = 0; i < 6000; ++i) {
      const uint32_t y = NextBelow(random, 3);
      const float x = static_cast<float>(Normal(random) + y);
      const Row row = {std::vector<float>(inputs, x), y, 1};
      if (i >= 3000) loss[kind] -= std::log(Predict(section, row.x)[y]) / 3000;
      Learn(section, row);
    }
  }
  EXPECT_LT(loss[0], 1.0);            // of log(3) = 1.1 without knowing anything
  EXPECT_GT(loss[1], 3.0 * loss[0]);  // fifty times too sure
  EXPECT_LT(loss[2], loss[0] + 0.02);
}

TEST(NaiveBayes, TemperingLeavesIndependentInputsAlone) {
  double loss[2] = {};
  for (const bool tempered : {false, true}) {
    NaiveBayesConfig config = Numeric(6, 3);
    config.tempered = tempered;
    NbSection section(config);
    RandomState random = SeedRandom(23);
    for (int i = 0; i < 4000; ++i) {
      const Row row = DrawRow(random, 6, 3, true);
      if (i >= 1000) loss[tempered ? 1 : 0] -= std::log(Predict(section, row.x)[row.y]) / 3000;
      Learn(section, row);
    }
  }
  EXPECT_LT(loss[0], 0.95);
  EXPECT_NEAR(loss[1], loss[0], 0.01);
}

TEST(NaiveBayes, WeightZeroIsNothingAndWeightTwoIsTwice) {
  NbSection once(Numeric(4, 3));
  NbSection twice(Numeric(4, 3));
  RandomState random = SeedRandom(14);
  for (int i = 0; i < 200; ++i) {
    Row row = DrawRow(random, 4, 3, false);
    Learn(once, row);
    Learn(once, row);
    row.weight = 2;
    Learn(twice, row);
    NbSection before = twice;
    row.weight = 0;
    Learn(twice, row);
    ASSERT_TRUE(before == twice);
    if (i < 10) continue;
    const std::vector<float> x = DrawRow(random, 4, 3, true).x;
    ASSERT_LT(LargestDifference(Predict(once, x), Predict(twice, x)), 1e-9);
  }
}

TEST(NaiveBayes, ScaleAndOrderOfInputsDoNotMatter) {
  NbSection plain(Numeric(6, 3));
  NbSection scaled(Numeric(6, 3));
  NbSection reversed(Numeric(6, 3));
  RandomState random = SeedRandom(15);
  for (int i = 0; i < 500; ++i) {
    const Row row = DrawRow(random, 6, 3, false);
    Row other = row;
    for (size_t j = 0; j < 6; ++j) other.x[j] *= j % 2 == 0 ? 0x1p20F : 0x1p-20F;
    Row turned = row;
    std::reverse(turned.x.begin(), turned.x.end());
    const std::vector<double> p = Predict(plain, row.x);
    ASSERT_LT(LargestDifference(p, Predict(scaled, other.x)), 1e-9);
    ASSERT_LT(LargestDifference(p, Predict(reversed, turned.x)), 1e-9);
    Learn(plain, row);
    Learn(scaled, other);
    Learn(reversed, turned);
  }
}

TEST(NaiveBayes, UniformFirstAndNeverForAClassWithoutLabels) {
  NbSection section(Numeric(2, 4));
  EXPECT_EQ(Predict(section, {1.0F, kMissing}), std::vector<double>(4, 0.25));
  RandomState random = SeedRandom(16);
  for (int i = 0; i < 50; ++i) {
    Learn(section, {{static_cast<float>(Normal(random)), 5.0F}, 2, 1});
    for (const float x : {0.0F, 100.0F, -1e30F, kMissing}) {
      const std::vector<double> p = Predict(section, {x, x});
      ExpectProbabilities(p);
      ASSERT_EQ(Greatest(p), 2U);
      ASSERT_GT(p[0], 0.0);
    }
  }
  EXPECT_GT(Predict(section, {0.0F, 5.0F})[2], 0.9);
}

TEST(NaiveBayes, AnInputThatBeginsToVaryCountsForAllClasses) {
  // Whatever its unit: densities are compared over the same inputs from the first varying value on.
  NbSection section(Numeric(2, 2));
  NbSection other_unit(Numeric(2, 2));
  RandomState random = SeedRandom(17);
  for (int i = 0; i < 400; ++i) {
    const float late = i < 200 ? 7.0F : 7.0F + static_cast<float>(i % 2);
    const Row row = {{static_cast<float>(Normal(random)), late}, static_cast<uint32_t>(i % 2), 1};
    Row scaled = row;
    scaled.x[1] *= 0x1p20F;
    Learn(section, row);
    Learn(other_unit, scaled);
    const std::vector<double> p = Predict(section, {row.x[0], 7.0F});
    ASSERT_LT(LargestDifference(p, Predict(other_unit, {row.x[0], 7.0F * 0x1p20F})), 1e-9) << i;
    if (i < 200) {
      ASSERT_NEAR(Predict(section, {0.0F, 9.0F})[0], Predict(section, {0.0F, 7.0F})[0], 1e-12);
    }
  }
  EXPECT_GT(Predict(section, {0.0F, 7.0F})[0], 0.9);
  EXPECT_GT(Predict(section, {0.0F, 8.0F})[1], 0.9);
}

TEST(NaiveBayes, OneWildValueDoesNotFlattenTheRest) {
  NbSection section(Numeric(1, 2));
  RandomState random = SeedRandom(18);
  const auto teach = [&](int labels) {
    for (int i = 0; i < labels; ++i) {
      const uint32_t y = NextBelow(random, 2);
      Learn(section, {{static_cast<float>(Normal(random) + 6.0 * y)}, y, 1});
    }
  };
  teach(1000);
  Learn(section, {{1e30F}, 0, 1});
  Learn(section, {{-1e30F}, 1, 1});
  EXPECT_GT(Predict(section, {0.0F})[0], 0.8);
  EXPECT_GT(Predict(section, {6.0F})[1], 0.8);
}

TEST(NaiveBayes, HostileInputsStayFinite) {
  const std::vector<uint16_t> categories = {0, 0, 0, 5, 0, 0, 0, 0, 0, 0};
  const float hostile[] = {1e30F,    -1e30F, 3e38F, 1e-45F, -1e-40F, 0.0F,
                           kMissing, 1e15F,  -0.0F, 1.0F,   4.0F,    std::numeric_limits<float>::infinity()};
  for (const double fading : {1.0, 0.99}) {
    NaiveBayesConfig config = Numeric(10, 3, fading);
    config.categories = categories;
    config.tempered = true;
    NbSection section(config);
    RandomState random = SeedRandom(19);
    for (int i = 0; i < 30000; ++i) {
      Row row;
      // One class alone for a long time, extreme weights, inputs that are constant for a while.
      row.y = i < 3000 ? 1 : NextBelow(random, 3);
      row.weight = i % 7 == 0 ? 1e300 : (i % 5 == 0 ? 5e-324 : 1.0);
      for (uint32_t j = 0; j < 10; ++j)
        row.x.push_back(i % 4000 < 100 ? 1e30F : hostile[NextBelow(random, std::size(hostile))]);
      ExpectProbabilities(Predict(section, row.x));
      Learn(section, row);
      if (i % 1000 == 0) {
        ASSERT_EQ(section.Validate(), base::Status::kOk) << i;
      }
    }
    ASSERT_EQ(section.Validate(), base::Status::kOk);
  }
}

TEST(NaiveBayes, ManyInputsNeitherOverflowNorUnderflow) {
  for (const float scale : {1e-30F, 1.0F, 1e28F}) {
    NbSection section(Numeric(512, 2));
    RandomState random = SeedRandom(20);
    int right = 0;
    for (int i = 0; i < 300; ++i) {
      Row row = {{}, NextBelow(random, 2), 1};
      for (int j = 0; j < 512; ++j) row.x.push_back(scale * static_cast<float>(Normal(random) + 0.2 * row.y));
      const std::vector<double> p = Predict(section, row.x);
      ExpectProbabilities(p);
      right += i >= 100 && Greatest(p) == row.y ? 1 : 0;
      Learn(section, row);
    }
    EXPECT_GT(right, 180) << scale;
    EXPECT_EQ(section.Validate(), base::Status::kOk);
  }
}

TEST(NaiveBayes, BytesAreExactAndConfigsChecked) {
  EXPECT_EQ(*NaiveBayes::StateBytes(Numeric(8, 2)), 48U + 2 * 16 + 8 * 8 * (5 + 4 * 2));
  EXPECT_EQ(*NaiveBayes::StateBytes(Numeric(7, 3)), 48U + 3 * 16 + 8 * 8 * (5 + 4 * 3));
  const std::vector<uint16_t> categories = {0, 3};
  NaiveBayesConfig nominal = Numeric(2, 3);
  nominal.categories = categories;
  EXPECT_EQ(*NaiveBayes::StateBytes(nominal), 48U + 3 * 16 + 8 * 2 * (5 + 4 * 3) + 8 * 16);
  NaiveBayesConfig regression = Numeric(2, 2);
  regression.classification = false;
  NaiveBayesConfig mismatch = Numeric(3, 2);
  mismatch.categories = categories;
  const std::vector<uint16_t> many = {1025, 0};
  NaiveBayesConfig too_many = Numeric(2, 2);
  too_many.categories = many;
  for (const NaiveBayesConfig& bad :
       {Numeric(0, 2), Numeric(513, 2), Numeric(2, 1), Numeric(2, 65), Numeric(2, 2, 0.98),
        Numeric(2, 2, 1.1), Numeric(2, 2, std::nan("")), regression, mismatch, too_many}) {
    EXPECT_EQ(NaiveBayes::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
}

TEST(NaiveBayes, CopiesContinueIdenticallyAndDamageIsRefused) {
  const std::vector<uint16_t> categories = {0, 2, 0, 0};
  NaiveBayesConfig config = Numeric(4, 2, 0.999);
  config.tempered = true;
  config.categories = categories;
  NbSection section(config);
  RandomState random = SeedRandom(21);
  for (int i = 0; i < 100; ++i) Learn(section, DrawRow(random, 4, 2, true));
  NbSection copy = section;
  for (int i = 0; i < 100; ++i) {
    const Row row = DrawRow(random, 4, 2, true);
    EXPECT_EQ(Predict(section, row.x), Predict(copy, row.x));
    Learn(section, row);
    Learn(copy, row);
  }
  EXPECT_TRUE(section == copy);
  const Row row = DrawRow(random, 4, 2, true);
  const size_t refused = FlipEveryByte(section, [&](NbSection& damaged) {
    ExpectProbabilities(Predict(damaged, row.x));
    for (int i = 0; i < 20; ++i) Learn(damaged, row);
    ExpectProbabilities(Predict(damaged, row.x));
  });
  EXPECT_GT(refused, section.bytes().size() / 16);
}

}  // namespace
}  // namespace dipper::learn::naive_bayes_test
