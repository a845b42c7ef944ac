// Recursive least squares with exponential forgetting, the covariance kept as U D U' (Bierman, "Factorization
// Methods for Discrete Sequential Estimation", 1977, ch. V), so that it stays positive over any number of
// steps. Against wind-up under low excitation one unit direction a step gets a pseudo-observation of the
// prior's strength (cyclic regularisation: Gunnarsson, "Combining tracking and regularization in recursive
// least squares", CDC 1996). Classification: one regression on +-1 per class over one covariance, cut to
// probabilities. Missing inputs contribute 0. A view over caller memory; state is a pure function of the
// calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct RlsConfig {
  uint32_t inputs = 0;   ///< 1 .. 256; a constant input is added
  uint32_t outputs = 1;  ///< classes (2 .. 64), or 1 for regression
  bool classification = false;
  double forgetting = 0.99;     ///< weight of the past per label, 0.9 .. 1
  double regularization = 1.0;  ///< prior information per direction, > 0 .. 1e6
};

class Rls {
 public:
  static base::Result<uint64_t> StateBytes(const RlsConfig& config);
  static base::Status Create(const RlsConfig& config, base::MutableBytes memory);
  static base::Status Validate(const RlsConfig& config, base::ByteView memory);
  Rls(const RlsConfig& config, base::MutableBytes memory) : config_(config), memory_(memory.data()) {}

  /// Class probabilities (sum 1; uniform before the first label) or the value. Cost: O(inputs * outputs), no
  /// heap.
  void Predict(std::span<const float> x, std::span<double> out) const;

  /// One step from the stored inputs. y: class index < outputs, or a finite target; weight finite and >= 0.
  /// Cost: O(inputs^2 + inputs * outputs), no heap, up to 6.2 KiB of stack.
  void Learn(std::span<const float> x, std::span<const double> stored_out, double y, double weight);

  /// Adds `share` times: to terms[i] what input i adds to the answer (the value, or the probability of class
  /// `output`, which is a sum of the inputs' terms but for the cut to 0.005 .. 0.995), to terms[inputs] the
  /// bias' part, to terms[inputs + 1] what the cut takes away. Missing inputs add 0. Cost: O(inputs *
  /// outputs), no heap.
  void AddContributions(std::span<const float> x, uint32_t output, double share,
                        std::span<double> terms) const;

  /// out[i]: how far the answer moves when input i moves by 1, |weight|, of classes the mean.
  void Importance(std::span<double> out) const;

  /// Takes the covariance back to the prior and keeps the weights (covariance resetting: Goodwin, Teoh and
  /// Elliott, "Deterministic convergence of a self-tuning regulator with covariance resetting", IEE Proc. D
  /// 130, 1983), so that a change is followed at once.
  void RaiseRate();

 private:
  struct Head;
  struct Parts;
  Head& head() const;
  Parts parts() const;
  double Update(const double* x, double noise, double* gain);
  void Forget();

  RlsConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
