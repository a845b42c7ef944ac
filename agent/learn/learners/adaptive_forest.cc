// See adaptive_forest.h.
#include "agent/learn/learners/adaptive_forest.h"

#include <cmath>
#include <cstring>

#include "agent/learn/learners/adaptive_forest_layout.h"
#include "agent/learn/learners/hoeffding_tree_explain.h"
#include "agent/learn/learners/hoeffding_tree_grow.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn {
namespace {

using namespace forest;  // NOLINT(google-build-using-namespace): this learner's own layout
using tree::kNone;

// Of the trees' logistic leaf models, in turn: how fast to follow is a question that the votes decide.
constexpr uint32_t kRateCount = 3;
constexpr double kRates[kRateCount] = {0.1, 0.4, 1.6};
constexpr double kLeastVote = 1e-9;   // so that there always is a vote
constexpr double kLeastError = 1e-6;  // of regression, in shares of the loss: below it trees are equal
constexpr double kLeastTrial = 400;   // labels before a background tree is compared, and how clearly better
constexpr double kClearDeviations = 2;
constexpr double kWarningDelta = 1e-2;
constexpr double kAlarmDelta = 1e-3;

tree::GrowConfig GrowOf(const AdaptiveForestConfig& config, const tree::View& view, RandomState* random) {
  tree::GrowConfig grow;
  grow.grace = static_cast<double>(config.grace_labels);
  grow.delta = config.delta;
  grow.tie = config.tie;
  grow.max_depth = config.max_depth;
  grow.linear_share = 1.0 / config.lambda;
  // A regression leaf has histograms of its share of the numeric inputs only, and chooses among all it has.
  grow.candidates = config.classification ? Subspace(config) : 0;
  grow.random = random;
  const uint32_t quarter = view.header->max_leaves / 4;
  grow.reserve = config.trees < quarter ? config.trees : quarter;  // for background trees to begin
  return grow;
}

void FadeError(double* error, double* weight, double loss) {
  *weight = *weight + 1.0 < kVoteHorizon ? *weight + 1.0 : kVoteHorizon;
  *error += (loss - *error) / *weight;
}

/// What the detector is told: a wrong class, or a regression error in units of four ordinary ones of this
/// tree.
double Alarming(TreeSlot* slot, bool classification, double loss) {
  if (classification) return loss;
  slot->typical_weight =
      slot->typical_weight + 1.0 < kTypicalHorizon ? slot->typical_weight + 1.0 : kTypicalHorizon;
  slot->typical += (loss - slot->typical) / slot->typical_weight;
  const double share = slot->typical > 0.0 ? loss / (4.0 * slot->typical) : 0.0;
  return share < 1.0 ? share : 1.0;
}

/// A background tree need not wait for an alarm once it errs clearly less.
bool BackgroundIsBetter(const TreeSlot& slot) {
  if (slot.background == kNone || slot.background_weight < kLeastTrial) return false;
  const double deviation = std::sqrt(slot.error * (1.0 - slot.error) / kVoteHorizon);
  return slot.background_error + kClearDeviations * deviation < slot.error;
}

/// The background tree takes the place of the tree; without one a new tree begins.
void Replace(const tree::View& view, const tree::GrowConfig& grow, TreeSlot* slot) {
  tree::Fell(view, slot->root);
  if (slot->background != kNone) {
    slot->root = slot->background;
    slot->error = slot->background_error;
    slot->weight = slot->background_weight;
  } else {
    slot->root = tree::Plant(view, grow, kNone);
    slot->error = 0;
    slot->weight = 0;
  }
  DIPPER_CHECK(slot->root != kNone);
  slot->background = kNone;
  slot->background_error = 0;
  slot->background_weight = 0;
  slot->typical = 0;
  slot->typical_weight = 0;
  slot->detector = Detector{};
}

/// Eighth power of the accuracy, or of the least error of all trees over this one's: close to exponential
/// weights on the recent loss.
double VoteOf(const TreeSlot& slot, bool classification, double least_error) {
  const double good =
      classification ? 1.0 - slot.error : (least_error + kLeastError) / (slot.error + kLeastError);
  const double square = good * good;
  const double fourth = square * square;
  return fourth * fourth + kLeastVote;
}

double LeastError(const TreeSlot* slots, uint32_t trees) {
  double least = slots[0].error;
  for (uint32_t i = 1; i < trees; ++i) least = slots[i].error < least ? slots[i].error : least;
  return least;
}

}  // namespace

base::Result<uint64_t> AdaptiveForest::StateBytes(const AdaptiveForestConfig& config) {
  DIPPER_ASSIGN_OR_RETURN(const tree::PoolConfig pool, PlanForest(config));
  DIPPER_ASSIGN_OR_RETURN([[maybe_unused]] const tree::PoolHeader header, tree::PlanPool(pool));
  return config.pool_bytes / 16 * 16;
}

base::Status AdaptiveForest::Create(const AdaptiveForestConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  DIPPER_ASSIGN_OR_RETURN(const tree::PoolConfig pool, PlanForest(config));
  const Places places = PlacesOf(memory.data(), config.trees);
  DIPPER_RETURN_IF_ERROR(tree::CreatePool(pool, memory.subspan(PoolOffset(config.trees))));
  places.header->random = SeedRandom(config.seed);
  DIPPER_ASSIGN_OR_RETURN(places.header->poisson, MakePoissonTable(config.lambda));
  const tree::View view(places.pool);
  const tree::GrowConfig grow = GrowOf(config, view, &places.header->random);
  for (uint32_t i = 0; i < config.trees; ++i) {
    places.slots[i].root = tree::Plant(view, grow, kNone);
    places.slots[i].background = kNone;
  }
  return base::Status::kOk;
}

base::Status AdaptiveForest::Validate(const AdaptiveForestConfig& config, base::ByteView memory) {
  return ValidateForest(config, memory);
}

AdaptiveForest::AdaptiveForest(const AdaptiveForestConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

void AdaptiveForest::Predict(std::span<const float> x, std::span<double> out) const {
  const Places places = PlacesOf(memory_, config_.trees);
  const tree::View view(places.pool);
  DIPPER_CHECK(x.size() == config_.inputs && out.size() == config_.outputs);
  tree::Sample sample;
  tree::Standardize(view, x, &sample);
  double answer[tree::kMaxOutputs];
  double sum[tree::kMaxOutputs] = {};
  double votes = 0;
  const double least_error = LeastError(places.slots, config_.trees);
  for (uint32_t i = 0; i < config_.trees; ++i) {
    const TreeSlot& slot = places.slots[i];
    const tree::Node& leaf = view.nodes[tree::FindLeaf(view, slot.root, x)];
    tree::LeafAnswer(view, leaf, sample, {answer, config_.outputs});
    const double vote = VoteOf(slot, config_.classification, least_error);
    votes += vote;
    for (uint32_t c = 0; c < config_.outputs; ++c) sum[c] += vote * answer[c];
  }
  for (uint32_t c = 0; c < config_.outputs; ++c) out[c] = sum[c] / votes;
}

void AdaptiveForest::Learn(std::span<const float> x, std::span<const double>, double y, double weight) {
  const Places places = PlacesOf(memory_, config_.trees);
  const tree::View view(places.pool);
  DIPPER_CHECK(x.size() == config_.inputs);
  DIPPER_CHECK(!config_.classification || (y >= 0.0 && y < static_cast<double>(config_.outputs)));
  if (!(weight > 0.0)) return;
  const double counted = weight < tree::kLargestWeight ? weight : tree::kLargestWeight;
  const double target = tree::CutTarget(y);
  tree::Sample sample;
  tree::Standardize(view, x, &sample);
  tree::CountLabel(view, sample, target, counted);
  tree::GrowConfig grow = GrowOf(config_, view, &places.header->random);
  for (uint32_t i = 0; i < config_.trees; ++i) {
    TreeSlot& slot = places.slots[i];
    grow.rate = kRates[i % kRateCount];
    const double drawn = static_cast<double>(NextPoisson(places.header->random, places.header->poisson));
    const double loss = tree::LearnTree(view, grow, slot.root, sample, target, counted * drawn);
    FadeError(&slot.error, &slot.weight, tree::LossShare(view, loss));
    if (slot.background != kNone) {
      const double other = static_cast<double>(NextPoisson(places.header->random, places.header->poisson));
      FadeError(&slot.background_error, &slot.background_weight,
                tree::LossShare(
                    view, tree::LearnTree(view, grow, slot.background, sample, target, counted * other)));
    }
    const Change change =
        slot.detector.Add(Alarming(&slot, config_.classification, loss), kWarningDelta, kAlarmDelta);
    if (change == Change::kWarning && slot.background == kNone) {
      places.header->warnings += 1;
      slot.background = tree::Plant(view, grow, kNone);
    } else if (change == Change::kAlarm || BackgroundIsBetter(slot)) {
      places.header->drifts += 1;
      if (slot.background != kNone) places.header->promoted += 1;
      Replace(view, grow, &slot);
    }
  }
}

void AdaptiveForest::Contributions(std::span<const float> x, uint32_t output, std::span<double> terms) const {
  for (double& term : terms) term = 0.0;
  AddContributions(x, output, 1.0, terms);
}

void AdaptiveForest::AddContributions(std::span<const float> x, uint32_t output, double share,
                                      std::span<double> terms) const {
  const Places places = PlacesOf(memory_, config_.trees);
  const tree::View view(places.pool);
  DIPPER_CHECK(x.size() == config_.inputs);
  tree::Sample sample;
  tree::Standardize(view, x, &sample);
  const double least_error = LeastError(places.slots, config_.trees);
  double votes = 0;
  for (uint32_t i = 0; i < config_.trees; ++i)
    votes += VoteOf(places.slots[i], config_.classification, least_error);
  for (uint32_t i = 0; i < config_.trees; ++i) {
    const double vote = VoteOf(places.slots[i], config_.classification, least_error);
    tree::AddContributions(view, places.slots[i].root, sample, output, share * (vote / votes), terms);
  }
}

void AdaptiveForest::Importance(std::span<double> out) const {
  const Places places = PlacesOf(memory_, config_.trees);
  const double least_error = LeastError(places.slots, config_.trees);
  for (double& x : out) x = 0.0;
  for (uint32_t i = 0; i < config_.trees; ++i) {
    const double vote = VoteOf(places.slots[i], config_.classification, least_error);
    tree::AddImportance(tree::View(places.pool), places.slots[i].root, vote, out);
  }
  tree::Normalize(out);
}

uint32_t AdaptiveForest::tree_count() const { return config_.trees; }
uint32_t AdaptiveForest::background_count() const {
  const Places places = PlacesOf(memory_, config_.trees);
  uint32_t count = 0;
  for (uint32_t i = 0; i < config_.trees; ++i) count += places.slots[i].background != kNone ? 1U : 0U;
  return count;
}
uint32_t AdaptiveForest::node_count() const {
  return tree::View(PlacesOf(memory_, config_.trees).pool).node_count();
}
uint32_t AdaptiveForest::leaf_count() const {
  return tree::View(PlacesOf(memory_, config_.trees).pool).header->leaf_count;
}
uint32_t AdaptiveForest::max_leaf_count() const {
  return tree::View(PlacesOf(memory_, config_.trees).pool).header->max_leaves;
}
uint64_t AdaptiveForest::warnings() const { return PlacesOf(memory_, config_.trees).header->warnings; }
uint64_t AdaptiveForest::drifts() const { return PlacesOf(memory_, config_.trees).header->drifts; }

}  // namespace dipper::learn
