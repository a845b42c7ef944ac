// Adaptive random forest in one fixed pool (Gomes et al., "Adaptive random forests for evolving data stream
// classification", Machine Learning 106, 2017; regression: Gomes et al., "Adaptive random forest regression
// for data streams", ESANN 2018). Every tree learns each label with a Poisson weight (Oza and Russell 2001),
// watches a random subset of the inputs in each leaf, and has a change detector on its own error: a warning
// starts a background tree, an alarm puts that tree in the place of the old one. Votes are weighted by recent
// performance. All trees, background ones too, take their nodes and leaves from one pool and give them back;
// a full pool never fails. A view over caller memory; state (random numbers included) is a pure function of
// the calls. Not thread-safe. Layout: adaptive_forest_layout.h.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct AdaptiveForestConfig {
  uint32_t inputs = 0;   ///< 1 .. 512
  uint32_t outputs = 1;  ///< classes (2 .. 64), or 1 for regression
  bool classification = true;
  std::span<const uint16_t> categories;  ///< per input: 0 = numeric, n <= 1024 = nominal 0 .. n - 1 and n =
                                         ///< other; empty = all numeric
  uint64_t pool_bytes = 262144;          ///< whole state; StateBytes is this rounded down to 16
  uint32_t trees = 10;                   ///< 1 .. 64
  double lambda = 6;                     ///< mean of the Poisson weights, in (0, 16]
  uint32_t subspace = 0;  ///< inputs that a leaf may split by; 0: sqrt(inputs) + 1, or 60 % for regression
  uint64_t seed = 0;
  uint32_t grace_labels = 50;  ///< weight a leaf collects between two split attempts, >= 1
  double delta = 0.01;         ///< 1 - confidence of a split, in (0, 1)
  double tie = 0.05;           ///< Hoeffding bound below which the best candidate wins anyway, 0 .. 1
  uint32_t max_depth = 20;     ///< 1 .. 64
};

class AdaptiveForest {
 public:
  /// kInvalidArgument: config out of range; kResourceExhausted: the pool cannot hold two leaves per tree.
  static base::Result<uint64_t> StateBytes(const AdaptiveForestConfig& config);
  static base::Status Create(const AdaptiveForestConfig& config, base::MutableBytes memory);
  static base::Status Validate(const AdaptiveForestConfig& config, base::ByteView memory);
  AdaptiveForest(const AdaptiveForestConfig& config, base::MutableBytes memory);

  /// Class probabilities (sum 1; uniform before the first label) or the value.
  void Predict(std::span<const float> x, std::span<double> out) const;

  /// Learns one label; see HoeffdingTree::Learn. Cost: that of `trees` trees, of twice as many while all have
  /// background trees.
  void Learn(std::span<const float> x, std::span<const double> stored_out, double y, double weight);

  /// The mean of the trees' contributions, weighted by their votes; places and costs of all trees as
  /// HoeffdingTree::Contributions. The sum is Predict's answer.
  void Contributions(std::span<const float> x, uint32_t output, std::span<double> terms) const;
  /// Adds `share` times that to `terms`.
  void AddContributions(std::span<const float> x, uint32_t output, double share,
                        std::span<double> terms) const;

  /// That of the trees together, weighted by their votes; see HoeffdingTree::Importance.
  void Importance(std::span<double> out) const;

  uint32_t tree_count() const;
  uint32_t background_count() const;
  uint32_t node_count() const;  ///< of all trees
  uint32_t leaf_count() const;
  uint32_t max_leaf_count() const;
  uint64_t warnings() const;
  uint64_t drifts() const;  ///< trees replaced

 private:
  AdaptiveForestConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
