// See hoeffding_tree_observer.h; the observers: hoeffding_tree_observer_classes.cc and _values.cc.
#include "agent/learn/learners/hoeffding_tree_observer.h"

#include <cstring>

#include "agent/learn/learners/hoeffding_tree_observer_kinds.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn::tree {

void StartStats(const View& view, StatsHead* stats) {
  if (view.classification()) {
    StartClasses(view, stats);
  } else {
    StartValues(view, stats);
  }
}

void Observe(const View& view, StatsHead* stats, const Sample& sample, double y, double weight) {
  if (view.classification()) {
    ObserveClass(view, stats, sample, SaturatingToInt<uint32_t>(y), weight);
  } else {
    ObserveValue(view, stats, sample.x, y, weight);
  }
  stats->weight += weight;
}

Candidate BestSplit(const View& view, StatsHead* stats, uint32_t column) {
  return view.classification() ? BestClassSplit(view, stats, column) : BestValueSplit(view, stats, column);
}

void InheritStats(const View& view, StatsHead* parent, StatsHead* child, const Candidate& split,
                  uint32_t side) {
  if (!view.classification()) {
    InheritRanges(view, parent, child, split, side);
    return;
  }
  if (child != parent) std::memcpy(child + 1, parent + 1, view.header->stats_bytes - sizeof(StatsHead));
  InheritClasses(view, child, split, side);
}

}  // namespace dipper::learn::tree
