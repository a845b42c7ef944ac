// See interactions.h.
#include "agent/learn/stages/interactions.h"

#include "agent/learn/stages/selection.h"

namespace dipper::learn {

uint32_t Interactions::OutWidth(const InteractionsConfig& config) {
  const uint32_t selected = static_cast<uint32_t>(config.inputs.size());
  if (selected == 0) return config.width;
  return config.width + selected * (selected - 1) / 2 + (config.squares ? selected : 0);
}

base::Result<uint64_t> Interactions::StateBytes(const InteractionsConfig& config) {
  if (!IsSelection(config.width, config.inputs)) return base::Status::kInvalidArgument;
  const uint32_t out = OutWidth(config);
  if (out == config.width || out > kMaxInputs) return base::Status::kInvalidArgument;
  return uint64_t{0};
}

base::Status Interactions::Create(const InteractionsConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk : base::Status::kInvalidArgument;
}

base::Status Interactions::Validate(const InteractionsConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk : base::Status::kDataLoss;
}

void Interactions::Apply(StageMode, float* row) const {
  float* out = row + config_.width;
  const size_t selected = config_.inputs.size();
  const size_t gap = config_.squares ? 0 : 1;
  for (size_t i = 0; i < selected; ++i) {
    const double left = static_cast<double>(row[config_.inputs[i]]);
    for (size_t j = i + gap; j < selected; ++j) {
      *out++ = ToInput(left * static_cast<double>(row[config_.inputs[j]]));
    }
  }
}

}  // namespace dipper::learn
