// Address, credentials and will of the connection, from the configuration.
#include "agent/app/mqtt_setup.h"

#include <array>

#include "agent/link/credential_files.h"
#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"

namespace dipper::app {
bool MakeMqttConfig(const Config& config, const hal::DeviceIdentity& identity, uint64_t session,
                    link::MqttConfig* mqtt, std::string* message) {
  const MqttConfig& from = config.mqtt;
  mqtt->url = from.url;
  mqtt->client_id = from.client_id;
  mqtt->username = from.username;
  mqtt->ca_file = from.ca_file;
  mqtt->cert_file = from.cert_file;
  mqtt->key_file = from.key_file;
  mqtt->version = from.version == 5 ? link::MqttVersion::k5 : link::MqttVersion::k311;
  mqtt->keepalive_s = static_cast<uint16_t>(from.keepalive_s);
  // Read now only to say at once what is wrong: the session reads it anew for every connection.
  mqtt->password_file = from.password_file;
  if (std::string secret; !from.password_file.empty() && !link::ReadSecret(from.password_file, &secret)) {
    *message = "mqtt.password_file: cannot read a password from the first line of " + from.password_file;
    return false;
  }
  const telemetry::DeviceTopics topics(config.device.fleet, config.device.id);
  if (!topics.valid()) {
    *message = "device.id or device.fleet is a name that the topic tree uses itself; choose another";
    return false;
  }
  std::array<uint8_t, telemetry::kStateBufferBytes> buffer;
  const auto will = telemetry::EncodeState({.boot = identity.boot_id.view(), .session = session}, buffer);
  DIPPER_CHECK(will.ok());
  // TLS waits until the clock is known not to be decades behind.
  mqtt->wait_for_connect = true;
  mqtt->will_topic = std::string(topics.Of(telemetry::TopicKind::kState).view());
  mqtt->will_payload.assign(will->begin(), will->end());
  *message = link::CheckMqttConfig(*mqtt);
  return message->empty();
}

}  // namespace dipper::app
