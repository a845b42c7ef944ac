// See one_hot.h.
#include "agent/learn/stages/one_hot.h"

#include "agent/learn/math/nan.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn {

uint32_t OneHot::OutWidth(const OneHotConfig& config) {
  uint32_t width = config.width;
  for (const uint16_t count : config.categories) width += count;
  return width;
}

void OneHot::Apply(StageMode, float* row) const {
  // Every input moves to a place at or after its own, so going backwards overwrites nothing that is still
  // needed.
  float* out = row + OutWidth(config_);
  size_t next = config_.inputs.size();
  for (uint32_t i = config_.width; i-- > 0;) {
    const float value = row[i];
    if (next == 0 || config_.inputs[next - 1] != i) {
      *--out = value;
      continue;
    }
    --next;
    const uint32_t places = config_.categories[next] + uint32_t{1};
    out -= places;
    for (uint32_t j = 0; j < places; ++j) out[j] = 0.0F;
    if (IsNan(value)) continue;
    const uint32_t category = SaturatingToInt<uint32_t>(static_cast<double>(value));
    out[category < places ? category : places - 1] = 1.0F;
  }
}

}  // namespace dipper::learn
