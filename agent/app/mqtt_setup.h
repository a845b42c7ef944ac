// What the connection needs from the configuration: address, credentials, will.
#pragma once

#include <string>

#include "agent/app/config/config.h"
#include "agent/link/mqtt_session.h"
#include "hal/api/identity.h"

namespace dipper::app {

/// Reads the password from its file. False: `*message` says which key is wrong and what to do.
bool MakeMqttConfig(const Config& config, const hal::DeviceIdentity& identity, uint64_t session,
                    link::MqttConfig* mqtt, std::string* message);

}  // namespace dipper::app
