// ModelInput: one record as one model took it, decoded. Exactly what decides what the model does, so that a
// recording of it runs again to the same image.
#pragma once

#include <cstdint>
#include <span>

namespace dipper::runtime {

struct ModelInput {
  bool is_label = false;  ///< A label that came on its own: there are no values.
  uint64_t id = 0;
  int64_t time_ns = 0;
  bool has_label = false;
  double label = 0;
  double weight = 1;
  std::span<const float> values;  ///< In the order of the model's features.
};

}  // namespace dipper::runtime
