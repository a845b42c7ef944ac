// Every stage, learner and detector that an image can hold, as closed lists of their configurations: what is
// added here (and to agent/schema/spec.fbs) is planned, created, checked, run and reported like the others.
// Thread-safe: plain values; the parts are views over the caller's memory.
#pragma once

#include <variant>

#include "agent/learn/drift/adwin.h"
#include "agent/learn/drift/cusum.h"
#include "agent/learn/drift/hddm_a.h"
#include "agent/learn/drift/page_hinkley.h"
#include "agent/learn/learners/adaptive_forest.h"
#include "agent/learn/learners/hoeffding_tree.h"
#include "agent/learn/learners/knn.h"
#include "agent/learn/learners/linear.h"
#include "agent/learn/learners/naive_bayes.h"
#include "agent/learn/learners/rls.h"
#include "agent/learn/stages/band_energy.h"
#include "agent/learn/stages/fault.h"
#include "agent/learn/stages/hashed.h"
#include "agent/learn/stages/imputer.h"
#include "agent/learn/stages/interactions.h"
#include "agent/learn/stages/lags.h"
#include "agent/learn/stages/one_hot.h"
#include "agent/learn/stages/robust_clip.h"
#include "agent/learn/stages/rolling.h"
#include "agent/learn/stages/standard_scaler.h"

namespace dipper::learn {

using StageConfig = std::variant<std::monostate, StandardScalerConfig, LagsConfig, OneHotConfig, FaultConfig,
                                 RobustClipConfig, ImputerConfig, HashedConfig, InteractionsConfig,
                                 RollingConfig, BandEnergyConfig>;
using LearnerConfig = std::variant<std::monostate, LinearConfig, RlsConfig, HoeffdingTreeConfig,
                                   NaiveBayesConfig, KnnConfig, AdaptiveForestConfig>;
using DetectorConfig = std::variant<std::monostate, PageHinkleyConfig, AdwinConfig, CusumConfig, HddmAConfig>;

/// PartOf<LinearConfig> is Linear: the class that works with a configuration.
template <typename Config>
struct PartFor;
// clang-format off
template <> struct PartFor<StandardScalerConfig> { using Part = StandardScaler; };
template <> struct PartFor<LagsConfig> { using Part = Lags; };
template <> struct PartFor<OneHotConfig> { using Part = OneHot; };
template <> struct PartFor<FaultConfig> { using Part = Fault; };
template <> struct PartFor<RobustClipConfig> { using Part = RobustClip; };
template <> struct PartFor<ImputerConfig> { using Part = Imputer; };
template <> struct PartFor<HashedConfig> { using Part = Hashed; };
template <> struct PartFor<InteractionsConfig> { using Part = Interactions; };
template <> struct PartFor<RollingConfig> { using Part = Rolling; };
template <> struct PartFor<BandEnergyConfig> { using Part = BandEnergy; };
template <> struct PartFor<LinearConfig> { using Part = Linear; };
template <> struct PartFor<RlsConfig> { using Part = Rls; };
template <> struct PartFor<HoeffdingTreeConfig> { using Part = HoeffdingTree; };
template <> struct PartFor<NaiveBayesConfig> { using Part = NaiveBayes; };
template <> struct PartFor<KnnConfig> { using Part = Knn; };
template <> struct PartFor<AdaptiveForestConfig> { using Part = AdaptiveForest; };
template <> struct PartFor<AdwinConfig> { using Part = Adwin; };
template <> struct PartFor<CusumConfig> { using Part = Cusum; };
template <> struct PartFor<HddmAConfig> { using Part = HddmA; };
template <> struct PartFor<PageHinkleyConfig> { using Part = PageHinkley; };
// clang-format on
template <typename Config>
using PartOf = typename PartFor<Config>::Part;

template <typename Config>
inline constexpr bool kIsPart = !std::is_same_v<std::decay_t<Config>, std::monostate>;

/// Learners whose Learn looks at the answer that Predict gave. The others need no fresh one for a late label.
template <typename Part>
inline constexpr bool kLearnsFromAnswer = std::is_same_v<Part, Linear> || std::is_same_v<Part, NaiveBayes>;

/// Bytes of a part's section. kInvalidArgument, kResourceExhausted: as the part says.
template <typename AnyConfig>
base::Result<uint64_t> PartBytes(const AnyConfig& any) {
  return std::visit(
      [](const auto& config) -> base::Result<uint64_t> {
        if constexpr (kIsPart<decltype(config)>) {
          return PartOf<std::decay_t<decltype(config)>>::StateBytes(config);
        } else {
          return base::Status::kInvalidArgument;
        }
      },
      any);
}

template <typename AnyConfig>
base::Status CreatePart(const AnyConfig& any, base::MutableBytes memory) {
  return std::visit(
      [&](const auto& config) {
        if constexpr (kIsPart<decltype(config)>) {
          return PartOf<std::decay_t<decltype(config)>>::Create(config, memory);
        } else {
          return base::Status::kInvalidArgument;
        }
      },
      any);
}

template <typename AnyConfig>
base::Status ValidatePart(const AnyConfig& any, base::ByteView memory) {
  return std::visit(
      [&](const auto& config) {
        if constexpr (kIsPart<decltype(config)>) {
          return PartOf<std::decay_t<decltype(config)>>::Validate(config, memory);
        } else {
          return base::Status::kInvalidArgument;
        }
      },
      any);
}

/// Calls `use` with the part itself.
template <typename AnyConfig, typename Use>
void WithPart(const AnyConfig& any, base::MutableBytes memory, Use&& use) {
  std::visit(
      [&](const auto& config) {
        if constexpr (kIsPart<decltype(config)>) {
          PartOf<std::decay_t<decltype(config)>> part(config, memory);
          use(part);
        }
      },
      any);
}

}  // namespace dipper::learn
