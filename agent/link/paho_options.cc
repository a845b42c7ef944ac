// Options: TLS always verifies chain and host name; nothing is buffered while offline; no automatic
// reconnect.
#include "agent/link/paho_options.h"

#include <unistd.h>

#include "agent/link/credential_files.h"

namespace dipper::link {

mqtt::create_options MakeCreateOptions(const MqttConfig& config) {
  mqtt::create_options options(config.version == MqttVersion::k5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1);
  options.set_send_while_disconnected(false);
  return options;
}

mqtt::connect_options MakeConnectOptions(const MqttConfig& config, const BrokerAddress& address) {
  const bool v5 = config.version == MqttVersion::k5;
  mqtt::connect_options options;
  options.set_mqtt_version(v5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1);
  if (v5) {
    options.set_clean_start(!config.persistent_session);
  } else {
    options.set_clean_session(!config.persistent_session);
  }
  options.set_automatic_reconnect(false);
  options.set_keep_alive_interval(config.keepalive_s);
  options.set_connect_timeout(static_cast<int>(config.connect_timeout_s));
  if (!config.username.empty()) options.set_user_name(config.username);
  std::string password = config.password;
  // Without one the broker's refusal says what is wrong; the file is looked at again for the next attempt.
  if (!config.password_file.empty()) (void)ReadSecret(config.password_file, &password);
  if (!password.empty()) options.set_password(password);
  if (!config.will_topic.empty()) {
    options.set_will(mqtt::will_options(config.will_topic, config.will_payload.data(),
                                        config.will_payload.size(), 1, true));
  }
  if (address.tls) {
    mqtt::ssl_options tls;
    tls.set_trust_store(config.ca_file);
    if (!config.cert_file.empty()) {
      tls.set_key_store(config.cert_file);
      tls.set_private_key(config.key_file);
    }
    tls.set_enable_server_cert_auth(true);
    tls.set_verify(true);
    options.set_ssl(tls);
  }
  if (v5) {
    mqtt::properties properties;
    const auto add = [&properties](mqtt::property::code code, uint32_t value) {
      properties.add(mqtt::property(code, static_cast<int32_t>(value)));
    };
    add(mqtt::property::MAXIMUM_PACKET_SIZE, config.max_message_bytes + 2048);
    add(mqtt::property::SESSION_EXPIRY_INTERVAL, config.persistent_session ? config.session_expiry_s : 0);
    options.set_properties(std::move(properties));  // last: the other setters may copy the object
  }
  return options;
}

std::string CheckMqttConfig(const MqttConfig& config) {
  const auto address = ParseBrokerUrl(config.url);
  if (!address) {
    return "url \"" + config.url + "\" is not a broker address; write mqtts://HOST:PORT or mqtt://HOST:PORT";
  }
  if (config.client_id.empty() || config.client_id.size() > 256)
    return "client id must have 1 to 256 characters";
  if (config.cert_file.empty() != config.key_file.empty()) {
    return "a client certificate needs both cert_file and key_file";
  }
  if (!address->tls) return {};
  if (config.ca_file.empty()) {
    return "mqtts needs ca_file, the certificate of the authority that signed the broker's certificate";
  }
  for (const std::string& file : {config.ca_file, config.cert_file, config.key_file}) {
    if (!file.empty() && access(file.c_str(), R_OK) != 0)
      return "file " + file + " cannot be read; check path and mode";
  }
  return {};
}

}  // namespace dipper::link
