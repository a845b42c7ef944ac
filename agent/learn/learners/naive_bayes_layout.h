// How naive Bayes lies in its memory. Internal to naive_bayes*. Not thread-safe.
//
//   Head | ClassHead[C] | overall count[S], mean[S], variance[S], low[S], high[S]
//        | per class: count[S], mean[S], variance[S], inverse[S]
//        | per nominal input: counts[1 + categories + 1][C]: of all values, then of each, "other" last; one
//          zero at the end if that makes the doubles even
//
// C = classes, S = numeric inputs rounded up to 2; all arrays are doubles. Under fading the weights of new
// labels grow instead of the old ones' shrinking; all are scaled back together now and then.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "agent/learn/learners/naive_bayes.h"
#include "agent/learn/math/place.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn::bayes {

inline constexpr uint32_t kMaxInputs = 512;
inline constexpr uint32_t kMaxClasses = 64;
inline constexpr uint32_t kMaxCategories = 1024;
inline constexpr double kLargestInput = 1e30;
// Observations of the overall variance, and of each value of a nominal input, that a class begins with.
inline constexpr double kPriorCount = 1.0;
// Where faded weights are scaled back; far from the ends of double even times a squared input.
inline constexpr double kUnitLimit = 0x1p200;
inline constexpr double kLargestCount = 1e90;
inline constexpr double kLargestLogScale = 1e6;
inline constexpr double kLeastTemper = 1e-3, kLargestTemper = 2.0;

/// Four at a time: this is asked for every sample.
inline bool AllZero(std::span<const uint16_t> categories) {
  uint64_t any = 0;
  size_t i = 0;
  for (; i + 4 <= categories.size(); i += 4) {
    uint64_t four;
    std::memcpy(&four, categories.data() + i, sizeof four);
    any |= four;
  }
  for (; i < categories.size(); ++i) any |= categories[i];
  return any == 0;
}

inline uint32_t NumericInputs(const NaiveBayesConfig& config) {
  if (AllZero(config.categories)) return config.inputs;
  uint32_t count = 0;
  for (const uint16_t categories : config.categories) count += categories == 0 ? 1 : 0;
  return count;
}

/// Which value of a nominal input `x` is: 0 .. categories - 1, or categories for any other.
inline uint32_t NominalValue(float x, uint32_t categories) {
  const double value = static_cast<double>(x);
  return value >= 0.0 && value < static_cast<double>(categories) ? SaturatingToInt<uint32_t>(value)
                                                                 : categories;
}

// Doubles of one nominal input's counts.
inline uint64_t CountsOf(uint32_t categories, uint32_t classes) {
  return (uint64_t{categories} + 2) * classes;
}

inline uint64_t NominalDoubles(const NaiveBayesConfig& config) {
  uint64_t doubles = 0;
  for (const uint16_t categories : config.categories)
    doubles += categories == 0 ? 0 : CountsOf(categories, config.outputs);
  return base::AlignUp(doubles, 2);
}

struct Head {
  uint64_t labels;
  double unit;    // weight of one label now
  double weight;  // of all labels
  double doubt;   // share of the answer that is spread over all classes
  double temper;  // what the inputs' evidence counts, 1 if they were independent
  // 1: a value was missing once. Until then every input's count is the weight of the class (or of all
  // labels), and 0 is kept for it.
  uint64_t gaps;
};
static_assert(sizeof(Head) == 48);

struct ClassHead {
  double weight;
  double log_scale;  // logarithm of the product of the inverse deviations
};
static_assert(sizeof(ClassHead) == 16);

/// Pointers into one learner's memory. `View` on const bytes is only ever read.
struct View {
  Head* head;
  ClassHead* classes;
  uint64_t numeric;  // inputs
  uint64_t stride;   // the same, even
  double* overall;   // count, mean, variance, low, high
  double* moments;   // per class: count, mean, variance, inverse
  double* nominal;
  bool mixed;  // there are nominal inputs

  View(const NaiveBayesConfig& config, uint8_t* memory)
      : head(PlaceOf<Head>(memory)),
        classes(PlaceOf<ClassHead>(memory + sizeof(Head))),
        numeric(NumericInputs(config)),
        stride(base::AlignUp(numeric, 2)),
        overall(PlaceOf<double>(memory + sizeof(Head) + config.outputs * sizeof(ClassHead))),
        moments(overall + 5 * stride),
        nominal(moments + 4 * stride * config.outputs),
        mixed(numeric != config.inputs) {}
  double* class_moments(uint32_t index) const { return moments + 4 * stride * index; }
};

}  // namespace dipper::learn::bayes
