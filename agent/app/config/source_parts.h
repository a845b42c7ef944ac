// What the configuration of a source means to the parts that are made of it. Thread-safe: pure functions.
#pragma once

#include <string>
#include <vector>

#include "agent/app/config/config.h"
#include "agent/runtime/mqtt_source.h"

namespace dipper::app {

/// "name=/json/pointer" taken apart; a name alone is the member of that name, "name=" the whole payload.
std::vector<runtime::MqttField> MqttFields(const SourceConfig& source);

/// What a joined source contributes.
std::vector<std::string> JoinColumns(const SourceConfig& source);

}  // namespace dipper::app
