// Every stage, learner and detector that an image can hold, as closed lists of their configurations: what is
// added here (and to agent/schema/spec.fbs) is planned, created, checked, run and reported like the others.
// Thread-safe: plain values; the parts are views over the caller's memory.
#pragma once

#include <variant>

#include "agent/learn/drift/page_hinkley.h"
#include "agent/learn/learners/hoeffding_tree.h"
#include "agent/learn/learners/linear.h"
#include "agent/learn/learners/rls.h"
#include "agent/learn/stages/fault.h"
#include "agent/learn/stages/lags.h"
#include "agent/learn/stages/one_hot.h"
#include "agent/learn/stages/standard_scaler.h"

namespace dipper::learn {

using StageConfig = std::variant<std::monostate, StandardScalerConfig, LagsConfig, OneHotConfig, FaultConfig>;
using LearnerConfig = std::variant<std::monostate, LinearConfig, RlsConfig, HoeffdingTreeConfig>;
using DetectorConfig = std::variant<std::monostate, PageHinkleyConfig>;

/// PartOf<LinearConfig> is Linear: the class that works with a configuration.
template <typename Config>
struct PartFor;
// clang-format off
template <> struct PartFor<StandardScalerConfig> { using Part = StandardScaler; };
template <> struct PartFor<LagsConfig> { using Part = Lags; };
template <> struct PartFor<OneHotConfig> { using Part = OneHot; };
template <> struct PartFor<FaultConfig> { using Part = Fault; };
template <> struct PartFor<LinearConfig> { using Part = Linear; };
template <> struct PartFor<RlsConfig> { using Part = Rls; };
template <> struct PartFor<HoeffdingTreeConfig> { using Part = HoeffdingTree; };
template <> struct PartFor<PageHinkleyConfig> { using Part = PageHinkley; };
// clang-format on
template <typename Config>
using PartOf = typename PartFor<Config>::Part;

template <typename Config>
inline constexpr bool kIsPart = !std::is_same_v<std::decay_t<Config>, std::monostate>;

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
