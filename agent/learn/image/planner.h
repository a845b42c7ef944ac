// The steps of MakePlan, in the order in which they depend on each other. Internal to agent/learn/image.
// Not thread-safe; lives for one call.
#pragma once

#include <array>
#include <span>

#include "agent/base/status.h"
#include "agent/learn/image/layout.h"

namespace dipper::learn {

class Planner {
 public:
  Planner(const schema::Spec& table, Plan* plan, const char** why)
      : table_(table), plan_(*plan), layout_(plan->layout), why_(why) {}
  base::Status Run();

 private:
  enum class Kind { kAny, kNumeric, kCategorical };

  base::Status Refuse(const char* why, base::Status status = base::Status::kInvalidArgument);
  base::Status AddTable(std::span<const uint16_t> values, TableList* list);
  base::Status PlanFeatures();
  base::Status PlanTarget();
  base::Status SelectInputs(const flatbuffers::Vector<uint16_t>* wanted, Kind kind, StageLayout* stage);
  base::Status PlanStage(const schema::Stage& in, StageLayout* stage);
  base::Status PlanScaler(const schema::StandardScaler& in, StageLayout* stage);
  base::Status PlanLags(const schema::Lags& in, StageLayout* stage);
  base::Status PlanOneHot(const schema::OneHot& in, StageLayout* stage);
  base::Status PlanFault(const schema::Fault& in, StageLayout* stage);
  base::Status PlanRobustClip(const schema::RobustClip& in, StageLayout* stage);
  base::Status PlanImputer(const schema::Imputer& in, StageLayout* stage);
  base::Status PlanHashed(const schema::Hashed& in, StageLayout* stage);
  base::Status PlanInteractions(const schema::Interactions& in, StageLayout* stage);
  base::Status PlanRolling(const schema::Rolling& in, StageLayout* stage);
  base::Status PlanBandEnergy(const schema::BandEnergy& in, StageLayout* stage);
  base::Status Append(uint32_t out_width, const char* why);
  base::Status PlanStages();
  base::Status PlanPending();
  uint32_t UsualCapacity() const;
  base::Status PlanAnomaly();
  base::Status PlanIntervals();
  base::Status PlanDrift();
  base::Status PlanLearner();
  base::Status PlanLinear(const schema::Linear& in, LearnerConfig* config);
  base::Status PlanRls(const schema::Rls& in, LearnerConfig* config);
  base::Status PlanTree(const schema::HoeffdingTree& in, LearnerConfig* config);
  base::Status PlanForest(const schema::AdaptiveForest& in, LearnerConfig* config);
  base::Status PlanLearnerKind(schema::LearnerParams kind, const void* params, LearnerConfig* config);
  base::Status PlanRace(const schema::Race& in);
  base::Status PlanAction(schema::DriftAction action);
  base::Status PlanDetector(const schema::Drift& in, DetectorLayout* out);
  base::Status PlanScorer(const schema::HalfSpaceTrees& in);
  base::Status PlaceLearners();
  base::Status PlanSections();
  base::Status RefuseBudget();
  base::Status Place(const base::Result<uint64_t>& bytes, const char* why, Section* section);

  const schema::Spec& table_;
  Plan& plan_;
  Layout& layout_;
  const char** why_;
  uint32_t width_ = 0;                             // inputs at the current stage
  std::array<uint16_t, kMaxInputs> categories_{};  // of each of them, 0 = numeric
  std::array<uint16_t, kMaxInputs> selected_{};    // scratch
};

}  // namespace dipper::learn
