// See knn.h. State: a head, then rows in blocks of eight, input by input (input 0 of eight rows, input 1 of
// the same rows, ...), then the targets and the weights of all rows. Distances are float32, summed in the
// order of the inputs, each row in a vector lane of its own, so that a scalar and a vector machine round
// alike. Rows are visited from the newest to the oldest and a later one must be strictly nearer, which makes
// the order (distance, age).
#include "agent/learn/learners/knn.h"

#include <bit>
#include <cstring>

#include "agent/learn/math/counts.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kMaxInputs = 512;
constexpr uint32_t kMaxClasses = 64;
constexpr uint32_t kMaxNeighbors = 64;
constexpr uint32_t kMaxWindow = 1U << 24;
constexpr uint64_t kMaxPool = uint64_t{1} << 40;
constexpr uint32_t kBlock = 8;  // rows: two vectors are in flight; blocks do not depend on each other
// Inputs are cut to this: 512 squared differences stay below the largest float.
constexpr float kLargestInput = 1e15F;
constexpr float kLargestTarget = 1e30F;
constexpr double kLeastWeight = 1e-30, kLargestWeight = 1e6;
constexpr float kFarthest = 3e38F;
// One vote in all is spread over the classes, so that no answer is surer than so many neighbours can tell.
constexpr double kSharedVotes = 1.0;
// Of all votes: what puts the nearest of equals ahead.
constexpr double kTieBreak = 0x1p-20;
// A neighbour at no distance counts as one at this part of the farthest's squared distance: as 33 of those.
constexpr double kNoDistance = 0x1p-5;
// Inputs after which a block is left if all of its rows are already too far.
constexpr uint32_t kInputsPerCheck = 8;

using Four = float __attribute__((vector_size(16)));
constexpr uint32_t kVectors = kBlock / 4;

struct Head {
  uint32_t rows;  // labelled samples in the window
  uint32_t next;  // row that the next one goes to
  uint64_t labels;
};
static_assert(sizeof(Head) == 16);

uint64_t RowBytes(const KnnConfig& config) { return (uint64_t{config.inputs} + 2) * sizeof(float); }

uint64_t BlocksOf(uint64_t rows) { return (rows + kBlock - 1) / kBlock; }

/// Rows that the window can hold.
uint64_t Capacity(const KnnConfig& config) {
  if (config.window != 0) return config.window;
  const uint64_t pool = config.pool_bytes / 16 * 16;
  const uint64_t rows =
      pool < sizeof(Head) ? 0 : (pool - sizeof(Head)) / (RowBytes(config) * kBlock) * kBlock;
  return rows < kMaxWindow ? rows : kMaxWindow;
}

struct View {
  Head* head;
  float* inputs;
  float* targets;
  float* weights;
  uint32_t width;
  uint32_t capacity;

  View(const KnnConfig& config, uint8_t* memory)
      : head(PlaceOf<Head>(memory)),
        inputs(PlaceOf<float>(memory + sizeof(Head))),
        width(config.inputs),
        capacity(static_cast<uint32_t>(Capacity(config))) {
    const uint64_t rows = BlocksOf(capacity) * kBlock;
    targets = inputs + rows * width;
    weights = targets + rows;
  }
  float* block(uint32_t index) const { return inputs + uint64_t{index} * kBlock * width; }
};

float Cut(float x, float limit) { return x > limit ? limit : (x < -limit ? -limit : x); }

float Input(float x) { return IsNan(x) ? 0.0F : Cut(x, kLargestInput); }

/// The nearest rows so far, ascending.
struct Nearest {
  explicit Nearest(uint32_t neighbors) : wanted(neighbors) {}

  uint32_t wanted;
  uint32_t count = 0;
  float farthest = kFarthest;  // what a further row must be below
  float distance[kMaxNeighbors];
  uint32_t row[kMaxNeighbors];

  void Add(float its_distance, uint32_t its_row) {
    uint32_t at = count < wanted ? count++ : wanted - 1;
    for (; at > 0 && distance[at - 1] > its_distance; --at) {
      distance[at] = distance[at - 1];
      row[at] = row[at - 1];
    }
    distance[at] = its_distance;
    row[at] = its_row;
    if (count == wanted) farthest = distance[wanted - 1];
  }
};

Four LoadFour(const float* from) {
  Four four;
  std::memcpy(&four, from, sizeof four);
  return four;
}

/// One bit for each row of a block whose sum is below `limit`, the last row's the highest.
uint32_t RowsBelow(const Four (&sum)[kVectors], float limit) {
  using FourWords = int32_t __attribute__((vector_size(16)));
  const Four limits = {limit, limit, limit, limit};
  FourWords bit = {1, 2, 4, 8};
  FourWords bits = {};
  for (uint32_t v = 0; v < kVectors; ++v, bit <<= 4) bits |= (sum[v] < limits) & bit;
  uint64_t halves[2];
  std::memcpy(halves, &bits, sizeof halves);
  const uint64_t both = halves[0] | halves[1];
  return static_cast<uint32_t>(both | both >> 32);
}

/// Adds the squared differences of `count` inputs to the sums of the block's rows.
void AddSquares(const float* block, const float* x, uint32_t count, Four (&sum)[kVectors]) {
  Four part[kVectors];
  for (uint32_t v = 0; v < kVectors; ++v) part[v] = sum[v];
  for (uint32_t i = 0; i < count; ++i) {
    const Four value = {x[i], x[i], x[i], x[i]};
    for (uint32_t v = 0; v < kVectors; ++v) {
      const Four difference = LoadFour(block + i * kBlock + 4 * v) - value;
      part[v] += difference * difference;
    }
  }
  for (uint32_t v = 0; v < kVectors; ++v) sum[v] = part[v];
}

/// Compares the rows first .. last - 1 of one block, last row first.
void ScanBlock(const View& view, const float* x, uint32_t index, uint32_t first, uint32_t last,
               Nearest* nearest) {
  const float* block = view.block(index);
  Four sum[kVectors] = {};
  uint32_t below = 0;
  for (uint32_t done = 0; done < view.width;) {
    const uint32_t left = view.width - done;
    const uint32_t count = left < 2 * kInputsPerCheck ? left : kInputsPerCheck;
    AddSquares(block + uint64_t{done} * kBlock, x + done, count, sum);
    below = RowsBelow(sum, nearest->farthest);
    if (below == 0) return;
    done += count;
  }
  float distance[kBlock];
  std::memcpy(distance, sum, sizeof distance);
  below &= (1U << last) - (1U << first);
  while (below != 0) {
    const uint32_t lane = static_cast<uint32_t>(std::bit_width(below)) - 1;
    below ^= 1U << lane;
    if (distance[lane] < nearest->farthest) nearest->Add(distance[lane], index * kBlock + lane);
  }
}

/// Compares the rows first .. last - 1, last row first.
void Scan(const View& view, const float* x, uint32_t first, uint32_t last, Nearest* nearest) {
  while (last > first) {
    const uint32_t index = (last - 1) / kBlock;
    const uint32_t begin = index * kBlock;
    ScanBlock(view, x, index, first > begin ? first - begin : 0, last - begin, nearest);
    last = begin > first ? begin : first;
  }
}

/// What each of the nearest counts: its weight, and if distances count, more the nearer it is.
void CountVotes(const KnnConfig& config, const View& view, const Nearest& nearest, double* votes) {
  for (uint32_t i = 0; i < nearest.count; ++i) votes[i] = static_cast<double>(view.weights[nearest.row[i]]);
  if (!config.by_distance || nearest.count == 0) return;
  const double reach = static_cast<double>(nearest.distance[nearest.count - 1]);
  if (!(reach > 0.0)) return;
  const double nothing = kNoDistance * reach;
  for (uint32_t i = 0; i < nearest.count; ++i)
    votes[i] *= (reach + nothing) / (static_cast<double>(nearest.distance[i]) + nothing);
}

uint32_t LabelOf(const View& view, const Nearest& nearest, uint32_t i) {
  return static_cast<uint32_t>(view.targets[nearest.row[i]]);
}

/// Shares of the classes in the votes.
void Share(const View& view, const Nearest& nearest, const double* votes, std::span<double> out) {
  for (double& share : out) share = 0.0;
  double all = 0;
  for (uint32_t i = 0; i < nearest.count; ++i) {
    all += votes[i];
    out[LabelOf(view, nearest, i)] += votes[i];
  }
  double most = 0;
  for (const double share : out) most = share > most ? share : most;
  for (uint32_t i = 0; i < nearest.count; ++i) {
    double& share = out[LabelOf(view, nearest, i)];
    if (share != most) continue;
    share += kTieBreak * all;
    all += kTieBreak * all;
    break;
  }
  const double shared = kSharedVotes / static_cast<double>(out.size());
  const double scale = 1.0 / (all + kSharedVotes);
  for (double& share : out) share = (share + shared) * scale;
}

double Mean(const View& view, const Nearest& nearest, const double* votes) {
  double all = 0;
  double sum = 0;
  for (uint32_t i = 0; i < nearest.count; ++i) {
    all += votes[i];
    sum += votes[i] * static_cast<double>(view.targets[nearest.row[i]]);
  }
  return all > 0.0 ? sum / all : 0.0;
}

bool GoodRow(const KnnConfig& config, const View& view, uint32_t row, bool used) {
  const float* inputs = view.block(row / kBlock) + row % kBlock;
  for (uint32_t i = 0; i < view.width; ++i) {
    const float x = inputs[uint64_t{i} * kBlock];
    if (!(used ? x >= -kLargestInput && x <= kLargestInput : x == 0.0F)) return false;
  }
  const float target = view.targets[row];
  const float weight = view.weights[row];
  if (!used) return target == 0.0F && weight == 0.0F;
  if (!(static_cast<double>(weight) >= 0.5 * kLeastWeight && static_cast<double>(weight) <= kLargestWeight))
    return false;
  if (!config.classification) return target >= -kLargestTarget && target <= kLargestTarget;
  return target >= 0.0F && target < static_cast<float>(config.outputs) &&
         target == static_cast<float>(static_cast<uint32_t>(target));
}

}  // namespace

base::Result<uint64_t> Knn::StateBytes(const KnnConfig& config) {
  const bool outputs = config.classification ? config.outputs >= 2 : config.outputs == 1;
  const bool valid = config.inputs >= 1 && config.inputs <= kMaxInputs && outputs &&
                     config.outputs <= kMaxClasses && config.neighbors >= 1 &&
                     config.neighbors <= kMaxNeighbors && config.window <= kMaxWindow &&
                     config.pool_bytes <= kMaxPool;
  if (!valid || (config.window != 0 && config.window < config.neighbors))
    return base::Status::kInvalidArgument;
  const uint64_t pool = config.pool_bytes / 16 * 16;
  const uint64_t capacity = Capacity(config);
  const uint64_t needed = sizeof(Head) + BlocksOf(capacity) * kBlock * RowBytes(config);
  if (capacity < config.neighbors || needed > pool) return base::Status::kResourceExhausted;
  return config.window != 0 ? needed : pool;
}

base::Status Knn::Create(const KnnConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk
                                : base::Status::kInvalidArgument;  // a fresh state is all zero
}

base::Status Knn::Validate(const KnnConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const View view(config, const_cast<uint8_t*>(memory.data()));
  const Head& head = *view.head;
  if (!ValidCounts(head.labels) || head.rows > view.capacity || head.next >= view.capacity)
    return base::Status::kDataLoss;
  if (head.rows < view.capacity && head.next != head.rows) return base::Status::kDataLoss;
  const uint32_t rows = static_cast<uint32_t>(BlocksOf(view.capacity) * kBlock);
  for (uint32_t row = 0; row < rows; ++row) {
    if (!GoodRow(config, view, row, row < head.rows)) return base::Status::kDataLoss;
  }
  for (uint64_t at = sizeof(Head) + rows * RowBytes(config); at < bytes; ++at) {
    if (memory[at] != 0) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

void Knn::Predict(std::span<const float> x, std::span<double> out) const {
  DIPPER_CHECK(x.size() == config_.inputs && out.size() == config_.outputs);
  const View view(config_, memory_);
  float query[kMaxInputs];
  for (uint32_t i = 0; i < view.width; ++i) query[i] = Input(x[i]);
  Nearest nearest(config_.neighbors);
  const Head& head = *view.head;
  Scan(view, query, 0, head.next, &nearest);
  if (head.rows == view.capacity) Scan(view, query, head.next, view.capacity, &nearest);
  double votes[kMaxNeighbors];
  CountVotes(config_, view, nearest, votes);
  if (config_.classification) {
    Share(view, nearest, votes, out);
  } else {
    out[0] = Mean(view, nearest, votes);
  }
}

void Knn::Learn(std::span<const float> x, std::span<const double>, double y, double weight) {
  DIPPER_CHECK(x.size() == config_.inputs);
  DIPPER_CHECK(!config_.classification || (y >= 0.0 && y < static_cast<double>(config_.outputs)));
  if (!(weight > 0.0)) return;
  const View view(config_, memory_);
  Head& head = *view.head;
  const uint32_t row = head.next;
  float* inputs = view.block(row / kBlock) + row % kBlock;
  for (uint32_t i = 0; i < view.width; ++i) inputs[uint64_t{i} * kBlock] = Input(x[i]);
  const double limit = static_cast<double>(kLargestTarget);
  view.targets[row] = config_.classification
                          ? static_cast<float>(SaturatingToInt<uint32_t>(y))
                          : static_cast<float>(y > limit ? limit : (y < -limit ? -limit : y));
  const double votes = weight > kLargestWeight ? kLargestWeight : weight;
  view.weights[row] = static_cast<float>(votes < kLeastWeight ? kLeastWeight : votes);
  head.rows += head.rows < view.capacity ? 1 : 0;
  head.next = row + 1 < view.capacity ? row + 1 : 0;
  head.labels += 1;
}

uint32_t Knn::rows() const { return View(config_, memory_).head->rows; }
uint32_t Knn::capacity() const { return View(config_, memory_).capacity; }

}  // namespace dipper::learn
