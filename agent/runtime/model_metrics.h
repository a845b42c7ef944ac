// What a model says of itself as metrics of the catalogue: only what its spec gives a meaning. Thread-safe:
// pure functions. No heap.
#pragma once

#include "agent/learn/image/model.h"
#include "agent/runtime/metric_batch.h"

namespace dipper::runtime {

inline constexpr uint32_t kMaxDriftFeatures = 32;  ///< Drift of each of the first ones is told.

/// Samples, losses, intervals, race, drift and anomalies. Classification and regression have losses of their
/// own, a model without labels has none; intervals and race weights come only from models that have them.
/// What is not known yet is not-a-number. Cost: Model::ReadMetrics.
/// @param spec     The one that `model` runs by.
/// @param skipped  Records that never reached the model.
void AddModelMetrics(const learn::Model& model, const learn::Spec& spec, uint64_t skipped,
                     MetricBatch* batch);

}  // namespace dipper::runtime
