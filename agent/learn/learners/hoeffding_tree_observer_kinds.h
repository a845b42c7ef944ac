// The two kinds of observers behind hoeffding_tree_observer.h: of classes (Gaussians and counts) and of
// values (histograms). Internal to hoeffding_tree_observer*. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/learn/learners/hoeffding_tree_observer.h"

namespace dipper::learn::tree {

inline double Wide(float x) { return static_cast<double>(x); }

inline constexpr float kLeastShare = 0.01F;  // weight that each side of a split must have

// Classification, in hoeffding_tree_observer_classes.cc.
void StartClasses(const View& view, StatsHead* stats);
void ObserveClass(const View& view, StatsHead* stats, const Sample& sample, uint32_t label, double weight);
Candidate BestClassSplit(const View& view, StatsHead* stats, uint32_t column);
void InheritClasses(const View& view, StatsHead* child, const Candidate& split, uint32_t side);

// Regression, in hoeffding_tree_observer_values.cc.
void StartValues(const View& view, StatsHead* stats);
void ObserveValue(const View& view, StatsHead* stats, std::span<const float> x, double y, double weight);
Candidate BestValueSplit(const View& view, StatsHead* stats, uint32_t column);
void InheritRanges(const View& view, StatsHead* parent, StatsHead* child, const Candidate& split,
                   uint32_t side);

}  // namespace dipper::learn::tree
