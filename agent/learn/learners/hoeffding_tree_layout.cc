// See hoeffding_tree_layout.h: sizes of a pool's parts, and what is free in it.
#include "agent/learn/learners/hoeffding_tree_layout.h"

#include "agent/learn/math/saturate.h"

namespace dipper::learn::tree {
namespace {

constexpr uint64_t kMaxPool = uint64_t{1} << 30;

uint32_t Categories(const PoolConfig& config, uint32_t input) {
  return config.categories.empty() ? 0 : config.categories[input];
}

bool ValidShape(const PoolConfig& config) {
  if (config.inputs < 1 || config.inputs > kMaxTreeInputs || config.bytes > kMaxPool) return false;
  if (config.classification ? (config.outputs < 2 || config.outputs > kMaxOutputs) : config.outputs != 1)
    return false;
  if (!config.categories.empty() && config.categories.size() != config.inputs) return false;
  for (uint16_t categories : config.categories) {
    if (categories > 1024) return false;
  }
  return true;
}

/// Floats of a nominal observer.
uint64_t NominalFloats(const PoolHeader& header, uint32_t categories) {
  return (uint64_t{categories} + 1) * (header.classification != 0 ? header.outputs : 3);
}

/// Floats of a statistics block before the nominal observers.
uint64_t NumericFloats(const PoolHeader& header) {
  if (header.classification != 0) {
    return uint64_t{4} * header.outputs + (3 + uint64_t{2} * header.outputs) * header.stride;
  }
  return (uint64_t{header.watched} + 7) / 8 * 4 + uint64_t{header.watched} * kHistogramFloats;
}

/// Floats of a regression leaf's packed covariance.
uint64_t CovarianceFloats(const PoolHeader& header) {
  const uint64_t size = header.numeric + uint64_t{1};
  return size > kMaxLeastSquares ? 0 : size * (size + 1) / 2;
}

template <typename Head>
uint32_t NextFree(const Head& head) {
  return head.next;
}

}  // namespace

uint32_t NominalValue(float x, uint32_t categories) {
  const uint32_t value = SaturatingToInt<uint32_t>(static_cast<double>(x));
  return static_cast<double>(value) == static_cast<double>(x) && value < categories ? value : categories;
}

base::Result<PoolHeader> PlanPool(const PoolConfig& config) {
  if (!ValidShape(config)) return base::Status::kInvalidArgument;
  PoolHeader header{};
  header.inputs = config.inputs;
  header.outputs = config.outputs;
  header.classification = config.classification ? 1 : 0;
  for (uint32_t i = 0; i < config.inputs; ++i) header.numeric += Categories(config, i) == 0 ? 1U : 0U;
  const bool some = !config.classification && config.watched < header.numeric;
  header.watched = some ? config.watched : header.numeric;
  header.stride = static_cast<uint32_t>(base::AlignUp(header.watched, 4));
  header.linear_rows = config.classification && config.outputs > 2 ? config.outputs : 1;

  uint64_t width = base::AlignUp(header.numeric + uint64_t{1}, 4);
  uint64_t floats = NumericFloats(header);
  header.nominal_float = static_cast<uint32_t>(floats);
  for (uint32_t i = 0; i < config.inputs; ++i) {
    const uint32_t categories = Categories(config, i);
    if (categories == 0) continue;
    width += categories + 1;
    floats += NominalFloats(header, categories);
  }
  width = base::AlignUp(width, 4);
  const uint64_t classes = config.classification ? config.outputs : 0;
  const uint64_t model_bytes =
      sizeof(ModelHead) + (classes + 1) / 2 * 16 + width * header.linear_rows * sizeof(float) +
      (config.classification ? 0 : base::AlignUp(CovarianceFloats(header) * sizeof(float), 16));
  const uint64_t stats_bytes = base::AlignUp(sizeof(StatsHead) + floats * sizeof(float), 16);
  const uint64_t node_bytes = 2 * (sizeof(Node) + sizeof(Monitor));
  const uint64_t moments = sizeof(PoolHeader) + config.inputs * sizeof(Column);
  const uint64_t nodes =
      moments + base::AlignUp(header.numeric, 4) * (3 * sizeof(double) + 2 * sizeof(float));
  const uint64_t unit = stats_bytes + config.leaves_per_stats * (model_bytes + node_bytes);
  if (config.bytes < nodes) return base::Status::kResourceExhausted;
  const uint64_t stats = (config.bytes - nodes) / unit;
  if (stats < 2 * config.roots) return base::Status::kResourceExhausted;
  header.linear_width = static_cast<uint32_t>(width);
  header.max_stats = static_cast<uint32_t>(stats);
  header.max_leaves = static_cast<uint32_t>(stats * config.leaves_per_stats);
  header.model_bytes = static_cast<uint32_t>(model_bytes);
  header.stats_bytes = static_cast<uint32_t>(stats_bytes);
  header.free_pair = kNone;
  header.free_model = kNone;
  header.free_stats = kNone;
  header.moments_offset = moments;
  header.nodes_offset = nodes;
  header.monitors_offset = header.nodes_offset + uint64_t{2} * header.max_leaves * sizeof(Node);
  header.models_offset = header.monitors_offset + uint64_t{2} * header.max_leaves * sizeof(Monitor);
  header.stats_offset = header.models_offset + uint64_t{header.max_leaves} * model_bytes;
  return header;
}

Column PlanColumn(const PoolConfig& config, const PoolHeader& header, uint32_t index) {
  Column column{};
  uint32_t at = 0;
  column.stats_float = header.nominal_float;
  column.linear_float = static_cast<uint32_t>(base::AlignUp(header.numeric + uint64_t{1}, 4));
  for (uint32_t i = 0; i < config.inputs; ++i) {
    if (Categories(config, i) != 0) continue;
    if (at++ != index) continue;
    column.input = i;
    column.stats_float = 0;
    column.linear_float = index;
    return column;
  }
  for (uint32_t i = 0; i < config.inputs; ++i) {
    column.categories = Categories(config, i);
    if (column.categories == 0) continue;
    column.input = i;
    if (at++ == index) break;
    column.stats_float += static_cast<uint32_t>(NominalFloats(header, column.categories));
    column.linear_float += column.categories + 1;
  }
  return column;
}

base::Status CreatePool(const PoolConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const PoolHeader header, PlanPool(config));
  if (memory.size() != config.bytes) return base::Status::kInvalidArgument;
  std::memcpy(memory.data(), &header, sizeof header);
  const View view(memory.data());
  for (uint32_t i = 0; i < config.inputs; ++i) view.columns[i] = PlanColumn(config, header, i);
  return base::Status::kOk;
}

bool HasFree(const View& view) { return view.header->leaf_count < view.header->max_leaves; }

uint32_t TakePair(const View& view) {
  PoolHeader& header = *view.header;
  header.pair_count += 1;
  if (header.free_pair == kNone) {
    DIPPER_CHECK(header.pairs_used < header.max_leaves);
    return 2 * header.pairs_used++;
  }
  const uint32_t pair = header.free_pair;
  header.free_pair = view.nodes[pair].left;
  view.nodes[pair] = Node{};
  return pair;
}

uint32_t TakeModel(const View& view) {
  PoolHeader& header = *view.header;
  header.leaf_count += 1;
  if (header.free_model == kNone) {
    DIPPER_CHECK(header.models_used < header.max_leaves);
    return header.models_used++;
  }
  const uint32_t index = header.free_model;
  header.free_model = NextFree(*view.model(index));
  view.model(index)->owner = 0;
  view.model(index)->next = 0;
  return index;
}

uint32_t TakeStats(const View& view) {
  PoolHeader& header = *view.header;
  if (header.active_count == header.max_stats) return kNone;
  header.active_count += 1;
  if (header.free_stats == kNone) return header.stats_used++;
  const uint32_t index = header.free_stats;
  header.free_stats = NextFree(*view.stats_head(index));
  view.stats_head(index)->owner = 0;
  view.stats_head(index)->next = 0;
  return index;
}

void GivePair(const View& view, uint32_t pair) {
  PoolHeader& header = *view.header;
  for (uint32_t i = 0; i < 2; ++i) {
    view.nodes[pair + i] = Node{};
    view.monitors[pair + i] = Monitor{};
  }
  view.nodes[pair].left = header.free_pair;
  header.free_pair = pair;
  header.pair_count -= 1;
}

void GiveModel(const View& view, uint32_t model) {
  PoolHeader& header = *view.header;
  std::memset(view.model(model), 0, header.model_bytes);
  view.model(model)->owner = kNone;
  view.model(model)->next = header.free_model;
  header.free_model = model;
  header.leaf_count -= 1;
}

void GiveStats(const View& view, uint32_t stats) {
  PoolHeader& header = *view.header;
  std::memset(view.stats_head(stats), 0, header.stats_bytes);
  view.stats_head(stats)->owner = kNone;
  view.stats_head(stats)->next = header.free_stats;
  header.free_stats = stats;
  header.active_count -= 1;
}

}  // namespace dipper::learn::tree
