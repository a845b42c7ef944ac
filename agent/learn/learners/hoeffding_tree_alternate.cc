// Watching for branches that went stale, and the trees that take their place; see hoeffding_tree_branches.h.
#include <cmath>

#include "agent/learn/learners/hoeffding_tree_branches.h"

namespace dipper::learn::tree {
namespace {

// Watching for stale branches, in labels: what is recent, what is ordinary, and how often to look.
constexpr float kRecent = 200;
constexpr float kOrdinary = 5000;
constexpr float kLookEvery = 32;
constexpr double kStaleDeviations = 3;    // recent above ordinary error that starts an alternate
constexpr double kReplaceDeviations = 2;  // of the errors' difference that decides between the two

void Average(float* mean, float value, float count, float horizon) {
  *mean += (value - *mean) / (count < horizon ? count : horizon);
}

/// The alternate's nodes become the node's own.
void Promote(const View& view, uint32_t at) {
  const uint32_t alternate = view.nodes[at].alternate;
  view.nodes[at].alternate = kNone;
  FellBelow(view, at);
  VisitBelow(view, alternate, [&](uint32_t below) { view.nodes[below].beside = 0; });
  Node& node = view.nodes[at];
  const Node place = node;
  node = view.nodes[alternate];
  node.parent = place.parent;
  view.monitors[at] = Monitor{};
  if (node.kind == NodeKind::kLeaf) {
    view.model(node.model)->owner = at;
    if (node.stats != kNone) view.stats_head(node.stats)->owner = at;
  } else {
    view.nodes[node.left].parent = at;
    view.nodes[node.left + 1].parent = at;
  }
  GivePair(view, alternate);
  view.header->tree_count -= 1;
}

}  // namespace

bool Watch(const View& view, uint32_t at, float share) {
  Monitor& monitor = view.monitors[at];
  monitor.labels = monitor.labels < kOrdinary ? monitor.labels + 1.0F : kOrdinary;
  Average(&monitor.recent, share, monitor.labels, kRecent);
  Average(&monitor.ordinary, share, monitor.labels, kOrdinary);
  monitor.until_look += 1.0F;
  if (monitor.until_look < kLookEvery) return false;
  monitor.until_look = 0;
  const double ordinary = static_cast<double>(monitor.ordinary);
  // A faded mean over the horizon has the variance of one over twice as many labels.
  const double deviation = std::sqrt(ordinary * (1.0 - ordinary) / (2.0 * static_cast<double>(kRecent)));
  return monitor.labels >= 2.0F * kRecent &&
         static_cast<double>(monitor.recent) > ordinary + kStaleDeviations * deviation;
}

void StartAlternate(const View& view, const GrowConfig& config, uint32_t at, uint32_t leaf) {
  if (view.nodes[at].beside != 0 || !HasRoom(view, config)) return;
  // The leaf may have split while it learned; its children have copies of its model.
  const uint32_t model = view.nodes[leaf].kind == NodeKind::kLeaf ? view.nodes[leaf].model
                                                                  : view.nodes[view.nodes[leaf].left].model;
  const uint32_t alternate = Plant(view, config, model);
  if (alternate == kNone) return;
  view.nodes[alternate].parent = at;
  view.nodes[alternate].depth = view.nodes[at].depth;
  view.nodes[alternate].beside = 1;
  view.nodes[at].alternate = alternate;
  view.monitors[at].alternate_error = 0;
  view.monitors[at].alternate_labels = 0;
}

void LearnAlternate(const View& view, const GrowConfig& config, uint32_t at, const Sample& sample, double y,
                    double weight) {
  Monitor& monitor = view.monitors[at];
  const uint32_t alternate = view.nodes[at].alternate;
  const double loss = LearnLeaf(view, config, FindLeaf(view, alternate, sample.x), sample, y, weight);
  monitor.alternate_labels += 1.0F;
  Average(&monitor.alternate_error, static_cast<float>(LossShare(view, loss)), monitor.alternate_labels,
          kRecent);
  if (monitor.until_look > 0.0F || monitor.alternate_labels < kRecent) return;
  const double gap = static_cast<double>(monitor.recent) - static_cast<double>(monitor.alternate_error);
  const double error = static_cast<double>(monitor.recent);
  const double bound = kReplaceDeviations * std::sqrt(error * (1.0 - error) / static_cast<double>(kRecent));
  if (gap > bound) {
    Promote(view, at);
  } else if (gap < -bound || monitor.alternate_labels >= kOrdinary) {
    Fell(view, alternate);
    view.nodes[at].alternate = kNone;
    // What is recent is ordinary now; else the next look would start another one.
    monitor.ordinary = monitor.recent;
    monitor.alternate_error = 0;
    monitor.alternate_labels = 0;
  }
}

}  // namespace dipper::learn::tree
