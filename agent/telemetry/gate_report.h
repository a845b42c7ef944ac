// The health gate's numbers as they are told: agent/schema/telemetry.fbs. A plain value.
#pragma once

#include <cstdint>

namespace dipper::telemetry {

struct GateReport {
  uint64_t samples = 0;
  double champion_loss = 0;
  double challenger_loss = 0;
  double lower = 0;
  double upper = 0;
  double margin = 0;
  uint64_t observed = 0;
  uint64_t labelled = 0;
  uint64_t compared = 0;
  double champion_alarm_rate = 0;
  double challenger_alarm_rate = 0;
  double score_shift = 0;
};

}  // namespace dipper::telemetry
