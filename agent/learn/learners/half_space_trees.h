// Unsupervised anomaly scores by half-space trees (Tan, Ting and Liu, "Fast anomaly detection for streaming
// data", IJCAI 2011): random trees cut the input space, and a sample is anomalous where little mass lies in
// much volume. Unlike there, nothing is known of the inputs' ranges: every tree in turn is drawn anew
// from a fading sample of rows (Vitter, ACM TOMS 11, 1985; Aggarwal, VLDB 2006), in a measure of the whole
// axis, so that neither scale nor drift nor a wild value spoils it; a cell is cut where its rows are, as in
// isolation forests (Liu, Ting and Zhou, ICDM 2008). A view over caller memory; state is a pure function of
// the calls. Not thread-safe. Layout: half_space_layout.h.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct HalfSpaceTreesConfig {
  uint32_t inputs = 0;                   ///< 1 .. 4096
  std::span<const uint16_t> categories;  ///< per input: 0 = numeric, n <= 1024 = nominal 0 .. n - 1 and n =
                                         ///< other; empty = all numeric
  uint64_t pool_bytes = 262144;          ///< whole state; StateBytes is this rounded down to 16
  uint32_t trees = 0;                    ///< 1 .. 256; 0 = up to 40, as the pool allows
  uint32_t depth = 0;                    ///< cuts on a path at most, 1 .. 32; 0 = log2(nodes of a tree) + 4
  uint32_t window = 8192;  ///< samples after which every tree has been drawn anew, 64 .. 1048576
  uint64_t seed = 1;
};

class HalfSpaceTrees {
 public:
  /// kInvalidArgument: config out of range; kResourceExhausted: the pool cannot hold a useful tree.
  static base::Result<uint64_t> StateBytes(const HalfSpaceTreesConfig& config);
  static base::Status Create(const HalfSpaceTreesConfig& config, base::MutableBytes memory);
  /// kDataLoss unless every index is in range, every node is reached exactly once, numbers are finite and
  /// what is not in use is zero. Cost: O(pool), no heap.
  static base::Status Validate(const HalfSpaceTreesConfig& config, base::ByteView memory);
  HalfSpaceTrees(const HalfSpaceTreesConfig& config, base::MutableBytes memory);

  /// Raw score in [0, 1]: (8 - mean over the trees of log2(share of the mass * volume^-1/2)) / 32, so a 32nd
  /// is a halving; higher = more anomalous; 0 while cold(). x: `inputs` floats, magnitude up to 1e30, NaN =
  /// missing, which at every cut goes where more rows went. Cost: trees * depth steps, no heap.
  double Score(std::span<const float> x) const;

  /// Learns one sample. weight: finite and >= 0, 0 learns nothing, counted as 1e-6 .. 1e6. Cost: as Score,
  /// and every window / trees samples a tree is drawn: O(rows * depth), 30 to 90 us, no heap, up to 8 KiB of
  /// stack.
  void Learn(std::span<const float> x, double weight);

  /// Score, then Learn, in one walk: the same answer and state.
  double ScoreAndLearn(std::span<const float> x, double weight);

  bool cold() const;  ///< until 32 + trees samples: not every tree has been drawn once
  uint32_t tree_count() const;
  uint32_t node_limit() const;  ///< per tree

 private:
  HalfSpaceTreesConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
