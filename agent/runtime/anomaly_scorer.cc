// The AUC window over memory of its own.
#include "agent/runtime/anomaly_scorer.h"

namespace dipper::runtime {
namespace {

base::MutableBytes Prepare(base::MutableBytes memory) {
  const learn::AucWindowConfig config{.window = AnomalyScorer::kWindow};
  const auto bytes = learn::AucWindow::StateBytes(config);
  DIPPER_CHECK(bytes.ok() && *bytes <= memory.size());
  const auto state = memory.first(static_cast<size_t>(*bytes));
  DIPPER_CHECK(Ok(learn::AucWindow::Create(config, state)));
  return state;
}

}  // namespace

AnomalyScorer::AnomalyScorer() : auc_({.window = kWindow}, Prepare(memory_)) {}

double AnomalyScorer::Auc() { return auc_.Read(scratch_); }

}  // namespace dipper::runtime
