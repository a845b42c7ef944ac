// Broker addresses and the reasons why a broker cannot be reached. Exceptions stay inside. Thread-safe.
#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "agent/link/mqtt_session.h"

namespace dipper::link {

struct BrokerAddress {
  bool tls = false;
  bool websocket = false;
  std::string host;  ///< Without the brackets of an IPv6 address.
  std::string port;
  std::string paho_url;
};

/// Takes mqtt://, mqtts://, ws:// and wss:// URLs apart. Empty: not such a URL.
std::optional<BrokerAddress> ParseBrokerUrl(const std::string& url);

/// Tries name, TCP and TLS once more by itself and says which fails and why, because Paho only says "TCP/TLS
/// connect failure". Blocks for up to `timeout_ms` after the name is resolved; ends early when `stop` turns
/// true.
std::string DiagnoseConnect(const BrokerAddress& address, const MqttConfig& config, int timeout_ms,
                            const std::atomic<bool>& stop);

/// Text of an MQTT 5 reason code, an MQTT 3.1.1 return code (1 to 5) or a negative code of Paho.
std::string ReasonText(int reason);

}  // namespace dipper::link
