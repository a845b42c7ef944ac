// See half_space_layout.h: sizes of a forest's parts, and the check of foreign bytes.
#include "agent/learn/learners/half_space_layout.h"

#include <bit>

#include "agent/learn/math/counts.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn::half_space {
namespace {

constexpr uint64_t kMaxPool = uint64_t{1} << 30;
constexpr uint32_t kMaxTrees = 256;
constexpr uint32_t kMostRows = 1024;
constexpr uint32_t kLeastRows = 32;
// Automatic sizes: more trees first (the mean over trees is what steadies a score), then larger ones.
constexpr uint32_t kEnoughTrees = 24;
constexpr uint32_t kMostTrees = 40;
constexpr uint32_t kSpareDepth = 4;  // automatic depth beyond that of a balanced tree
constexpr uint64_t kRowShare = 3;    // the sample of rows takes at most one part in so many of the pool

bool ValidConfig(const HalfSpaceTreesConfig& config) {
  if (config.inputs < 1 || config.inputs > 4096 || config.pool_bytes > kMaxPool) return false;
  if (!config.categories.empty() && config.categories.size() != config.inputs) return false;
  for (uint16_t categories : config.categories) {
    if (categories > 1024) return false;
  }
  return config.trees <= kMaxTrees && config.depth <= kMaxDepth && config.window >= 64 &&
         config.window <= (uint32_t{1} << 20);
}

bool AllZero(const uint8_t* from, const uint8_t* to) {
  for (; from < to; ++from) {
    if (*from != 0) return false;
  }
  return true;
}

/// Fills in trees and nodes for a number of rows; false if they do not fit.
bool FitTrees(const HalfSpaceTreesConfig& config, ForestHeader* header) {
  const uint64_t pool = config.pool_bytes / 16 * 16;
  const uint64_t row_bytes = header->rows * (uint64_t{config.inputs} * sizeof(float) + sizeof(uint16_t));
  const uint64_t fixed = sizeof(ForestHeader) + config.inputs * sizeof(Axis) + row_bytes;
  if (fixed > pool || (header->rows > kLeastRows && row_bytes * kRowShare > pool)) return false;
  const uint64_t left = pool - fixed;
  const uint64_t least = header->rows / 4 * 3 - 1;  // nodes; half as many leaves as rows
  uint64_t trees = left / (sizeof(TreeHead) + least * kNodeBytes);
  if (config.trees != 0) {
    if (trees < config.trees) return false;
    trees = config.trees;
  } else {
    if (trees < (header->rows > kLeastRows ? kEnoughTrees : 1)) return false;
    trees = trees < kMostTrees ? trees : kMostTrees;
    if (trees > 8) trees = trees / 8 * 8;  // as they are walked
  }
  header->trees = static_cast<uint32_t>(trees);
  uint64_t nodes = (left / trees - sizeof(TreeHead)) / kNodeBytes;
  const uint64_t useful =
      config.depth > 0 && config.depth < 16 ? (uint64_t{2} << config.depth) - 1 : header->rows;
  nodes = nodes < useful ? nodes : useful;
  nodes = nodes < header->rows ? nodes : header->rows;
  header->nodes = static_cast<uint32_t>((nodes - 1) / 2 * 2 + 1);
  const auto balanced = static_cast<uint32_t>(std::bit_width(header->nodes)) - 1;
  header->depth = config.depth > 0 ? config.depth : balanced + kSpareDepth;
  return true;
}

/// Follows a tree from its root as it was drawn: every node reached once, and nothing beyond node_count.
class TreeCheck {
 public:
  TreeCheck(const View& view, uint32_t tree)
      : header_(*view.header), first_(view.FirstNode(tree)), view_(view) {}

  bool Passes(uint32_t node_count) {
    node_count_ = node_count;
    return node_count >= 1 && node_count <= header_.nodes && node_count % 2 == 1 && Follow(0, 0) &&
           next_ == node_count && UnusedIsZero();
  }
  bool UnusedIsZero() const {
    for (uint64_t i = first_ + node_count_; i < first_ + header_.nodes; ++i) {
      if (std::bit_cast<uint64_t>(view_.nodes[i]) != 0 || std::bit_cast<uint32_t>(view_.masses[i]) != 0 ||
          view_.volumes[i] != 0) {
        return false;
      }
    }
    return true;
  }

 private:
  bool Follow(uint32_t index, uint32_t depth) {
    const Node& node = view_.nodes[first_ + index];
    const float mass = view_.masses[first_ + index];
    if (node.child == index) {
      return node.input == 0 && node.value == kLeafValue && mass >= 0.0F && mass <= kLargestMass;
    }
    if (node.child != next_ || next_ + 2 > node_count_ || depth >= header_.depth) return false;
    if (!IsFinite(node.value) || node.input >= header_.inputs || std::bit_cast<uint32_t>(mass) != 0 ||
        view_.volumes[first_ + index] > kMissingHigh) {
      return false;
    }
    next_ += 2;
    return Follow(node.child, depth + 1) && Follow(node.child + 1U, depth + 1);
  }

  const ForestHeader& header_;
  const uint64_t first_;
  const View& view_;
  uint32_t node_count_ = 0;
  uint32_t next_ = 1;
};

bool ValidHeader(const ForestHeader& plan, const ForestHeader& h) {
  const uint64_t filled = h.samples < h.rows ? h.samples : h.rows;
  return ValidCounts(h.samples) && h.inputs == plan.inputs && h.trees == plan.trees &&
         h.nodes == plan.nodes && h.rows == plan.rows && h.depth == plan.depth && h.window == plan.window &&
         h.row_count == filled && h.drawn <= h.trees && h.next_tree < h.trees &&
         (h.drawn == h.trees || h.next_tree == h.drawn) && h.until_draw >= 1 && h.until_draw <= h.window &&
         (h.drawn == 0 || h.row_count > 0) && h.reserved == 0 && IsFinite(h.mass) && h.mass >= 0.0 &&
         h.mass <= static_cast<double>(kLargestMass) && ValidateRandom(h.random) == base::Status::kOk;
}

bool ValidTrees(const View& view) {
  const ForestHeader& h = *view.header;
  for (uint32_t t = 0; t < h.trees; ++t) {
    const TreeHead& head = view.trees[t];
    if (head.reserved != 0 || !IsFinite(head.total) || head.total > 1e15) return false;
    TreeCheck check(view, t);
    if (t < h.drawn) {
      if (!(head.total > 0.0) || !check.Passes(head.node_count)) return false;
    } else if (head.node_count != 0 || std::bit_cast<uint64_t>(head.total) != 0 || !check.UnusedIsZero()) {
      return false;
    }
  }
  return true;
}

bool ValidRows(const View& view) {
  const ForestHeader& h = *view.header;
  const float* end = view.row(h.row_count);
  for (const float* value = view.rows; value < end; ++value) {
    if (!IsFiniteOrMissing(*value)) return false;
  }
  return true;
}

}  // namespace

base::Result<ForestHeader> PlanForest(const HalfSpaceTreesConfig& config) {
  if (!ValidConfig(config)) return base::Status::kInvalidArgument;
  ForestHeader header{};
  header.inputs = config.inputs;
  header.window = config.window;
  header.until_draw = 1;
  for (header.rows = kMostRows; header.rows >= kLeastRows; header.rows /= 2) {
    if (FitTrees(config, &header)) return header;
  }
  return base::Status::kResourceExhausted;
}

base::Status ValidateForest(const HalfSpaceTreesConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const ForestHeader plan, PlanForest(config));
  if (memory.size() != config.pool_bytes / 16 * 16) return base::Status::kDataLoss;
  if (!ValidHeader(plan, base::Load<ForestHeader>(memory.data()))) return base::Status::kDataLoss;
  // The view only reads here; it has one type for both uses.
  const View view(const_cast<uint8_t*>(memory.data()));
  if (!ValidTrees(view) || !ValidRows(view)) return base::Status::kDataLoss;
  const auto bytes = [](const auto* at) { return reinterpret_cast<const uint8_t*>(at); };
  const bool clean = AllZero(bytes(view.axes), bytes(view.nodes)) &&
                     AllZero(bytes(view.row(view.header->row_count)), bytes(view.volumes)) &&
                     AllZero(bytes(view.order), memory.data() + memory.size());
  return clean ? base::Status::kOk : base::Status::kDataLoss;
}

}  // namespace dipper::learn::half_space
