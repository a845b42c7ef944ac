// The defaults of a spec and of the parts that it configures are written down twice; they must be the same.
#include <gtest/gtest.h>

#include "agent/learn/image/parts.h"
#include "agent/learn/learners/half_space_trees.h"
#include "agent/learn/learners/race.h"
#include "agent/learn/metrics/conformal.h"
#include "agent/schema/spec_generated.h"

namespace dipper::learn {
namespace {

TEST(Defaults, OfLearners) {
  const LinearConfig linear;
  EXPECT_EQ(schema::LinearT().rate, linear.rate);
  EXPECT_EQ(schema::LinearT().l1, linear.l1);
  EXPECT_EQ(schema::LinearT().l2, linear.l2);
  EXPECT_EQ(schema::LinearT().huber_delta, linear.huber_delta);
  EXPECT_EQ(schema::LinearT().quantile, linear.quantile);
  EXPECT_EQ(static_cast<int>(schema::LinearT().optimizer), static_cast<int>(linear.optimizer));
  EXPECT_EQ(schema::RlsT().forgetting, RlsConfig().forgetting);
  EXPECT_EQ(schema::RlsT().regularization, RlsConfig().regularization);
  const HoeffdingTreeConfig tree;
  EXPECT_EQ(schema::HoeffdingTreeT().grace_labels, tree.grace_labels);
  EXPECT_EQ(schema::HoeffdingTreeT().delta, tree.delta);
  EXPECT_EQ(schema::HoeffdingTreeT().tie, tree.tie);
  EXPECT_EQ(schema::HoeffdingTreeT().max_depth, tree.max_depth);
  EXPECT_EQ(schema::HoeffdingTreeT().adaptive, tree.adaptive);
  const AdaptiveForestConfig forest;
  EXPECT_EQ(schema::AdaptiveForestT().trees, forest.trees);
  EXPECT_EQ(schema::AdaptiveForestT().lambda, forest.lambda);
  EXPECT_EQ(schema::AdaptiveForestT().subspace, forest.subspace);
  EXPECT_EQ(schema::AdaptiveForestT().grace_labels, forest.grace_labels);
  EXPECT_EQ(schema::AdaptiveForestT().delta, forest.delta);
  EXPECT_EQ(schema::AdaptiveForestT().tie, forest.tie);
  EXPECT_EQ(schema::AdaptiveForestT().max_depth, forest.max_depth);
  EXPECT_EQ(schema::NaiveBayesT().fading, NaiveBayesConfig().fading);
  EXPECT_EQ(schema::NaiveBayesT().tempered, NaiveBayesConfig().tempered);
  EXPECT_EQ(schema::KnnT().neighbors, KnnConfig().neighbors);
  EXPECT_EQ(schema::KnnT().by_distance, KnnConfig().by_distance);
  EXPECT_EQ(schema::RaceT().share, RaceConfig().share);
  EXPECT_EQ(schema::HalfSpaceTreesT().trees, HalfSpaceTreesConfig().trees);
  EXPECT_EQ(schema::HalfSpaceTreesT().depth, HalfSpaceTreesConfig().depth);
  EXPECT_EQ(schema::HalfSpaceTreesT().window, HalfSpaceTreesConfig().window);
}

TEST(Defaults, OfStages) {
  EXPECT_EQ(schema::StandardScalerT().decay, StandardScalerConfig().decay);
  EXPECT_EQ(schema::RobustClipT().limit, RobustClipConfig().limit);
  EXPECT_EQ(schema::RobustClipT().window, RobustClipConfig().window);
  EXPECT_EQ(schema::ImputerT().constant, ImputerConfig().constant);
  EXPECT_EQ(schema::ImputerT().decay, ImputerConfig().decay);
  EXPECT_EQ(static_cast<int>(schema::ImputerT().mode), static_cast<int>(ImputerConfig().mode));
  EXPECT_EQ(schema::HashedT().buckets, HashedConfig().buckets);
  EXPECT_EQ(schema::InteractionsT().squares, InteractionsConfig().squares);
  EXPECT_EQ(schema::RollingT().window, RollingConfig().window);
  EXPECT_EQ(schema::BandEnergyT().window, BandEnergyConfig().window);
  EXPECT_EQ(schema::BandEnergyT().hop, BandEnergyConfig().hop);
  EXPECT_EQ(schema::BandEnergyT().bands, BandEnergyConfig().bands);
  EXPECT_EQ(static_cast<int>(schema::BandEnergyT().scale), static_cast<int>(BandEnergyConfig().scale));
}

TEST(Defaults, OfDetectorsAndPolicies) {
  EXPECT_EQ(schema::PageHinkleyT().delta, PageHinkleyConfig().delta);
  EXPECT_EQ(schema::PageHinkleyT().threshold, PageHinkleyConfig().threshold);
  EXPECT_EQ(schema::PageHinkleyT().min_samples, PageHinkleyConfig().min_samples);
  EXPECT_EQ(schema::AdwinT().delta, AdwinConfig().delta);
  EXPECT_EQ(schema::AdwinT().warning_delta, AdwinConfig().warning_delta);
  EXPECT_EQ(schema::AdwinT().buckets, AdwinConfig().buckets);
  EXPECT_EQ(schema::AdwinT().rows, AdwinConfig().rows);
  EXPECT_EQ(schema::AdwinT().clock, AdwinConfig().clock);
  EXPECT_EQ(schema::CusumT().delta, CusumConfig().delta);
  EXPECT_EQ(schema::CusumT().threshold, CusumConfig().threshold);
  EXPECT_EQ(schema::CusumT().min_samples, CusumConfig().min_samples);
  EXPECT_EQ(schema::HddmAT().alarm_confidence, HddmAConfig().alarm_confidence);
  EXPECT_EQ(schema::HddmAT().warning_confidence, HddmAConfig().warning_confidence);
  EXPECT_EQ(schema::IntervalsT().coverage, ConformalConfig().coverage);
  EXPECT_EQ(schema::IntervalsT().window, ConformalConfig().window);
}

}  // namespace
}  // namespace dipper::learn
