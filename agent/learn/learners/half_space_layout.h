// How a forest of half-space trees lies in its pool. Internal to half_space*. Not thread-safe.
//
//   ForestHeader | TreeHead[trees] | Axis[inputs] | Node[trees][nodes] | float mass[trees][nodes] |
//   float row[rows][inputs] | uint16_t volume[trees][nodes] | uint16_t order[rows] | zeros
//
// Axis and order are scratch while a tree is drawn and zero otherwise. A tree's node 0 is its root; the
// children of a cut are neighbours, the lower side first, handed out in pairs in the order in which the cuts
// are met from the root with lower sides first. Whatever is not in use is zero.
#pragma once

#include <cstdint>
#include <limits>

#include "agent/learn/learners/half_space_trees.h"
#include "agent/learn/math/place.h"
#include "agent/learn/math/random.h"

namespace dipper::learn::half_space {

struct ForestHeader {
  uint32_t inputs;
  uint32_t trees;
  uint32_t nodes;  // places per tree, odd
  uint32_t rows;   // places in the sample of rows
  uint32_t depth;
  uint32_t window;
  uint32_t row_count;
  uint32_t drawn;       // trees that have been drawn at least once
  uint32_t next_tree;   // the one to be drawn next
  uint32_t until_draw;  // samples until then, >= 1
  uint64_t samples;
  double mass;  // weight of the samples that the window remembers
  RandomState random;
  uint64_t reserved;
};
static_assert(sizeof(ForestHeader) == 96);

struct TreeHead {
  double total;  // mass of all leaves
  uint32_t node_count;
  uint32_t reserved;
};
static_assert(sizeof(TreeHead) == 16);

/// The part of an input's axis that the present cell takes, and the measure of the axis.
struct Axis {
  double low;  // in the measure, -1 .. 1
  double high;
  double centre;
  double scale;  // 0: not drawn yet
};
static_assert(sizeof(Axis) == 32);

/// A cut: x > value goes to child + 1, else to child. A leaf: value = infinity, input = 0, child = its own
/// index, so that a walk may go on at a leaf without looking.
struct Node {
  float value;
  uint16_t input;
  uint16_t child;
};
static_assert(sizeof(Node) == 8);

inline constexpr uint32_t kMaxDepth = 32;
inline constexpr float kLeafValue = std::numeric_limits<float>::infinity();
inline constexpr double kVolumeUnits = 256.0;  // of a leaf's volume[], per halving
inline constexpr uint16_t kMissingHigh = 1;    // a cut's volume[]: where a missing value goes
inline constexpr float kLargestMass = 1e13F;

/// Header of a forest without samples. kInvalidArgument, kResourceExhausted: as StateBytes says.
base::Result<ForestHeader> PlanForest(const HalfSpaceTreesConfig& config);

base::Status ValidateForest(const HalfSpaceTreesConfig& config, base::ByteView memory);

struct View {
  ForestHeader* header;
  TreeHead* trees;
  Axis* axes;
  Node* nodes;
  float* masses;  // of leaves; 0 for cuts
  float* rows;
  uint16_t* volumes;  // of leaves: -log2, in 1 / kVolumeUnits; of cuts: 0 or kMissingHigh
  uint16_t* order;

  explicit View(uint8_t* memory) : header(PlaceOf<ForestHeader>(memory)) {
    const ForestHeader& h = *header;
    uint8_t* at = memory + sizeof(ForestHeader);
    trees = PlaceOf<TreeHead>(at);
    at += uint64_t{h.trees} * sizeof(TreeHead);
    axes = PlaceOf<Axis>(at);
    at += uint64_t{h.inputs} * sizeof(Axis);
    nodes = PlaceOf<Node>(at);
    const uint64_t nodes_in_all = uint64_t{h.trees} * h.nodes;
    at += nodes_in_all * sizeof(Node);
    masses = PlaceOf<float>(at);
    at += nodes_in_all * sizeof(float);
    rows = PlaceOf<float>(at);
    at += uint64_t{h.rows} * h.inputs * sizeof(float);
    volumes = PlaceOf<uint16_t>(at);
    at += nodes_in_all * sizeof(uint16_t);
    order = PlaceOf<uint16_t>(at);
  }
  Node* tree(uint32_t index) const { return nodes + FirstNode(index); }
  uint64_t FirstNode(uint32_t tree) const { return uint64_t{tree} * header->nodes; }
  float* row(uint32_t index) const { return rows + uint64_t{index} * header->inputs; }
};

inline constexpr uint64_t kNodeBytes = sizeof(Node) + sizeof(float) + sizeof(uint16_t);

/// Draws the header's next tree from the sample of rows, of which there is at least one.
void DrawNextTree(const HalfSpaceTreesConfig& config, const View& view);

}  // namespace dipper::learn::half_space
