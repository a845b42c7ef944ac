// What the values of a configuration must be beside each other, and the defaults that follow from others.
#include <sys/un.h>

#include <filesystem>
#include <set>

#include "agent/app/config/partition_path.h"
#include "agent/app/config/parts.h"
#include "agent/link/broker_address.h"
#include "agent/telemetry/topics.h"

namespace dipper::app {
namespace {

// Of a boot file that the agent makes, in erase units of 4096 bytes: two root documents and two counters
// pages, and the two records of each model (docs/reference/storage.md).
constexpr uint64_t kBootBytesWithoutModels = 24 * 1024;
constexpr uint64_t kBootBytesOfModel = 8 * 1024;
constexpr size_t kMaxGroups = 8;
constexpr size_t kMaxClientIdBytes = 256;  // as link::CheckMqttConfig
constexpr size_t kMaxSocketPathBytes = sizeof(sockaddr_un::sun_path) - 1;

void CheckNodeId(ConfigWork* work, const std::string& origin, const std::string& id) {
  if (!telemetry::IsTopicId(id)) {
    work->Problem(origin, "\"" + id +
                              "\": ids of devices, fleets and groups are topic levels: 1 to 64 of "
                              "letters, digits, '-' and '_'");
  } else if (telemetry::IsReservedId(id)) {
    work->Problem(origin, "\"" + id +
                              "\" is a word of the topic tree; give the device or group another name "
                              "than all, offer, pkg, root, json and m");
  }
}

void CheckDevice(ConfigWork* work) {
  const DeviceConfig& device = work->reading.config.device;
  // Without a text they have been complained about already.
  if (!device.id.empty()) CheckNodeId(work, work->Origin("device", "id"), device.id);
  if (!device.fleet.empty() && !telemetry::IsTopicId(device.fleet))
    CheckNodeId(work, work->Origin("device", "fleet"), device.fleet);
  const std::string origin = work->Origin("device", "groups");
  std::set<std::string> seen;
  for (const std::string& group : device.groups) {
    CheckNodeId(work, origin, group);
    if (!seen.insert(group).second) work->Problem(origin, "device.groups names \"" + group + "\" twice");
  }
  if (device.groups.size() > kMaxGroups) work->Problem(origin, "device.groups may hold at most 8 groups");
}

// The user and password of a URL would be printed with it.
bool HasUserInfo(const std::string& url) {
  const size_t host = url.find("://");
  const size_t at = url.find('@');
  return host != std::string::npos && at != std::string::npos && at < url.find('/', host + 3);
}

void CheckUrl(ConfigWork* work) {
  const MqttConfig& mqtt = work->reading.config.mqtt;
  if (mqtt.url.empty()) return;
  const std::string origin = work->Origin("mqtt", "url");
  const auto begins = [&mqtt](const char* text) { return mqtt.url.rfind(text, 0) == 0; };
  if (!begins("mqtts://") && !begins("wss://") && !begins("mqtt://") && !begins("ws://")) {
    work->Problem(origin, "mqtt.url must begin with mqtts://, mqtt://, wss:// or ws://");
  } else if (HasUserInfo(mqtt.url)) {
    work->Problem(origin,
                  "mqtt.url names a user: it would be printed with the address; write mqtts://HOST:PORT, and "
                  "give mqtt.username and mqtt.password_file");
  } else if (!link::ParseBrokerUrl(mqtt.url)) {
    work->Problem(origin,
                  "mqtt.url \"" + mqtt.url +
                      "\" is not the address of a broker; write mqtts://HOST:PORT or mqtt://HOST:PORT");
  } else if ((begins("mqtts://") || begins("wss://")) && mqtt.ca_file.empty()) {
    work->Problem(origin, "mqtt.ca_file is missing: with TLS the broker's certificate is always checked");
  }
}

void CheckMqtt(ConfigWork* work) {
  MqttConfig& mqtt = work->reading.config.mqtt;
  CheckUrl(work);
  if (mqtt.cert_file.empty() != mqtt.key_file.empty()) {
    work->Problem(work->Origin("mqtt", mqtt.cert_file.empty() ? "key_file" : "cert_file"),
                  "mqtt.cert_file and mqtt.key_file go together");
  }
  if (!mqtt.password_file.empty() && mqtt.username.empty()) {
    work->Problem(work->Origin("mqtt", "password_file"),
                  "mqtt.password_file needs mqtt.username: brokers take no password without a name");
  }
  if (!mqtt.home_assistant.empty() && !telemetry::IsTopicId(mqtt.home_assistant)) {
    work->Problem(work->Origin("mqtt", "home_assistant"),
                  "mqtt.home_assistant is one topic level: 1 to 64 of letters, digits, '-' and '_', usually "
                  "homeassistant");
  } else if (!mqtt.home_assistant.empty() && !mqtt.json_mirror) {
    work->Problem(work->Origin("mqtt", "home_assistant"),
                  "mqtt.home_assistant needs the values in JSON; set mqtt.json_mirror = true");
  }
  const DeviceConfig& device = work->reading.config.device;
  if (mqtt.client_id.empty()) mqtt.client_id = "dipper-" + device.fleet + "-" + device.id;
  if (mqtt.client_id.size() > kMaxClientIdBytes)
    work->Problem(work->Origin("mqtt", "client_id"), "mqtt.client_id must have 1 to 256 characters");
}

// What the models may not have in common.
void CheckModels(ConfigWork* work) {
  const Config& config = work->reading.config;
  std::map<std::string, std::string> users = {{NormalPath(config.storage.boot), "storage.boot"}};
  if (!config.storage.data.empty() &&
      !users.emplace(NormalPath(config.storage.data), "storage.data").second) {
    work->Problem(work->Origin("storage", "data"), "storage.data: " + config.storage.data +
                                                       " is also storage.boot; every partition has one use");
  }
  users.erase("");
  std::set<std::string> ids;
  for (size_t i = 0; i < config.models.size(); ++i) {
    const ModelConfig& model = config.models[i];
    if (!telemetry::IsTopicId(model.id)) {
      work->Problem(
          work->Origin("model", i, "id"),
          "model.id \"" + model.id + "\" is a topic level: at most 64 of letters, digits, '-' and '_'");
    }
    if (!ids.insert(model.id).second) {
      work->Problem(work->Origin("model", i, ""),
                    "two models have the id \"" + model.id +
                        "\"; give each its own with model.id: it is what offers name");
    }
    const std::pair<const char*, const std::string*> paths[] = {
        {"slot_a", &model.slot_a}, {"slot_b", &model.slot_b}, {"factory", &model.factory}};
    for (const auto& [key, path] : paths) {
      if (path->empty()) continue;
      const auto [other, fresh] = users.emplace(NormalPath(*path), "model \"" + model.id + "\" " + key);
      if (fresh) continue;
      work->Problem(work->Origin("model", i, key), "model." + std::string(key) + ": " + *path + " is also " +
                                                       other->second + "; every partition has one use");
    }
  }
}

void CheckForgotten(ConfigWork* work) {
  const Config& config = work->reading.config;
  const std::string origin = work->Origin("storage", "forget_models");
  std::set<std::string> seen;
  for (const std::string& name : config.storage.forget_models) {
    if (!telemetry::IsTopicId(name)) {
      work->Problem(origin, "storage.forget_models: \"" + name +
                                "\" is no model's id: 1 to 64 of letters, digits, '-' and '_'");
      continue;
    }
    if (!seen.insert(name).second)
      work->Problem(origin, "storage.forget_models names \"" + name + "\" twice; remove one");
    for (const ModelConfig& model : config.models) {
      if (model.id != name) continue;
      work->Problem(origin, "storage.forget_models names \"" + name +
                                "\", which is configured; remove it from one of the two places");
      break;
    }
  }
}

void CheckBootRoom(ConfigWork* work) {
  const Config& config = work->reading.config;
  const uint64_t needed = kBootBytesWithoutModels + config.models.size() * kBootBytesOfModel;
  if (!config.storage.create || config.storage.boot_bytes >= needed) return;
  work->Problem(work->Origin("storage", "boot_bytes"),
                "storage.boot_bytes is too small for " + std::to_string(config.models.size()) +
                    " models: give it at least " + std::to_string(needed));
}

void CheckSocket(ConfigWork* work, const char* table, const char* key, const std::string& path) {
  if (path.size() <= kMaxSocketPathBytes) return;
  work->Problem(work->Origin(table, key), std::string(table) + "." + key + ": " + path +
                                              " is longer than the 107 bytes that a Unix socket's path may "
                                              "have; give a shorter one");
}

void CheckControl(ConfigWork* work) {
  Config& config = work->reading.config;
  if (config.control.socket.empty()) {
    const std::string& boot = config.storage.boot;
    config.control.socket = IsDevice(boot) ? "/run/dipper/" + config.device.id + ".sock" : boot + ".sock";
  }
  if (config.control.enabled) CheckSocket(work, "control", "socket", config.control.socket);
}

}  // namespace

std::string NormalPath(const std::string& path) {
  return path.empty() ? path : std::filesystem::path(path).lexically_normal().string();
}

void CheckConfig(ConfigWork* work) {
  CheckDevice(work);
  CheckMqtt(work);
  CheckModels(work);
  CheckForgotten(work);
  CheckBootRoom(work);
  CheckControl(work);
  for (const SourceConfig& source : work->reading.config.sources) {
    if (source.kind == "socket") CheckSocket(work, "source", "path", source.path);
  }
  CheckSources(work);
}

}  // namespace dipper::app
