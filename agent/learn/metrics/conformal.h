// Online conformal intervals (regression) and sets (classification) that keep their coverage under drift:
// DtACI, dynamically-tuned adaptive conformal inference (Gibbs and Candes, "Conformal inference for online
// prediction with arbitrary distribution shifts", JMLR 25, 2024, algorithm 1) on the last W scores. Eight
// experts each follow the miscoverage with a step size of their own; their levels are averaged by
// exponential weights on the pinball loss, with a fixed share.
//
// Score: |y - answer| (regression) or 1 - p(y) (classification). Interval: answer -+ radius. Set: the classes
// with p >= 1 - radius. The model asks for Issue() when it answers, keeps that one double with the sample,
// and hands it back with the label: coverage is counted for what was issued then, however late the label
// comes. The experts see each score as it comes, against the window of that moment, which is the paper's
// algorithm when labels are prompt; their feedback must not wait, or large steps would swing. What late
// labels miss more than that (or less) moves a factor on the radius, by steps of at most 2 / lateness. A view
// over caller memory; state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct ConformalConfig {
  double coverage = 0.9;  ///< share of labels that intervals or sets shall hold, 0.5 .. 0.999
  uint32_t window = 256;  ///< scores kept, 32 .. 1024, and enough for (window + 1) (1 - coverage) >= 1
  double fading = 0.999;  ///< factor per label of the faded figures, in (0, 1]
};

class Conformal {
 public:
  /// What Issue() answers instead of a radius while no finite one will do: too few scores yet, or more misses
  /// lately than the largest score of the window can make up for. The interval is the whole line, the set
  /// every class.
  static constexpr double kUnbounded = -1.0;
  static constexpr bool Unbounded(double issued) { return issued < 0.0; }

  /// How one label compares with what was issued for it.
  struct Outcome {
    double width = 0;  ///< of the interval, or size of the set; 0 if unbounded
    bool covered = false;
    bool unbounded = false;
  };
  /// Everything that can be read; ratios are the canonical NaN while undefined.
  struct Summary {
    uint64_t labels = 0;        ///< of positive weight
    double coverage = 0;        ///< share of the weight that was covered, unbounded included
    double width = 0;           ///< mean of the bounded ones
    double unbounded = 0;       ///< share of the weight that was unbounded
    double faded_coverage = 0;  ///< the same with fading memory
    double faded_width = 0;
    double faded_unbounded = 0;
    double radius = 0;  ///< what would be issued now: a radius or kUnbounded
    double level = 0;   ///< miscoverage the window is asked for now, 1 - coverage at first
  };

  static base::Result<uint64_t> StateBytes(const ConformalConfig& config);
  static base::Status Create(const ConformalConfig& config, base::MutableBytes memory);
  static base::Status Validate(const ConformalConfig& config, base::ByteView memory);
  Conformal(const ConformalConfig& config, base::MutableBytes memory);

  /// Radius for an answer given now, >= 0, or kUnbounded. Always finite. Cost: O(1).
  double Issue() const;

  /// Classes of the set for `probabilities` (up to 64), bit c for class c.
  static uint64_t Set(std::span<const double> probabilities, double issued);

  /// Scores an interval issued around `answer`. All finite; weight >= 0, 0 changes nothing. The weight counts
  /// in the figures; the score enters the window once.
  /// @param issued  Issue() at the time of the answer.
  /// @param late    labels that were scored here since then; 0: prompt.
  /// Cost: W / 8 compares and moving up to 4 W bytes.
  Outcome UpdateValue(double answer, double actual, double issued, uint64_t late, double weight);

  /// Scores a set issued for `probabilities`, as stored; `actual` < their number.
  Outcome UpdateClass(std::span<const double> probabilities, uint32_t actual, double issued, uint64_t late,
                      double weight);

  Summary Read() const;

 private:
  struct State;
  State& state() const;
  float* ring() const;
  float* sorted() const;
  double Level() const;
  double Radius(double level) const;
  void Count(const Outcome& outcome, double weight);
  void Correct(float score, const Outcome& outcome, uint64_t late);
  void Learn(float score);
  void Follow(double rank);
  void Keep(float score, uint32_t in);

  ConformalConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
