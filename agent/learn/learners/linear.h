// Linear models learned by stochastic gradients: logistic and softmax classification, squared-loss
// regression. Adaptive: every coordinate tunes its own rate from the correlation of its gradients (Autostep:
// Mahmood, Sutton, Degris and Pilarski, "Tuning-free step-size adaptation", ICASSP 2012, with the logistic
// curvature for classification), so that a drifting stream is followed and a stable one averaged. A step
// never overshoots its own sample (the sum of rate times squared input is bounded), so nothing diverges.
// Regression targets are standardised inside. Missing inputs contribute 0. A view over caller memory; state
// is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

enum class LinearLoss : uint8_t { kLogistic = 0, kSoftmax = 1, kSquared = 2 };

struct LinearConfig {
  uint32_t inputs = 0;   ///< 1 .. 512
  uint32_t outputs = 1;  ///< classes (2 .. 64; logistic: 2), or 1 for squared
  LinearLoss loss = LinearLoss::kLogistic;
  double rate = 0.05;    ///< first (adaptive) or only step, in (0, 1]
  double l2 = 0;         ///< weight decay per step, relative to the rate, 0 .. 1
  bool adaptive = true;  ///< false: one fixed rate for all coordinates
};

class Linear {
 public:
  static base::Result<uint64_t> StateBytes(const LinearConfig& config);
  static base::Status Create(const LinearConfig& config, base::MutableBytes memory);
  static base::Status Validate(const LinearConfig& config, base::ByteView memory);
  Linear(const LinearConfig& config, base::MutableBytes memory) : config_(config), memory_(memory.data()) {}

  /// Class probabilities (sum 1; uniform before the first label) or the value. Cost: O(inputs * outputs), no
  /// heap.
  void Predict(std::span<const float> x, std::span<double> out) const;

  /// One gradient step from the stored inputs and outputs. y: class index < outputs, or a finite target;
  /// weight finite and >= 0. Cost: O(inputs * outputs), no heap, 4.2 KiB of stack.
  void Learn(std::span<const float> x, std::span<const double> stored_out, double y, double weight);

 private:
  struct Head;
  struct Row;
  Head& head() const;
  Row row(uint32_t index) const;
  void Step(const Row& row, const double* x, double error, double curvature, double weight);
  void StepAtOneRate(double* w, const double* x, double error, double curvature, double weight);
  double TargetError(double y, double stored);

  LinearConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
