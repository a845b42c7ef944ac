// One row of the table: a broker, a package on it, so many devices, from their start to the last one's end or
// the limit. Linux.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/transfer/load_device.h"

namespace dipper::bench {

struct LoadPlan {
  Way way = Way::kRetained;
  link::MqttVersion version = link::MqttVersion::k5;
  uint32_t devices = 100;
  uint32_t block_bytes = 4096;  ///< As sent, about.
  uint32_t blocks = 64;
  uint32_t ask_window = 64;
  uint32_t spread_s = 0;
  uint32_t limit_s = 120;
};

struct LoadFigures {
  LoadPlan plan;
  uint64_t expected = 0;    ///< Blocks.
  uint64_t delivered = 0;   ///< Different blocks that arrived whole and were written.
  uint64_t sent_again = 0;  ///< Blocks that arrived and were there already.
  uint64_t asked_again = 0;
  uint64_t received_bytes = 0;  ///< Payloads and topics, heads and all.
  uint32_t complete = 0, failed = 0, disconnects = 0;
  double connect_s = 0, heads_s = 0, blocks_s = 0;
  double median_s = 0;                     ///< Of the devices that completed.
  double broker_cpu_s = 0, own_cpu_s = 0;  ///< While blocks went out.
  double broker_peak_mb = 0;
  double own_peak_mb = 0;
  /// With a spread, as observed: seconds from the offer to each device's first block, by device; below 0:
  /// none came. Beside it the place in the window that the device computed for itself.
  std::vector<double> first_block_s;
  std::vector<uint32_t> delay_s;
  uint64_t answered = 0;  ///< kChunks: by the server.
};

/// Nothing: the broker could not be started, or devices could not connect; said on stderr.
std::optional<LoadFigures> RunLoad(const LoadPlan& plan);

}  // namespace dipper::bench
