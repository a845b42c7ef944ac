// The kinds of stages, learners and detectors that a spec text can name, in the order of the schema's unions.
// Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>

#include "agent/learn/image/limits.h"
#include "agent/schema/spec_generated.h"
#include "tools/lab/spec_fields.h"
#include "tools/lab/spec_words.h"

namespace dipper::lab {

inline constexpr uint64_t kMaxCount = std::numeric_limits<uint32_t>::max();
inline constexpr uint64_t kMaxLong = std::numeric_limits<int64_t>::max();

/// The object types of a union, in the order of the schema.
template <typename... Params>
struct KindList {
  static constexpr size_t kCount = sizeof...(Params);
  using Tuple = std::tuple<Params...>;
  template <size_t kIndex>
  using At = std::tuple_element_t<kIndex, Tuple>;
};
using StageKinds =
    KindList<schema::StandardScalerT, schema::LagsT, schema::OneHotT, schema::FaultT, schema::RobustClipT,
             schema::ImputerT, schema::HashedT, schema::InteractionsT, schema::RollingT, schema::BandEnergyT>;
using LearnerKinds = KindList<schema::LinearT, schema::RlsT, schema::HoeffdingTreeT, schema::NaiveBayesT,
                              schema::KnnT, schema::AdaptiveForestT, schema::RaceT, schema::HalfSpaceTreesT>;
using DetectorKinds = KindList<schema::PageHinkleyT, schema::AdwinT, schema::CusumT, schema::HddmAT>;
static_assert(StageKinds::kCount == static_cast<size_t>(schema::StageParams::MAX));
static_assert(LearnerKinds::kCount == static_cast<size_t>(schema::LearnerParams::MAX));
static_assert(DetectorKinds::kCount == static_cast<size_t>(schema::DriftParams::MAX));

/// Stages that put the inputs behind theirs into other places, so that a feature's name no longer finds it.
inline bool MovesInputs(schema::StageParams kind) {
  return kind == schema::StageParams::OneHot || kind == schema::StageParams::Hashed;
}

/// Calls use(std::type_identity<Params>()) for the kind of this index.
template <typename List, typename Use>
void ForKind(size_t index, Use use) {
  [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
    ((index == kIndex ? use(std::type_identity<typename List::template At<kIndex>>()) : void()), ...);
  }
  (std::make_index_sequence<List::kCount>());
}

}  // namespace dipper::lab
