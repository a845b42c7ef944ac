// See half_space_layout.h: how a tree is drawn from the sample of rows.
//
// Volumes are measured on every axis by u = z / (1 + |z|), z = (x - centre) / scale, which maps the whole
// line to (-1, 1): there is no range to fall out of, and a wild value takes no room from the others. Centre
// and scale are drawn per tree from a few rows, the scale between a quartile range and several times their
// whole range, so that some trees look at the bulk and some at the tails. A cell is cut at random in what its
// rows span and half of that on either side, so that dense places are cut finely and their empty surroundings
// cut off.
#include <cmath>
#include <cstring>
#include <span>

#include "agent/learn/learners/half_space_layout.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn::half_space {
namespace {

constexpr uint32_t kRangeRows = 32;      // rows that an axis' centre and scale are drawn from
constexpr uint32_t kLeafRows = 2;        // a cell with so few rows is not cut
constexpr uint32_t kTries = 4;           // inputs tried for one that varies in the cell
constexpr double kConstantShare = 0.25;  // how often an input that does not vary there is cut, nevertheless
constexpr double kMargin = 0.5;          // how far beyond its rows a cell may be cut, in their span
constexpr double kLeastShare = 1e-9;     // of a cell's volume on one side of a cut
constexpr double kAlmostOne = 1 - 1e-9;
constexpr double kLeastScale = 1e-30;
constexpr double kLargestValue = 1e38;   // of a cut; inputs are smaller
constexpr double kRelativeScale = 1e-6;  // scale of an input that does not vary, of its magnitude

struct Cut {
  uint32_t input = 0;
  float value = 0;
  double place = 0;  // of the value, in the measure
};

class Drawing {
 public:
  Drawing(const HalfSpaceTreesConfig& config, const View& view)
      : config_(config),
        view_(view),
        random_(view.header->random),
        first_(view.FirstNode(view.header->next_tree)) {}

  void Draw() {
    const ForestHeader& h = *view_.header;
    TreeHead& head = view_.trees[h.next_tree];
    std::memset(view_.nodes + first_, 0, h.nodes * sizeof(Node));
    std::memset(view_.masses + first_, 0, h.nodes * sizeof(float));
    std::memset(view_.volumes + first_, 0, h.nodes * sizeof(uint16_t));
    for (uint32_t i = 0; i < h.row_count; ++i) view_.order[i] = static_cast<uint16_t>(i);
    for (uint32_t i = 0; i < h.inputs; ++i) view_.axes[i] = Axis{-1.0, 1.0, 0.0, 0.0};
    mass_per_row_ = h.mass / static_cast<double>(h.row_count);
    Grow(0, {view_.order, h.row_count}, h.nodes, 0, 1.0);
    head.total = h.mass;
    head.node_count = next_;
    std::memset(view_.axes, 0, h.inputs * sizeof(Axis));
    std::memset(view_.order, 0, h.row_count * sizeof(uint16_t));
  }

 private:
  using Rows = std::span<uint16_t>;

  float ValueAt(uint16_t row, uint32_t input) const { return view_.row(row)[input]; }
  uint32_t CategoriesOf(uint32_t input) const {
    return config_.categories.empty() ? 0 : config_.categories[input];
  }

  static double ToMeasure(const Axis& axis, double x) {
    const double z = (x - axis.centre) / axis.scale;
    return z / (1.0 + std::fabs(z));
  }
  static double FromMeasure(const Axis& axis, double u) {
    const double inside = u > kAlmostOne ? kAlmostOne : (u < -kAlmostOne ? -kAlmostOne : u);
    const double x = axis.centre + axis.scale * (inside / (1.0 - std::fabs(inside)));
    return x > kLargestValue ? kLargestValue : (x < -kLargestValue ? -kLargestValue : x);
  }

  /// The axis of an input, its measure drawn at the first use in this tree.
  Axis& AxisOf(uint32_t input) {
    Axis& axis = view_.axes[input];
    if (axis.scale > 0.0) return axis;
    if (const uint32_t categories = CategoriesOf(input); categories > 0) {
      axis.centre = 0.5 * categories;
      axis.scale = axis.centre;
      return axis;
    }
    double value[kRangeRows];
    uint32_t count = 0;
    for (uint32_t i = 0; i < kRangeRows; ++i) {
      const auto x = static_cast<double>(view_.row(NextBelow(random_, view_.header->row_count))[input]);
      if (IsNan(x)) continue;
      uint32_t at = count++;
      for (; at > 0 && value[at - 1] > x; --at) value[at] = value[at - 1];
      value[at] = x;
    }
    DrawMeasure({value, count}, &axis);
    return axis;
  }

  /// From values in ascending order.
  void DrawMeasure(std::span<const double> value, Axis* axis) {
    const auto count = static_cast<uint32_t>(value.size());
    double scale = 0;
    if (count > 0) {
      axis->centre = value[NextBelow(random_, count)];
      // The share left out at either end is between a quarter and a 256th, uniform in its logarithm.
      const double share = 0.25 * Exp(-4.1588830833596715 * NextUniform(random_));
      for (auto out = SaturatingToInt<uint32_t>(share * static_cast<double>(count));; --out) {
        scale = value[count - 1 - out] - value[out];
        if (scale > 0.0 || out == 0) break;
      }
      scale *= Exp(1.3862943611198906 * NextUniform(random_));  // 1 .. 4 times
    }
    const double least = kRelativeScale * std::fabs(axis->centre);
    if (!(scale > least)) scale = least;
    axis->scale = scale > kLeastScale ? scale : kLeastScale;
  }

  /// A range on an input's axis to cut in.
  struct Range {
    double low = 0;
    double high = 0;
  };

  /// What the cell's rows span, in the measure; low > high if all are missing.
  Range SpanOf(Rows rows, uint32_t input) {
    const float* column = view_.rows + input;
    const uint32_t stride = view_.header->inputs;
    float least = 3e38F;
    float greatest = -3e38F;
    for (uint16_t row : rows) {
      const float x = column[row * stride];
      least = x < least ? x : least;
      greatest = x > greatest ? x : greatest;
    }
    if (least > greatest) return {1.0, -1.0};
    const Axis& axis = AxisOf(input);
    return {ToMeasure(axis, static_cast<double>(least)), ToMeasure(axis, static_cast<double>(greatest))};
  }

  /// Cuts a category that is in the cell off from its neighbours.
  bool CutNominal(Rows rows, uint32_t input, Cut* cut) {
    const auto count = static_cast<uint32_t>(rows.size());
    const float category = ValueAt(rows[NextBelow(random_, count)], input);
    const double side = NextUniform(random_) < 0.5 ? -0.5 : 0.5;
    if (IsNan(category)) return false;
    const Axis& axis = AxisOf(input);
    const double value = static_cast<double>(category) + side;
    *cut = {input, static_cast<float>(value), ToMeasure(axis, value)};
    return cut->place > axis.low && cut->place < axis.high;
  }

  bool CutNumeric(Rows rows, uint32_t input, bool last_try, Cut* cut) {
    Range span = SpanOf(rows, input);
    if (span.low > span.high) return false;
    const Axis& axis = view_.axes[input];
    if (span.high > span.low) {
      const double margin = kMargin * (span.high - span.low);
      span.low = span.low - margin > axis.low ? span.low - margin : axis.low;
      span.high = span.high + margin < axis.high ? span.high + margin : axis.high;
    } else {
      // A constant is worth a cut, too, while a side of it is open: that is how its change is seen.
      const bool open = axis.low == -1.0 || axis.high == 1.0;
      if (!last_try && !(open && NextUniform(random_) < kConstantShare)) return false;
      span = {axis.low, axis.high};
    }
    cut->input = input;
    cut->place = span.low + (span.high - span.low) * NextUniform(random_);
    cut->value = static_cast<float>(FromMeasure(axis, cut->place));
    return cut->place > axis.low && cut->place < axis.high;
  }

  bool FindCut(Rows rows, Cut* cut) {
    const uint32_t inputs = view_.header->inputs;
    for (uint32_t i = 1; i <= kTries; ++i) {
      const uint32_t input = NextBelow(random_, inputs);
      const bool nominal = CategoriesOf(input) > 0;
      if (nominal ? CutNominal(rows, input, cut) : CutNumeric(rows, input, i == kTries, cut)) return true;
    }
    return false;
  }

  /// Brings the rows of the lower side to the front and returns how many. Missing values join the side with
  /// more rows.
  uint32_t Divide(Rows rows, const Cut& cut, bool* missing_high) const {
    const float* column = view_.rows + cut.input;
    const uint32_t stride = view_.header->inputs;
    const auto count = static_cast<uint32_t>(rows.size());
    uint32_t low = 0;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < count; ++i) {
      const uint16_t row = rows[i];
      const float x = column[row * stride];
      rows[i] = rows[low];
      rows[low] = row;
      low += x > cut.value ? 0U : 1U;
      missing += IsNan(x) ? 1U : 0U;
    }
    *missing_high = count - low > low - missing;
    if (missing == 0 || !*missing_high) return low;
    const uint32_t low_or_missing = low;
    low = 0;
    for (uint32_t i = 0; i < low_or_missing; ++i) {
      const uint16_t row = rows[i];
      rows[i] = rows[low];
      rows[low] = row;
      low += IsNan(column[row * stride]) ? 0U : 1U;
    }
    return low;
  }

  void MakeLeaf(uint32_t index, size_t rows, double volume) {
    const double halvings = -Log(volume) * 0x1.71547652b82fep+0;
    view_.nodes[first_ + index] = Node{kLeafValue, 0, static_cast<uint16_t>(index)};
    view_.masses[first_ + index] = static_cast<float>(mass_per_row_ * static_cast<double>(rows));
    view_.volumes[first_ + index] = SaturatingToInt<uint16_t>(halvings * kVolumeUnits + 0.5);
  }

  /// Draws the subtree of a cell in at most `budget` nodes, its own included; returns how many it took.
  uint32_t Grow(uint32_t index, Rows rows, uint32_t budget, uint32_t depth, double volume) {
    Cut cut;
    if (rows.size() <= kLeafRows || budget < 3 || depth >= view_.header->depth || !FindCut(rows, &cut)) {
      MakeLeaf(index, rows.size(), volume);
      return 1;
    }
    bool missing_high = false;
    const uint32_t low_rows = Divide(rows, cut, &missing_high);
    const uint32_t child = next_;
    next_ += 2;
    view_.nodes[first_ + index] =
        Node{cut.value, static_cast<uint16_t>(cut.input), static_cast<uint16_t>(child)};
    view_.volumes[first_ + index] = missing_high ? kMissingHigh : 0;

    Axis& axis = view_.axes[cut.input];
    const double high = axis.high;
    double low_share = (cut.place - axis.low) / (high - axis.low);
    low_share = low_share < kLeastShare ? kLeastShare : (low_share > kAlmostOne ? kAlmostOne : low_share);
    // Pairs of nodes beyond the children go by rows; what the lower side leaves over the upper one may use.
    const auto low_pairs = static_cast<uint32_t>(uint64_t{(budget - 3) / 2} * low_rows / rows.size());
    axis.high = cut.place;
    const uint32_t used = Grow(child, rows.first(low_rows), 1 + 2 * low_pairs, depth + 1, volume * low_share);
    axis.high = high;
    const double low = axis.low;
    axis.low = cut.place;
    const uint32_t rest =
        Grow(child + 1, rows.subspan(low_rows), budget - 1 - used, depth + 1, volume * (1.0 - low_share));
    axis.low = low;
    return 1 + used + rest;
  }

  const HalfSpaceTreesConfig& config_;
  const View& view_;
  RandomState& random_;
  const uint64_t first_;  // node of this tree
  uint32_t next_ = 1;
  double mass_per_row_ = 0;
};

}  // namespace

void DrawNextTree(const HalfSpaceTreesConfig& config, const View& view) {
  ForestHeader& h = *view.header;
  Drawing(config, view).Draw();
  h.next_tree = h.next_tree + 1 == h.trees ? 0 : h.next_tree + 1;
  if (h.drawn < h.trees) h.drawn += 1;
}

}  // namespace dipper::learn::half_space
