// Linear models learned by stochastic gradients: logistic and softmax classification; squared, Huber and
// quantile regression. Optimizers:
//   autostep  every coordinate tunes its own rate from the correlation of its gradients (Mahmood, Sutton,
//             Degris and Pilarski, "Tuning-free step-size adaptation", ICASSP 2012, table 1, with the loss's
//             curvature), so that a drifting stream is followed and a stable one averaged; the default;
//   sgd       one rate;
//   adagrad   rates that fall with the coordinate's squared gradients (Duchi, Hazan and Singer, "Adaptive
//             subgradient methods", JMLR 12, 2011, figure 1, diagonal);
//   ftrl      FTRL-Proximal (McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013,
//             algorithm 1): l1 gives weights that are exactly 0.
// A step never overshoots its own sample (the sum of rate times squared input is bounded), so nothing
// diverges. Regression targets are standardised inside. Missing inputs contribute 0. A view over caller
// memory; state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct LinearRow;

enum class LinearLoss : uint8_t { kLogistic = 0, kSoftmax = 1, kSquared = 2, kHuber = 3, kQuantile = 4 };
enum class LinearOptimizer : uint8_t { kAutostep = 0, kSgd = 1, kAdagrad = 2, kFtrl = 3 };

struct LinearConfig {
  uint32_t inputs = 0;   ///< 1 .. 512
  uint32_t outputs = 1;  ///< classes (2 .. 64; logistic: 2), or 1 for regression
  LinearLoss loss = LinearLoss::kLogistic;
  double rate = 0.05;  ///< first (autostep), only (sgd) or largest (adagrad; ftrl: alpha) step, in (0, 1]
  double l2 = 0;       ///< weight decay per step, relative to the rate (ftrl: lambda2), 0 .. 1
  LinearOptimizer optimizer = LinearOptimizer::kAutostep;
  double l1 = 0;           ///< pull to 0 per step, relative to the rate (ftrl: lambda1, over all), 0 .. 1000
  double huber_delta = 1;  ///< residuals beyond it count linearly, in deviations of the target, 0.001 .. 5
  double quantile = 0.5;   ///< that the quantile loss learns, 0.001 .. 0.999
  /// Labels that are usually learned between an observation and its own label, 0 .. 1,000,000. With autostep
  /// and classes, rates are then judged by steps that the prediction could know.
  uint32_t delay = 0;
};

class Linear {
 public:
  static base::Result<uint64_t> StateBytes(const LinearConfig& config);
  static base::Status Create(const LinearConfig& config, base::MutableBytes memory);
  static base::Status Validate(const LinearConfig& config, base::ByteView memory);
  Linear(const LinearConfig& config, base::MutableBytes memory) : config_(config), memory_(memory.data()) {}

  /// Class probabilities (sum 1; uniform before the first label) or the value. Cost: O(inputs * outputs), no
  /// heap, 4.2 KiB of stack.
  void Predict(std::span<const float> x, std::span<double> out) const;

  /// One gradient step from the stored inputs and outputs. y: class index < outputs, or a finite target;
  /// weight finite and >= 0. Cost: O(inputs * outputs), no heap, 4.2 KiB of stack.
  void Learn(std::span<const float> x, std::span<const double> stored_out, double y, double weight);

  /// What each input adds to the answer: terms[i] = weight of input i times x[i], the bias last (inputs + 1
  /// places). Their sum is the answer on the link's scale: log odds of class `output` against the other one
  /// (logistic), its score before normalisation (softmax), or the value in the target's unit. Missing inputs
  /// add 0.
  void Contributions(std::span<const float> x, uint32_t output, std::span<double> terms) const;

  /// How far the answer moves, on the link's scale, when input i moves by 1, which behind a standard scaler
  /// is one deviation: |weight|, for softmax the mean over the classes of its distance from the class mean,
  /// for regression in the target's unit. Comparable between inputs only if all are scaled alike.
  void Importance(std::span<double> out) const;

  /// Lets every coordinate learn at least as fast as at its start (autostep, adagrad), from the weights it
  /// has.
  void RaiseRate();

 private:
  struct Head;
  struct Pull;
  Head& head() const;
  LinearRow row(uint32_t index) const;
  void PredictSoftmax(std::span<const float> x, std::span<double> out) const;
  void Step(uint32_t row, double* x, double error, double curvature, double weight);
  Pull TargetPull(double y, double stored);
  void HoldTraces();

  const LinearConfig& config_;  // outlives the view: a copy would cost as much as the work
  uint8_t* memory_;
};

}  // namespace dipper::learn
