// Paho's option objects made from our configuration. Thread-safe: pure functions; may throw std::bad_alloc.
#pragma once

#include <mqtt/async_client.h>

#include "agent/link/broker_address.h"
#include "agent/link/mqtt_session.h"

namespace dipper::link {

mqtt::create_options MakeCreateOptions(const MqttConfig& config);
mqtt::connect_options MakeConnectOptions(const MqttConfig& config, const BrokerAddress& address);

}  // namespace dipper::link
