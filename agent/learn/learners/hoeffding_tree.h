// Hoeffding tree in one fixed pool (VFDT: Domingos and Hulten, "Mining high-speed data streams", KDD 2000). A
// leaf answers by majority or mean, naive Bayes (Pfahringer, Holmes and Kirkby, PAKDD 2008) or a linear
// model, whichever erred least lately; a regression leaf splits by the residuals of its linear model (model
// trees: Ikonomovska, Gama and Dzeroski, DMKD 23, 2011), which learns by recursive least squares. A child
// begins with what its parent knew. Split nodes watch their errors: where they have risen an alternate branch
// grows, which takes the place of the old one when it errs less (Bifet and Gavalda, "Adaptive learning from
// evolving data streams", IDA 2009). In a full pool the leaves that err least lose their split statistics to
// those that err most, and a pair of leaves that is hardly visited any more makes room for a split where
// labels do come; it never fails. A view over caller memory; state is a pure function of the calls. Not
// thread-safe. Layout: hoeffding_tree_layout.h.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct HoeffdingTreeConfig {
  uint32_t inputs = 0;   ///< 1 .. 512
  uint32_t outputs = 1;  ///< classes (2 .. 64), or 1 for regression
  bool classification = true;
  std::span<const uint16_t> categories;  ///< per input: 0 = numeric, n <= 1024 = nominal 0 .. n - 1 and n =
                                         ///< other; empty = all numeric
  uint64_t pool_bytes = 262144;          ///< whole state; StateBytes is this rounded down to 16
  uint32_t grace_labels = 200;           ///< weight a leaf collects between two split attempts, >= 1
  double delta = 1e-7;                   ///< 1 - confidence of a split, in (0, 1)
  double tie = 0.05;        ///< Hoeffding bound below which the best candidate wins anyway, 0 .. 1
  uint32_t max_depth = 20;  ///< 1 .. 64; a leaf at this depth never splits
  bool adaptive = true;     ///< replaces branches that went stale
};

class HoeffdingTree {
 public:
  /// kInvalidArgument: config out of range; kResourceExhausted: the pool cannot hold a root and two leaves.
  static base::Result<uint64_t> StateBytes(const HoeffdingTreeConfig& config);
  static base::Status Create(const HoeffdingTreeConfig& config, base::MutableBytes memory);
  /// kDataLoss unless every index is in range, every node is reached exactly once, counts agree and numbers
  /// are finite. Cost: O(pool), no heap.
  static base::Status Validate(const HoeffdingTreeConfig& config, base::ByteView memory);
  HoeffdingTree(const HoeffdingTreeConfig& config, base::MutableBytes memory);

  /// Class probabilities (sum 1; uniform before the first label) or the value. x: `inputs` floats, NaN =
  /// missing, which follows the branch that had more weight when the node split. out: `outputs` doubles.
  /// Cost: O(depth + inputs * outputs).
  void Predict(std::span<const float> x, std::span<double> out) const;

  /// Learns one label. y: class index < outputs, or a finite target; weight finite and >= 0, 0 learns
  /// nothing. stored_out is what Predict gave for these inputs; the leaves judge their predictors afresh and
  /// do not need it. Cost: O(depth + inputs * outputs); every grace_labels a split attempt, about ten to
  /// twenty times that.
  void Learn(std::span<const float> x, std::span<const double> stored_out, double y, double weight);

  /// Why Predict answers what it does for class `output` (regression: 0). terms: inputs + 2 places.
  /// terms[i]: what the splits by input i on the way to the leaf moved the answer (Saabas 2014; see
  /// hoeffding_tree_explain.h); terms[inputs]: the mean of all labels in the tree; terms[inputs + 1]: what
  /// the leaf's naive Bayes or linear model adds to the leaf's mean. Their sum is Predict's answer. Cost:
  /// O(nodes * outputs), no heap, 5 KiB of stack.
  void Contributions(std::span<const float> x, uint32_t output, std::span<double> terms) const;
  /// Adds `share` times that to `terms`.
  void AddContributions(std::span<const float> x, uint32_t output, double share,
                        std::span<double> terms) const;

  /// Which inputs the splits are by: the entropy or variance that they take away on the labels that their
  /// branches hold, each weighted by these; sum 1, or all 0 before the first split. What the models in the
  /// leaves use does not count. Cost: O(nodes * (depth + outputs)), no heap.
  void Importance(std::span<double> out) const;

  uint32_t node_count() const;       ///< those of alternates too, as all counts
  uint32_t alternate_count() const;  ///< branches growing beside stale ones
  uint32_t leaf_count() const;
  uint32_t active_leaf_count() const;  ///< leaves that hold split statistics
  uint32_t max_leaf_count() const;

 private:
  HoeffdingTreeConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
