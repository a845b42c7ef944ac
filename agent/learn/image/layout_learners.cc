// See layout.h: the learners and how they share a budget.
#include "agent/learn/image/planner.h"

namespace dipper::learn {

using base::Status;

namespace {

bool Between(double x, double low, double high) { return x >= low && x <= high; }

void GivePool(uint64_t bytes, LearnerConfig* any) {
  std::visit(
      [bytes](auto& config) {
        if constexpr (requires { config.pool_bytes; }) config.pool_bytes = bytes;
        if constexpr (requires { config.window; }) {
          // A window is the most that is wanted; where it does not fit it is what fits.
          if (config.window > 0 && !Knn::StateBytes(config).ok()) config.window = 0;
        }
      },
      *any);
}

}  // namespace

Status Planner::PlanLinear(const schema::Linear& in, LearnerConfig* config) {
  LinearConfig& out = config->emplace<LinearConfig>();
  const bool classification = layout_.target.classification;
  out.inputs = layout_.inputs;
  out.outputs = layout_.outputs;
  out.rate = in.rate();
  out.l1 = in.l1();
  out.l2 = in.l2();
  out.huber_delta = in.huber_delta();
  out.quantile = in.quantile();
  // Rates of a regression do not gain from knowing the delay.
  out.delay = classification ? layout_.target.label_delay : 0;
  switch (in.optimizer()) {
    case schema::Optimizer::Autostep:
      out.optimizer = LinearOptimizer::kAutostep;
      break;
    case schema::Optimizer::Sgd:
      out.optimizer = LinearOptimizer::kSgd;
      break;
    case schema::Optimizer::Adagrad:
      out.optimizer = LinearOptimizer::kAdagrad;
      break;
    case schema::Optimizer::Ftrl:
      out.optimizer = LinearOptimizer::kFtrl;
      break;
    default:
      return Refuse("linear.optimizer: unknown optimizer", Status::kUnimplemented);
  }
  if (classification && in.loss() > schema::Loss::Logistic && in.loss() != schema::Loss::Softmax &&
      in.loss() <= schema::Loss::MAX) {
    return Refuse(
        "linear.loss squared, huber and quantile need regression; rls does least squares on classes");
  }
  switch (in.loss()) {
    case schema::Loss::Default:
      out.loss = !classification        ? LinearLoss::kSquared
                 : layout_.outputs == 2 ? LinearLoss::kLogistic
                                        : LinearLoss::kSoftmax;
      break;
    case schema::Loss::Logistic:
      if (!classification || layout_.outputs != 2)
        return Refuse("linear.loss logistic: needs exactly 2 classes");
      out.loss = LinearLoss::kLogistic;
      break;
    case schema::Loss::Softmax:
      if (!classification) return Refuse("linear.loss softmax: needs classification");
      out.loss = LinearLoss::kSoftmax;
      break;
    case schema::Loss::Squared:
      out.loss = LinearLoss::kSquared;
      break;
    case schema::Loss::Huber:
      out.loss = LinearLoss::kHuber;
      break;
    case schema::Loss::Quantile:
      out.loss = LinearLoss::kQuantile;
      break;
    default:
      return Refuse("linear.loss: unknown loss", Status::kUnimplemented);
  }
  if (!(out.rate > 0.0 && out.rate <= 1.0)) return Refuse("linear.rate: above 0, at most 1");
  if (!Between(out.l1, 0.0, 1000.0)) return Refuse("linear.l1: 0 to 1000");
  if (!Between(out.l2, 0.0, 1.0)) return Refuse("linear.l2: 0 to 1");
  if (!Between(out.huber_delta, 0.001, 5.0)) return Refuse("linear.huber_delta: 0.001 to 5 deviations");
  if (!Between(out.quantile, 0.001, 0.999)) return Refuse("linear.quantile: 0.001 to 0.999");
  if (out.loss == LinearLoss::kQuantile) layout_.regression_metrics.quantile = out.quantile;
  return Status::kOk;
}

Status Planner::PlanRls(const schema::Rls& in, LearnerConfig* config) {
  if (layout_.inputs > 256) return Refuse("rls: at most 256 inputs after the stages");
  if (!Between(in.forgetting(), 0.9, 1.0)) return Refuse("rls.forgetting: 0.9 to 1");
  if (!Between(in.regularization(), 1e-9, 1e6)) return Refuse("rls.regularization: 1e-9 to 1e6");
  *config = RlsConfig{layout_.inputs, layout_.outputs, layout_.target.classification, in.forgetting(),
                      in.regularization()};
  return Status::kOk;
}

Status Planner::PlanTree(const schema::HoeffdingTree& in, LearnerConfig* config) {
  HoeffdingTreeConfig& out = config->emplace<HoeffdingTreeConfig>();
  out.inputs = layout_.inputs;
  out.outputs = layout_.outputs;
  out.classification = layout_.target.classification;
  out.pool_bytes = in.pool_bytes();
  out.grace_labels = in.grace_labels();
  out.delta = in.delta();
  out.tie = in.tie();
  out.max_depth = in.max_depth();
  out.adaptive = in.adaptive();
  if (out.grace_labels < 1) return Refuse("hoeffding_tree.grace_labels: at least 1");
  if (!(out.delta > 0.0 && out.delta < 1.0)) return Refuse("hoeffding_tree.delta: between 0 and 1");
  if (!Between(out.tie, 0.0, 1.0)) return Refuse("hoeffding_tree.tie: 0 to 1");
  if (out.max_depth < 1 || out.max_depth > 64) return Refuse("hoeffding_tree.max_depth: 1 to 64");
  return Status::kOk;
}

Status Planner::PlanForest(const schema::AdaptiveForest& in, LearnerConfig* config) {
  AdaptiveForestConfig& out = config->emplace<AdaptiveForestConfig>();
  out.inputs = layout_.inputs;
  out.outputs = layout_.outputs;
  out.classification = layout_.target.classification;
  out.pool_bytes = in.pool_bytes();
  out.trees = in.trees();
  out.lambda = in.lambda();
  out.subspace = in.subspace();
  out.seed = table_.seed();
  out.grace_labels = in.grace_labels();
  out.delta = in.delta();
  out.tie = in.tie();
  out.max_depth = in.max_depth();
  if (out.trees < 1 || out.trees > 64) return Refuse("adaptive_forest.trees: 1 to 64");
  if (!(out.lambda > 0.0 && out.lambda <= 16.0)) return Refuse("adaptive_forest.lambda: above 0, to 16");
  if (out.grace_labels < 1) return Refuse("adaptive_forest.grace_labels: at least 1");
  if (!(out.delta > 0.0 && out.delta < 1.0)) return Refuse("adaptive_forest.delta: between 0 and 1");
  if (!Between(out.tie, 0.0, 1.0)) return Refuse("adaptive_forest.tie: 0 to 1");
  if (out.max_depth < 1 || out.max_depth > 64) return Refuse("adaptive_forest.max_depth: 1 to 64");
  return Status::kOk;
}

Status Planner::PlanLearnerKind(schema::LearnerParams kind, const void* params, LearnerConfig* config) {
  const bool nominal = kind == schema::LearnerParams::HoeffdingTree ||
                       kind == schema::LearnerParams::NaiveBayes ||
                       kind == schema::LearnerParams::AdaptiveForest;
  for (uint32_t i = 0; i < width_ && !nominal; ++i) {
    if (categories_[i] > 0) return Refuse("learner: a categorical input reaches it; add a one_hot stage");
  }
  const bool classification = layout_.target.classification;
  switch (kind) {
    case schema::LearnerParams::Linear:
      return PlanLinear(*static_cast<const schema::Linear*>(params), config);
    case schema::LearnerParams::Rls:
      return PlanRls(*static_cast<const schema::Rls*>(params), config);
    case schema::LearnerParams::HoeffdingTree:
      return PlanTree(*static_cast<const schema::HoeffdingTree*>(params), config);
    case schema::LearnerParams::NaiveBayes: {
      const double fading = static_cast<const schema::NaiveBayes*>(params)->fading();
      if (!classification) return Refuse("naive_bayes: only for classification");
      if (!Between(fading, 0.99, 1.0)) return Refuse("naive_bayes.fading: 0.99 to 1");
      NaiveBayesConfig& out = config->emplace<NaiveBayesConfig>();
      out.inputs = layout_.inputs;
      out.outputs = layout_.outputs;
      out.fading = fading;
      out.tempered = static_cast<const schema::NaiveBayes*>(params)->tempered();
      return Status::kOk;
    }
    case schema::LearnerParams::Knn: {
      const schema::Knn& in = *static_cast<const schema::Knn*>(params);
      if (in.neighbors() < 1 || in.neighbors() > 64) return Refuse("knn.neighbors: 1 to 64");
      if (in.window() > 1U << 24U) return Refuse("knn.window: at most 16777216 samples");
      if (in.window() > 0 && in.window() < in.neighbors())
        return Refuse("knn.window: at least as many samples as neighbors");
      KnnConfig& out = config->emplace<KnnConfig>();
      out.inputs = layout_.inputs;
      out.outputs = layout_.outputs;
      out.classification = classification;
      out.neighbors = in.neighbors();
      out.by_distance = in.by_distance();
      out.window = in.window();
      out.pool_bytes = 0;
      return Status::kOk;
    }
    case schema::LearnerParams::AdaptiveForest:
      return PlanForest(*static_cast<const schema::AdaptiveForest*>(params), config);
    default:
      return Refuse("learner.kind: unknown learner", Status::kUnimplemented);
  }
}

Status Planner::PlanRace(const schema::Race& in) {
  Layout& l = layout_;
  l.race_enabled = true;
  l.race_trivial = in.trivial();
  l.learner_count = in.members() == nullptr ? 0 : in.members()->size();
  const uint32_t members = l.learner_count + (l.race_trivial ? 1 : 0);
  if (l.learner_count < 1 || members > kMaxRaceMembers) {
    return Refuse("race: 1 to 8 members, the trivial one included");
  }
  if (!Between(in.share(), 0.0, 0.5)) return Refuse("race.share: 0 to 0.5");
  l.race = {members, l.outputs, l.target.classification, in.share()};
  for (uint32_t i = 0; i < l.learner_count; ++i) {
    const schema::RaceMember& member = *in.members()->Get(i);
    if (member.params_type() == schema::LearnerParams::Race)
      return Refuse("race: a race cannot be in a race");
    DIPPER_RETURN_IF_ERROR(PlanLearnerKind(member.params_type(), member.params(), &l.learners[i].config));
  }
  l.entry_outputs = l.outputs * (1 + members);
  return Status::kOk;
}

Status Planner::PlanScorer(const schema::HalfSpaceTrees& in) {
  layout_.unsupervised = true;
  layout_.learner_count = 0;
  layout_.scorer = {layout_.inputs, {}, in.pool_bytes(), in.trees(), in.depth(), in.window(), table_.seed()};
  if (in.trees() > 256) return Refuse("half_space_trees.trees: 0 to 256");
  if (in.depth() > 32) return Refuse("half_space_trees.depth: 0 to 32");
  if (in.window() < 64 || in.window() > 1048576)
    return Refuse("half_space_trees.window: 64 to 1048576 samples");
  return Status::kOk;
}

Status Planner::PlanLearner() {
  const bool scores = table_.learner_type() == schema::LearnerParams::HalfSpaceTrees;
  if (scores != (layout_.target.kind == schema::TargetKind::None)) {
    return Refuse("learner: half_space_trees goes with target.kind none, and nothing else does");
  }
  if (scores) return PlanScorer(*table_.learner_as_HalfSpaceTrees());
  layout_.entry_outputs = layout_.outputs;
  if (table_.learner_type() == schema::LearnerParams::Race) return PlanRace(*table_.learner_as_Race());
  return PlanLearnerKind(table_.learner_type(), table_.learner(), &layout_.learners[0].config);
}

Status Planner::PlaceLearners() {
  Layout& l = layout_;
  if (l.race_enabled) DIPPER_RETURN_IF_ERROR(Place(Race::StateBytes(l.race), "race", &l.race_section));
  if (l.unsupervised) {
    const uint64_t left = table_.budget_bytes() > l.total_bytes ? table_.budget_bytes() - l.total_bytes : 0;
    if (l.scorer.pool_bytes == 0) l.scorer.pool_bytes = left / 16 * 16;
    const base::Result<uint64_t> bytes = HalfSpaceTrees::StateBytes(l.scorer);
    if (bytes.status() == Status::kResourceExhausted && table_.learner_as_HalfSpaceTrees()->pool_bytes() == 0)
      return RefuseBudget();
    return Place(bytes, "half_space_trees: the budget is too small for a useful tree", &l.scorer_section);
  }
  // First those of fixed size, then windows, which take no more than they want; the rest of the budget is
  // shared evenly by the growing ones.
  enum class Appetite { kFixed, kWindow, kPool };
  const auto appetite = [](const LearnerConfig& any) {
    return std::visit(
        [](const auto& config) {
          Appetite wants = Appetite::kFixed;
          if constexpr (requires { config.pool_bytes; }) {
            if (config.pool_bytes == 0) wants = Appetite::kPool;
            if constexpr (requires { config.window; }) {
              if (config.pool_bytes == 0) wants = Appetite::kWindow;
            }
          }
          return wants;
        },
        any);
  };
  uint64_t open = 0;  // learners that still wait for their share
  for (uint32_t i = 0; i < l.learner_count; ++i) open += appetite(l.learners[i].config) != Appetite::kFixed;
  const uint64_t budget = table_.budget_bytes();
  for (const Appetite turn : {Appetite::kFixed, Appetite::kWindow, Appetite::kPool}) {
    for (uint32_t i = 0; i < l.learner_count; ++i) {
      LearnerLayout& learner = l.learners[i];
      if (learner.section.bytes > 0 || appetite(learner.config) != turn) continue;
      if (turn != Appetite::kFixed) {
        if (l.total_bytes >= budget) return RefuseBudget();
        GivePool((budget - l.total_bytes) / open / (l.background_enabled ? 2 : 1) / 16 * 16, &learner.config);
        open -= 1;
      }
      const base::Result<uint64_t> bytes = PartBytes(learner.config);
      if (bytes.status() == Status::kResourceExhausted && turn != Appetite::kFixed) return RefuseBudget();
      DIPPER_RETURN_IF_ERROR(Place(
          bytes, "learner: its pool_bytes are too few, or a parameter is out of range", &learner.section));
    }
  }
  if (l.background_enabled) {
    DIPPER_RETURN_IF_ERROR(Place(l.learners[0].section.bytes, "learner", &l.background_section));
  }
  return Status::kOk;
}

}  // namespace dipper::learn
