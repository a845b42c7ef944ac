// k nearest neighbours over a window of the last labelled samples (Fix and Hodges, "Discriminatory analysis:
// nonparametric discrimination", 1951; Cover and Hart, "Nearest neighbor pattern classification", IEEE Trans.
// Inf. Theory 13, 1967), by default weighted by the inverse of the squared distance (Dudani, "The distance-
// weighted k-nearest-neighbor rule", IEEE Trans. SMC 6, 1976; Shepard, ACM National Conference 1968). Exact:
// every row of the window is compared, eight at a time. Classification by vote, regression by mean. Inputs
// should be standardised; a missing input counts as 0, the mean. A view over caller memory; state is a pure
// function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct KnnConfig {
  uint32_t inputs = 0;   ///< 1 .. 512
  uint32_t outputs = 1;  ///< classes (2 .. 64), or 1 for regression
  bool classification = true;
  uint32_t neighbors = 10;      ///< 1 .. 64
  bool by_distance = true;      ///< nearer neighbours count more; false: all alike
  uint32_t window = 0;          ///< labelled samples kept, up to 2^24; 0: what fits into pool_bytes
  uint64_t pool_bytes = 65536;  ///< whole state, rounded down to 16; with a window given, its upper bound
};

class Knn {
 public:
  /// kInvalidArgument: config out of range; kResourceExhausted: the pool cannot hold the window, or not
  /// `neighbors` rows.
  static base::Result<uint64_t> StateBytes(const KnnConfig& config);
  static base::Status Create(const KnnConfig& config, base::MutableBytes memory);
  static base::Status Validate(const KnnConfig& config, base::ByteView memory);
  Knn(const KnnConfig& config, base::MutableBytes memory) : config_(config), memory_(memory.data()) {}

  /// Class probabilities (sum 1; uniform before the first label) or the value (0 before the first label).
  /// Neighbours of equal distance: the newer one is nearer. The greatest probability is that of the class
  /// with most votes, of equals that of the nearest neighbour among them. Cost: O(rows * inputs), no
  /// heap, 3.2 KiB of stack.
  void Predict(std::span<const float> x, std::span<double> out) const;

  /// Puts the labelled sample into the window in place of the oldest. y: class index < outputs, or a finite
  /// target; weight finite and >= 0: its votes, 0 learns nothing. stored_out is not needed. Cost: O(inputs).
  void Learn(std::span<const float> x, std::span<const double> stored_out, double y, double weight);

  uint32_t rows() const;      ///< labelled samples in the window
  uint32_t capacity() const;  ///< rows that it can hold

 private:
  KnnConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
