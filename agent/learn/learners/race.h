// Race: blends the answers of several learners by how well each did, so that the wrong choice costs little.
// Weights follow the fixed-share forecaster (Herbster and Warmuth, "Tracking the best expert", Machine
// Learning 32, 1998) on clipped losses; late labels update when they come, from the answers of their time
// (Joulani, Gyorgy and Szepesvari, "Online learning under delayed feedback", ICML 2013). The bound and its
// conditions: docs/reference/learners.md. A view over caller memory; state is a pure function of the calls.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/image/limits.h"

namespace dipper::learn {

struct RaceConfig {
  uint32_t members = 0;  ///< 1 .. kMaxRaceMembers
  uint32_t outputs = 1;  ///< classes (2 .. 64), or 1 for regression
  bool classification = true;
  double share = 0.001;  ///< of the weight spread anew over all members with each label, 0 .. 0.5
};

class Race {
 public:
  static base::Result<uint64_t> StateBytes(const RaceConfig& config);
  static base::Status Create(const RaceConfig& config, base::MutableBytes memory);
  static base::Status Validate(const RaceConfig& config, base::ByteView memory);
  Race(const RaceConfig& config, base::MutableBytes memory) : config_(config), memory_(memory.data()) {}

  /// The weighted mean of the members' answers. In regression an answer further from the targets seen than
  /// their own range counts as being there, so that a member of little weight cannot move the blend far.
  /// @param answers  members * outputs: probabilities or a value of each member.
  /// Cost: O(members * outputs), no heap.
  void Blend(std::span<const double> answers, std::span<double> out) const;

  /// Moves the weights by the losses of answers given at their time: clipped log loss, or squared error over
  /// its running scale. y: class index, or the target; weight finite and >= 0, 0 changes nothing.
  /// @param late  labels learned since the answers were given. Rate and share shrink to 1 / (1 + late) of
  ///              theirs, as if so many races took turns, each with prompt labels (Joulani et al., section
  ///              3).
  void Learn(std::span<const double> answers, double y, double weight, uint64_t late);

  double weight(uint32_t member) const;  ///< sum 1
  double loss(uint32_t member) const;    ///< faded mean of its clipped losses, 0 .. 1

 private:
  struct State;
  State& state() const;
  double Tame(double value) const;

  RaceConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
