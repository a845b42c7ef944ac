// See one_hot.h.
#include "agent/learn/stages/one_hot.h"

#include "agent/learn/math/nan.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn {

uint32_t OneHotOutWidth(const OneHotConfig& config) {
  uint32_t width = config.width;
  for (const uint16_t count : config.categories) width += count;
  return width;
}

void ApplyOneHot(const OneHotConfig& config, const float* in, float* out) {
  size_t next = 0;
  for (uint32_t i = 0; i < config.width; ++i) {
    if (next == config.inputs.size() || config.inputs[next] != i) {
      *out++ = in[i];
      continue;
    }
    const uint32_t places = config.categories[next] + uint32_t{1};
    ++next;
    for (uint32_t j = 0; j < places; ++j) out[j] = 0.0F;
    if (!IsNan(in[i])) {
      const uint32_t category = SaturatingToInt<uint32_t>(static_cast<double>(in[i]));
      out[category < places ? category : places - 1] = 1.0F;
    }
    out += places;
  }
}

}  // namespace dipper::learn
