// See hoeffding_tree_layout.h: sizes of a tree's parts, and the check of foreign bytes.
#include "agent/learn/learners/hoeffding_tree_layout.h"

#include <cstring>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn::tree {
namespace {

constexpr uint64_t kMaxPool = uint64_t{1} << 30;
// Leaves per statistics block: a leaf without statistics still predicts and learns its linear model.
constexpr uint64_t kLeavesPerStats = 2;

uint32_t Categories(const HoeffdingTreeConfig& config, uint32_t input) {
  return config.categories.empty() ? 0 : config.categories[input];
}

uint64_t ObserverFloats(const HoeffdingTreeConfig& config, uint32_t categories) {
  if (config.classification) {
    return categories == 0 ? 2 + uint64_t{3} * config.outputs : (uint64_t{categories} + 1) * config.outputs;
  }
  return categories == 0 ? kHistogramHead + uint64_t{3} * kBins : (uint64_t{categories} + 1) * 3;
}

bool ValidConfig(const HoeffdingTreeConfig& config) {
  if (config.inputs < 1 || config.inputs > 4096 || config.pool_bytes > kMaxPool) return false;
  if (config.classification ? (config.outputs < 2 || config.outputs > kMaxOutputs) : config.outputs != 1)
    return false;
  if (!config.categories.empty() && config.categories.size() != config.inputs) return false;
  for (uint16_t categories : config.categories) {
    if (categories > 1024) return false;
  }
  return config.grace_labels >= 1 && config.delta > 0.0 && config.delta < 1.0 && config.tie >= 0.0 &&
         config.tie <= 1.0 && config.max_depth >= 1 && config.max_depth <= 64;
}

bool AllZero(base::ByteView bytes) {
  for (uint8_t byte : bytes) {
    if (byte != 0) return false;
  }
  return true;
}

bool NotNegative(double x) { return IsFinite(x) && x >= 0.0; }
bool NotNegative(float x) { return IsFinite(x) && x >= 0.0F; }

bool ValidTriple(const float* triple) {
  return NotNegative(triple[0]) && IsFinite(triple[1]) && NotNegative(triple[2]);
}

bool ValidObserver(const TreeHeader& header, const InputInfo& info, const float* observer) {
  const bool classification = header.classification != 0;
  if (classification && info.categories != 0) {
    for (uint32_t i = 0; i < (info.categories + 1) * header.outputs; ++i) {
      if (!NotNegative(observer[i])) return false;
    }
    return true;
  }
  uint32_t triples = info.categories + 1;
  if (classification) {
    const bool empty = observer[0] == kEmptyRange && observer[1] == -kEmptyRange;
    if (!IsFinite(observer[0]) || !IsFinite(observer[1]) || (observer[0] > observer[1] && !empty))
      return false;
    observer += 2;
    triples = header.outputs;
  } else if (info.categories == 0) {
    if (!IsFinite(observer[0]) || !NotNegative(observer[1]) || !NotNegative(observer[2]) ||
        !NotNegative(observer[3]))
      return false;
    observer += kHistogramHead;
    triples = kBins;
  }
  for (uint32_t i = 0; i < triples; ++i) {
    if (!ValidTriple(observer + 3 * i)) return false;
  }
  return true;
}

bool ValidStats(const View& view, uint32_t index) {
  StatsHead* head = view.stats_head(index);
  if (!NotNegative(head->weight) || !NotNegative(head->inverse_scale) || head->reserved != 0 ||
      head->reserved2 != 0.0) {
    return false;
  }
  if (head->owner >= view.header->node_count || view.nodes[head->owner].stats != index) return false;
  for (uint32_t i = 0; i < view.header->inputs; ++i) {
    const InputInfo& info = view.inputs[i];
    if (!ValidObserver(*view.header, info, View::observers(head) + info.stats_float)) return false;
  }
  return true;
}

bool ValidModel(const View& view, uint32_t index) {
  ModelHead* head = view.model(index);
  const TreeHeader& header = *view.header;
  const double sums[] = {head->weight,     head->next_check,  head->mistakes,    head->square,
                         head->base_error, head->bayes_error, head->linear_error};
  for (double sum : sums) {
    if (!NotNegative(sum)) return false;
  }
  if (!IsFinite(head->mean) || head->reserved != 0 || head->reserved2 != 0.0) return false;
  if (head->owner >= header.node_count || view.nodes[head->owner].model != index) return false;
  for (uint32_t c = 0; header.classification != 0 && c < header.outputs; ++c) {
    if (!NotNegative(view.class_weights(head)[c])) return false;
  }
  for (uint32_t i = 0; i < header.linear_outputs * header.linear_width; ++i) {
    if (!IsFinite(view.linear(head)[i])) return false;
  }
  return true;
}

bool ValidSplit(const View& view, const Node& node, uint32_t index) {
  const TreeHeader& header = *view.header;
  if (node.input >= header.inputs || !IsFinite(node.threshold) || node.model != kNone || node.stats != kNone)
    return false;
  const uint32_t categories = view.inputs[node.input].categories;
  if ((node.kind == NodeKind::kNominal) != (categories != 0)) return false;
  if (categories != 0 && static_cast<float>(NominalValue(node.threshold, categories)) != node.threshold)
    return false;
  // Children come after their parent, so links cannot form a cycle; a parent link makes each node one node's
  // child.
  if (node.left <= index || node.left >= header.node_count || header.node_count - node.left < 2) return false;
  for (uint32_t child = node.left; child < node.left + 2; ++child) {
    if (view.nodes[child].parent != index || view.nodes[child].depth != node.depth + 1) return false;
  }
  return true;
}

bool ValidNodes(const View& view, uint32_t max_depth) {
  const TreeHeader& header = *view.header;
  uint32_t leaves = 0;
  uint32_t active = 0;
  for (uint32_t i = 0; i < header.node_count; ++i) {
    const Node& node = view.nodes[i];
    if (node.depth > max_depth || node.missing_right > 1 || node.reserved != 0) return false;
    if (i == 0 ? (node.parent != kNone || node.depth != 0) : node.parent >= i) return false;
    // Being one of the two children that the parent names is what makes every node reached exactly once.
    if (i != 0) {
      const Node& parent = view.nodes[node.parent];
      if (parent.kind == NodeKind::kLeaf || (i != parent.left && i != parent.left + 1)) return false;
    }
    switch (node.kind) {
      case NodeKind::kLeaf:
        ++leaves;
        if (node.left != 0 || node.input != 0 || !(node.threshold == 0.0F) || node.missing_right != 0)
          return false;
        if (node.model >= header.leaf_count || view.model(node.model)->owner != i) return false;
        if (node.stats == kNone) break;
        ++active;
        if (node.stats >= header.stats_count || view.stats_head(node.stats)->owner != i) return false;
        break;
      case NodeKind::kNumeric:
      case NodeKind::kNominal:
        if (!ValidSplit(view, node, i)) return false;
        break;
      default:
        return false;
    }
  }
  return leaves == header.leaf_count && active == header.stats_count && header.node_count == 2 * leaves - 1;
}

bool ValidInput(const HoeffdingTreeConfig& config, const TreeHeader& header, const InputInfo* table,
                uint32_t input) {
  const InputInfo& info = table[input];
  const InputInfo plan = PlanInput(config, header, input, input == 0 ? nullptr : &table[input - 1]);
  return info.categories == plan.categories && info.stats_float == plan.stats_float &&
         info.linear_float == plan.linear_float && info.reserved == 0 && NotNegative(info.weight) &&
         IsFinite(info.mean) && NotNegative(info.square) && NotNegative(info.inverse_deviation);
}

}  // namespace

uint32_t NominalValue(float x, uint32_t categories) {
  const uint32_t value = SaturatingToInt<uint32_t>(static_cast<double>(x));
  return static_cast<double>(value) == static_cast<double>(x) && value < categories ? value : categories;
}

base::Result<TreeHeader> PlanTree(const HoeffdingTreeConfig& config) {
  if (!ValidConfig(config)) return base::Status::kInvalidArgument;
  uint64_t floats = 0;
  uint64_t width = 1;
  for (uint32_t i = 0; i < config.inputs; ++i) {
    const uint32_t categories = Categories(config, i);
    floats += ObserverFloats(config, categories);
    width += categories == 0 ? 1 : categories + 1;
  }
  TreeHeader header{};
  header.inputs = config.inputs;
  header.outputs = config.outputs;
  header.classification = config.classification ? 1 : 0;
  header.linear_outputs = config.classification && config.outputs > 2 ? config.outputs : 1;
  const uint64_t class_bytes = config.classification ? config.outputs * sizeof(double) : 0;
  const uint64_t model_bytes =
      base::AlignUp(sizeof(ModelHead) + class_bytes + width * header.linear_outputs * sizeof(float), 16);
  const uint64_t stats_bytes = base::AlignUp(sizeof(StatsHead) + floats * sizeof(float), 16);
  const uint64_t fixed = sizeof(TreeHeader) + config.inputs * sizeof(InputInfo);
  const uint64_t pool = config.pool_bytes / 16 * 16;
  const uint64_t unit = stats_bytes + kLeavesPerStats * (model_bytes + 2 * sizeof(Node));
  if (pool < fixed || (pool - fixed) / unit < 2) return base::Status::kResourceExhausted;
  const uint64_t stats = (pool - fixed) / unit;
  header.linear_width = static_cast<uint32_t>(width);
  header.max_stats = static_cast<uint32_t>(stats);
  header.max_leaves = static_cast<uint32_t>(stats * kLeavesPerStats);
  header.model_bytes = static_cast<uint32_t>(model_bytes);
  header.stats_bytes = static_cast<uint32_t>(stats_bytes);
  header.nodes_offset = fixed;
  header.models_offset = header.nodes_offset + uint64_t{2} * header.max_leaves * sizeof(Node);
  header.stats_offset = header.models_offset + uint64_t{header.max_leaves} * model_bytes;
  return header;
}

InputInfo PlanInput(const HoeffdingTreeConfig& config, const TreeHeader& header, uint32_t input,
                    const InputInfo* before) {
  InputInfo info{};
  info.categories = Categories(config, input);
  info.linear_float = 1;
  if (before != nullptr) {
    info.stats_float =
        before->stats_float + static_cast<uint32_t>(ObserverFloats(config, before->categories));
    info.linear_float = before->linear_float + (before->categories == 0 ? 1 : before->categories + 1);
  }
  DIPPER_CHECK(info.linear_float < header.linear_width);
  return info;
}

base::Status ValidateTree(const HoeffdingTreeConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const TreeHeader plan, PlanTree(config));
  if (memory.size() != config.pool_bytes / 16 * 16) return base::Status::kDataLoss;
  TreeHeader header = base::Load<TreeHeader>(memory.data());
  if (header.node_count < 1 || header.leaf_count < 1 || header.leaf_count > plan.max_leaves ||
      header.stats_count > plan.max_stats || header.node_count != 2 * header.leaf_count - 1) {
    return base::Status::kDataLoss;
  }
  if (!NotNegative(header.labels) || !IsFinite(header.target_mean) || !NotNegative(header.target_square))
    return base::Status::kDataLoss;
  TreeHeader same = plan;
  same.node_count = header.node_count;
  same.leaf_count = header.leaf_count;
  same.stats_count = header.stats_count;
  same.labels = header.labels;
  same.target_mean = header.target_mean;
  same.target_square = header.target_square;
  if (std::memcmp(&same, &header, sizeof same) != 0) return base::Status::kDataLoss;

  // Only read from here on: View is shared with the learning code and so holds mutable pointers.
  const View view(const_cast<uint8_t*>(memory.data()));
  for (uint32_t i = 0; i < header.inputs; ++i) {
    if (!ValidInput(config, header, view.inputs, i)) return base::Status::kDataLoss;
  }
  if (!ValidNodes(view, config.max_depth)) return base::Status::kDataLoss;
  for (uint32_t i = 0; i < header.leaf_count; ++i) {
    if (!ValidModel(view, i)) return base::Status::kDataLoss;
  }
  for (uint32_t i = 0; i < header.stats_count; ++i) {
    if (!ValidStats(view, i)) return base::Status::kDataLoss;
  }
  const uint64_t nodes_end = header.nodes_offset + uint64_t{header.node_count} * sizeof(Node);
  const uint64_t models_end = header.models_offset + uint64_t{header.leaf_count} * header.model_bytes;
  const uint64_t stats_end = header.stats_offset + uint64_t{header.stats_count} * header.stats_bytes;
  const bool clean = AllZero(memory.subspan(nodes_end, header.models_offset - nodes_end)) &&
                     AllZero(memory.subspan(models_end, header.stats_offset - models_end)) &&
                     AllZero(memory.subspan(stats_end));
  return clean ? base::Status::kOk : base::Status::kDataLoss;
}

}  // namespace dipper::learn::tree
