// The check of a pool's foreign bytes; see ValidatePool in hoeffding_tree_layout.h.
#include <cmath>
#include <cstring>

#include "agent/learn/learners/hoeffding_tree_layout.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn::tree {
namespace {

// Bounds that no learning reaches and within which none overflows.
constexpr double kMostWeight = 1e300;
constexpr double kMostMean = 1e31;
constexpr float kMostLinear = 1.1e32F;
constexpr float kMostObserved = 1.1e18F;
constexpr float kMostVariance = 1e37F;
constexpr float kLeastVariance = 0.9e-36F;
constexpr float kMostScale = 1.1e30F;

bool AllZero(base::ByteView bytes) {
  for (uint8_t byte : bytes) {
    if (byte != 0) return false;
  }
  return true;
}

template <typename T>
base::ByteView BytesOf(const T& value) {
  return {static_cast<const uint8_t*>(static_cast<const void*>(&value)), sizeof value};
}

bool InRange(double x, double most) { return x >= 0.0 && x <= most; }
bool NotNegative(float x) { return IsFinite(x) && x >= 0.0F; }
bool Within(float x, float most) { return x >= -most && x <= most; }

bool ValidTriples(const float* triples, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i, triples += 3) {
    if (!NotNegative(triples[0]) || !IsFinite(triples[1]) || !NotNegative(triples[2])) return false;
  }
  return true;
}

bool ValidGaussians(const View& view, StatsHead* head) {
  const PoolHeader& header = *view.header;
  const float* least = view.ranges(head);
  const float* greatest = least + header.stride;
  for (uint32_t i = 0; i < header.stride; ++i) {
    const bool empty = least[i] == kEmptyRange && greatest[i] == -kEmptyRange;
    const bool range = Within(least[i], kMostObserved) && Within(greatest[i], kMostObserved);
    if (!(empty || range) || !NotNegative(greatest[header.stride + i])) return false;
  }
  for (uint32_t c = 0; c < header.outputs; ++c) {
    if (!InRange(view.seen(head)[c], kMostWeight) || !(std::fabs(view.norm(head)[c]) <= 1e6)) return false;
    const bool seen = view.seen(head)[c] > 0.0;
    const float* mean = view.gaussians(head, c);
    for (uint32_t i = 0; i < header.stride; ++i) {
      const float variance = mean[header.stride + i];
      if (!Within(mean[i], kMostObserved) || !(variance >= (seen ? kLeastVariance : 0.0F)) ||
          !(variance <= kMostVariance))
        return false;
    }
  }
  return true;
}

bool ValidHistograms(const View& view, StatsHead* head) {
  const PoolHeader& header = *view.header;
  for (uint32_t i = 0; i < header.watched; ++i) {
    const uint32_t column = view.watched(head)[i];
    if (column >= header.numeric || (i > 0 && column <= view.watched(head)[i - 1])) return false;
    const float* histogram = view.histogram(head, i);
    if (!Within(histogram[0], 1e34F) || !NotNegative(histogram[1]) || !NotNegative(histogram[2]) ||
        !NotNegative(histogram[3]) || !ValidTriples(histogram + kHistogramHead, kBins))
      return false;
  }
  return true;
}

bool ValidNominal(const View& view, StatsHead* head) {
  const PoolHeader& header = *view.header;
  for (uint32_t i = header.numeric; i < header.inputs; ++i) {
    const Column& column = view.columns[i];
    const float* observer = view.nominal(head, column);
    if (header.classification == 0) {
      if (!ValidTriples(observer, column.categories + 1)) return false;
      continue;
    }
    for (uint32_t j = 0; j < (column.categories + 1) * header.outputs; ++j) {
      if (!NotNegative(observer[j])) return false;
    }
  }
  return true;
}

bool ValidStats(const View& view, uint32_t index) {
  StatsHead* head = view.stats_head(index);
  const PoolHeader& header = *view.header;
  if (head->owner == kNone) {  // free: its link is checked with the list
    return AllZero({view.stats + uint64_t{index} * header.stats_bytes, offsetof(StatsHead, owner)}) &&
           AllZero({view.stats + uint64_t{index} * header.stats_bytes + offsetof(StatsHead, seed),
                    header.stats_bytes - offsetof(StatsHead, seed)});
  }
  if (!InRange(head->weight, kMostWeight) || !InRange(head->inverse_scale, 1e40) || head->next != 0 ||
      head->reserved != 0)
    return false;
  if (head->owner >= 2 * header.pairs_used || view.nodes[head->owner].kind != NodeKind::kLeaf ||
      view.nodes[head->owner].stats != index)
    return false;
  return (header.classification != 0 ? ValidGaussians(view, head) : ValidHistograms(view, head)) &&
         ValidNominal(view, head);
}

bool ValidCovariance(const PoolHeader& header, const float* column) {
  if (header.classification != 0 || header.numeric + 1 > kMaxLeastSquares) return true;
  for (uint32_t j = 0; j <= header.numeric; column += ++j) {
    for (uint32_t i = 0; i < j; ++i) {
      if (!Within(column[i], 1.1e6F)) return false;
    }
    if (!(column[j] >= 0.9e-12F && column[j] <= 30.5F)) return false;
  }
  return true;
}

bool ValidModel(const View& view, uint32_t index) {
  ModelHead* head = view.model(index);
  const PoolHeader& header = *view.header;
  if (head->owner == kNone) {
    return AllZero({view.models + uint64_t{index} * header.model_bytes, offsetof(ModelHead, owner)}) &&
           AllZero({view.models + uint64_t{index} * header.model_bytes + sizeof(ModelHead),
                    header.model_bytes - sizeof(ModelHead)});
  }
  const double sums[] = {head->weight, head->next_check, head->mistakes,    head->visits,
                         head->square, head->base_error, head->bayes_error, head->linear_error};
  for (double sum : sums) {
    if (!InRange(sum, kMostWeight)) return false;
  }
  if (!(std::fabs(head->mean) <= kMostMean) || head->next != 0) return false;
  if (head->owner >= 2 * header.pairs_used || view.nodes[head->owner].kind != NodeKind::kLeaf ||
      view.nodes[head->owner].model != index)
    return false;
  for (uint32_t c = 0; header.classification != 0 && c < header.outputs; ++c) {
    if (!InRange(view.class_weights(head)[c], kMostWeight)) return false;
  }
  for (uint32_t i = 0; i < header.linear_rows * header.linear_width; ++i) {
    if (!Within(view.linear(head)[i], kMostLinear)) return false;
  }
  return ValidCovariance(header, view.covariance(head));
}

bool ValidMonitor(const Monitor& monitor) {
  for (float share : {monitor.recent, monitor.ordinary, monitor.alternate_error}) {
    if (!(share >= 0.0F && share <= 1.0F)) return false;
  }
  for (float count : {monitor.labels, monitor.until_look, monitor.alternate_labels}) {
    if (!(count >= 0.0F && count <= 1e6F)) return false;
  }
  return AllZero(BytesOf(monitor.reserved));
}

/// The fields of a node that say what it is, all links but that to its parent.
bool ValidNode(const View& view, uint32_t index, uint32_t max_depth) {
  const PoolHeader& header = *view.header;
  const Node& node = view.nodes[index];
  const uint32_t end = 2 * header.pairs_used;
  if (node.depth > max_depth || node.missing_right > 1 || node.beside > 1) return false;
  if (!ValidMonitor(view.monitors[index])) return false;
  if (node.kind == NodeKind::kLeaf) {
    if (node.left != 0 || node.input != 0 || node.categories != 0 || !AllZero(BytesOf(node.threshold)) ||
        node.missing_right != 0 || node.alternate != kNone)
      return false;
    if (node.model >= header.models_used || view.model(node.model)->owner != index) return false;
    return node.stats == kNone ||
           (node.stats < header.stats_used && view.stats_head(node.stats)->owner == index);
  }
  const bool nominal = node.kind == NodeKind::kNominal;
  if ((!nominal && node.kind != NodeKind::kNumeric) || node.model != kNone || node.stats != kNone)
    return false;
  if (!IsFinite(node.threshold) || (node.categories != 0) != nominal) return false;
  if (nominal && static_cast<float>(NominalValue(node.threshold, node.categories)) != node.threshold)
    return false;
  if (node.left % 2 != 0 || node.left >= end || view.nodes[node.left].parent != index) return false;
  if (node.alternate == kNone) return true;
  return node.beside == 0 && node.alternate % 2 == 0 && node.alternate < end && node.alternate != node.left &&
         view.nodes[node.alternate].parent == index;
}

bool ValidInput(const View& view, const Node& node) {
  for (uint32_t i = 0; i < view.header->inputs; ++i) {
    if (view.columns[i].input == node.input) return view.columns[i].categories == node.categories;
  }
  return false;
}

/// A node in the first place of a pair hangs below a node, beside one, or nowhere. The pair (beside, depth)
/// falls from each node to its parent, so no links form a cycle, and each node is reached from a root.
bool ValidPlace(const View& view, uint32_t pair, uint32_t* roots, uint32_t* alternates) {
  const Node& node = view.nodes[pair];
  const Node& second = view.nodes[pair + 1];
  const bool alone = AllZero(BytesOf(second)) && AllZero(BytesOf(view.monitors[pair + 1]));
  if (node.parent == kNone) {
    ++*roots;
    return alone && node.depth == 0 && node.beside == 0;
  }
  if (node.parent >= 2 * view.header->pairs_used) return false;
  const Node& parent = view.nodes[node.parent];
  if (parent.kind != NodeKind::kNumeric && parent.kind != NodeKind::kNominal) return false;
  if (node.beside == 1 && parent.beside == 0) {
    ++*alternates;
    return alone && parent.alternate == pair && node.depth == parent.depth;
  }
  return parent.left == pair && second.parent == node.parent && second.kind != NodeKind::kUnused &&
         node.depth == parent.depth + 1 && second.depth == node.depth && node.beside == parent.beside &&
         second.beside == node.beside;
}

bool ValidPairs(const View& view, uint32_t max_depth, std::span<const uint32_t> roots) {
  const PoolHeader& header = *view.header;
  uint32_t live = 0;
  uint32_t found = 0;
  uint32_t alternates = 0;
  for (uint32_t pair = 0; pair < 2 * header.pairs_used; pair += 2) {
    if (view.nodes[pair].kind == NodeKind::kUnused) {
      Node free = view.nodes[pair];
      free.left = 0;
      if (!AllZero(BytesOf(free)) || !AllZero(BytesOf(view.nodes[pair + 1])) ||
          !AllZero(BytesOf(view.monitors[pair])) || !AllZero(BytesOf(view.monitors[pair + 1])))
        return false;
      continue;
    }
    ++live;
    if (!ValidPlace(view, pair, &found, &alternates)) return false;
    for (uint32_t i = pair; i < pair + 2; ++i) {
      const Node& node = view.nodes[i];
      if (node.kind == NodeKind::kUnused) continue;
      if (!ValidNode(view, i, max_depth)) return false;
      if (node.kind != NodeKind::kLeaf && !ValidInput(view, node)) return false;
    }
  }
  uint32_t named = 0;
  for (size_t i = 0; i < roots.size(); ++i) {
    if (roots[i] == kNone) continue;
    ++named;
    if (roots[i] % 2 != 0 || roots[i] >= 2 * header.pairs_used || view.nodes[roots[i]].parent != kNone ||
        view.nodes[roots[i]].kind == NodeKind::kUnused)
      return false;
    for (size_t j = 0; j < i; ++j) {
      if (roots[j] == roots[i]) return false;
    }
  }
  return live == header.pair_count && found == named && header.tree_count == found + alternates;
}

/// Walks a list of free places: as many as there are, then the end.
template <typename Next>
bool ValidFreeList(uint32_t first, uint32_t count, Next next) {
  uint32_t at = first;
  for (uint32_t i = 0; i < count; ++i) {
    if (!next(&at)) return false;
  }
  return at == kNone;
}

bool ValidFreeLists(const View& view) {
  const PoolHeader& header = *view.header;
  const bool pairs =
      ValidFreeList(header.free_pair, header.pairs_used - header.pair_count, [&](uint32_t* at) {
        if (*at >= 2 * header.pairs_used || *at % 2 != 0 || view.nodes[*at].kind != NodeKind::kUnused)
          return false;
        *at = view.nodes[*at].left;
        return true;
      });
  const bool models =
      ValidFreeList(header.free_model, header.models_used - header.leaf_count, [&](uint32_t* at) {
        if (*at >= header.models_used || view.model(*at)->owner != kNone) return false;
        *at = view.model(*at)->next;
        return true;
      });
  const bool stats =
      ValidFreeList(header.free_stats, header.stats_used - header.active_count, [&](uint32_t* at) {
        if (*at >= header.stats_used || view.stats_head(*at)->owner != kNone) return false;
        *at = view.stats_head(*at)->next;
        return true;
      });
  return pairs && models && stats;
}

bool ValidColumn(const PoolConfig& config, const View& view, uint32_t index) {
  const Column plan = PlanColumn(config, *view.header, index);
  return std::memcmp(&plan, &view.columns[index], sizeof plan) == 0;
}

bool ValidMoments(const View& view) {
  const Moments& moments = view.moments;
  for (uint32_t i = 0; i < view.Width(); ++i) {
    if (!InRange(moments.weight[i], kMostWeight) || !(std::fabs(moments.mean[i]) <= 1.1e18) ||
        !InRange(moments.square[i], kMostWeight) || !Within(moments.center[i], kMostObserved) ||
        !(moments.scale[i] >= 0.0F && moments.scale[i] <= kMostScale))
      return false;
  }
  return true;
}

bool ValidHeader(const PoolHeader& header, const PoolHeader& plan) {
  if (header.pairs_used > plan.max_leaves || header.pair_count > header.pairs_used ||
      header.models_used > plan.max_leaves || header.leaf_count > header.models_used ||
      header.stats_used > plan.max_stats || header.active_count > header.stats_used)
    return false;
  if (!InRange(header.labels, kMostWeight) || !(std::fabs(header.target_mean) <= kMostMean) ||
      !InRange(header.target_square, kMostWeight) || !(header.last_reclaim >= 0.0) ||
      !(header.last_reclaim <= header.labels))
    return false;
  PoolHeader same = plan;
  same.tree_count = header.tree_count;
  same.pairs_used = header.pairs_used;
  same.pair_count = header.pair_count;
  same.models_used = header.models_used;
  same.leaf_count = header.leaf_count;
  same.stats_used = header.stats_used;
  same.active_count = header.active_count;
  same.free_pair = header.free_pair;
  same.free_model = header.free_model;
  same.free_stats = header.free_stats;
  same.labels = header.labels;
  same.target_mean = header.target_mean;
  same.target_square = header.target_square;
  same.last_reclaim = header.last_reclaim;
  // Bit for bit is meant, and there is no padding.
  return std::memcmp(&same, &header, sizeof same) == 0;  // NOLINT(bugprone-suspicious-memory-comparison)
}

}  // namespace

base::Status ValidatePool(const PoolConfig& config, uint32_t max_depth, std::span<const uint32_t> roots,
                          base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const PoolHeader plan, PlanPool(config));
  if (memory.size() != config.bytes) return base::Status::kDataLoss;
  const PoolHeader header = base::Load<PoolHeader>(memory.data());
  if (!ValidHeader(header, plan)) return base::Status::kDataLoss;

  // Only read from here on: View is shared with the learning code and so holds mutable pointers.
  const View view(const_cast<uint8_t*>(memory.data()));
  for (uint32_t i = 0; i < header.inputs; ++i) {
    if (!ValidColumn(config, view, i)) return base::Status::kDataLoss;
  }
  if (!ValidMoments(view)) return base::Status::kDataLoss;
  if (!ValidPairs(view, max_depth, roots) || !ValidFreeLists(view)) return base::Status::kDataLoss;
  uint32_t live = 0;
  for (uint32_t i = 0; i < header.models_used; ++i) {
    if (!ValidModel(view, i)) return base::Status::kDataLoss;
    live += view.model(i)->owner != kNone ? 1U : 0U;
  }
  if (live != header.leaf_count) return base::Status::kDataLoss;
  live = 0;
  for (uint32_t i = 0; i < header.stats_used; ++i) {
    if (!ValidStats(view, i)) return base::Status::kDataLoss;
    live += view.stats_head(i)->owner != kNone ? 1U : 0U;
  }
  if (live != header.active_count) return base::Status::kDataLoss;
  const uint64_t nodes = header.nodes_offset + uint64_t{2} * header.pairs_used * sizeof(Node);
  const uint64_t monitors = header.monitors_offset + uint64_t{2} * header.pairs_used * sizeof(Monitor);
  const uint64_t models = header.models_offset + uint64_t{header.models_used} * header.model_bytes;
  const uint64_t stats = header.stats_offset + uint64_t{header.stats_used} * header.stats_bytes;
  const bool clean = AllZero(memory.subspan(nodes, header.monitors_offset - nodes)) &&
                     AllZero(memory.subspan(monitors, header.models_offset - monitors)) &&
                     AllZero(memory.subspan(models, header.stats_offset - models)) &&
                     AllZero(memory.subspan(stats));
  return clean ? base::Status::kOk : base::Status::kDataLoss;
}

}  // namespace dipper::learn::tree
