// Configuration of dipper-agent: a TOML file, the files of agent.d beside it and the environment, read once
// at start. docs/reference/agent-config.md lists every key; keys.cc is where a key is added. Not
// thread-safe; plain values after loading.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace dipper::app {

/// Boot has so many places (agent/store/boot_layout.h).
inline constexpr size_t kMaxModels = 4;
/// Where systemd puts the credentials of the packages' unit.
inline constexpr const char* kUnitCredentials = "/run/credentials/dipper-agent.service";
/// As runtime::kMaxJoinParts.
inline constexpr size_t kMaxSources = 8;

struct DeviceConfig {
  std::string id;
  std::string fleet;
  std::vector<std::string> groups;
  std::string hardware = "generic-linux";
};

struct MqttConfig {
  std::string url;
  std::string client_id;  ///< Default: dipper-<fleet>-<device id>.
  std::string username;
  std::string password_file;
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  int64_t version = 5;  ///< 5, or 311 for MQTT 3.1.1.
  int64_t keepalive_s = 30;
  bool json_mirror = false;
  std::string home_assistant;  ///< Prefix of its discovery topics; "": off.
  bool publish_predictions = false;
  int64_t backlog_bytes_per_s = 16 * 1024;
  int64_t transfer_bytes_per_s = 0;  ///< Cap of a package transfer, on average over a group; 0: none.
};

struct StorageConfig {
  std::string boot;
  std::string data;
  bool create = false;  ///< Make missing partition files, with the sizes below.
  uint64_t boot_bytes = 64 * 1024;
  uint64_t data_bytes = 1024 * 1024;
  std::vector<std::string> forget_models;  ///< Gone for good: their places in boot are free again.
};

struct ModelConfig {
  std::string id = "main";
  std::string slot_a;
  std::string slot_b;
  std::string factory;
  uint64_t max_image_bytes = 256 * 1024;
  uint64_t slot_bytes = 1024 * 1024;
  int64_t checkpoint_interval_s = 3600;
  int64_t max_latency_us = 0;  ///< Of one sample of a challenger whose package names no limit; 0: none.
};

struct TrustConfig {
  std::string root;
  std::vector<std::string> group_keys;  ///< Files; for encrypted packages.
};

struct SourceConfig {
  std::string name{};                   ///< Of a joined source; default: its kind.
  std::string kind;                     ///< csv_replay, stdin, socket, system, iio or mqtt.
  std::string path{};                   ///< csv_replay: the file; socket: the socket.
  double rate_hz = 1;                   ///< csv_replay, system, iio.
  std::string truth{};                  ///< Column that says whether a row is an anomaly; only for scoring.
  bool resume = true;                   ///< csv_replay: go on after the last row the champion saw.
  uint32_t mode = 0660;                 ///< socket: its permissions.
  std::string device{};                 ///< iio.
  std::vector<std::string> channels{};  ///< iio; empty: all inputs.
  int64_t buffer_samples = 0;           ///< iio; 0: read one by one.
  std::vector<std::string> topics{};    ///< mqtt; empty: the models' own sample topics.
  std::vector<std::string>
      fields{};                      ///< mqtt: "name=/json/pointer"; empty: the payload is a sample as it is.
  int64_t qos = 0;                   ///< mqtt.
  bool answer = false;               ///< mqtt: publish each sample's prediction.
  uint64_t queue_bytes = 32 * 1024;  ///< mqtt.
  std::vector<std::string> columns{};  ///< Of a joined source: what it contributes.
  int64_t max_age_ms = 5000;           ///< Of a joined source: older values are missing; 0: at any age.
};

struct JoinConfig {
  std::string primary;             ///< Name of the source that gives the tick; default: the first.
  std::string tick = "primary";    ///< Or slowest.
  std::string missing = "values";  ///< Or sample: what is left out when a source has nothing young enough.
};

struct LabelsConfig {
  bool mqtt = false;      ///< Take labels from the models' label topics.
  double max_per_s = 10;  ///< Of a model, from the network.
};

struct PrivacyConfig {
  int64_t uncertain_samples = 0;  ///< The fleet may ask for so many; 0: for none.
  std::vector<std::string> uncertain_features;
};

struct TelemetryConfig {
  int64_t interval_ms = 10000;
  int64_t repeat_s = 600;          ///< Unchanged values too; 0: always.
  uint64_t max_bytes_per_day = 0;  ///< 0: no limit.
};

struct HealthConfig {
  int64_t healthy_after_s = 120;
};

struct WatchdogConfig {
  std::string device;      ///< The machine's watchdog; empty: none is patted by the agent.
  int64_t timeout_s = 60;  ///< Wanted; the device may have its own.
};

struct ControlConfig {
  bool enabled = true;
  std::string socket;  ///< Default: <storage.boot>.sock, or /run/dipper/<device id>.sock beside a device.
};

struct RecorderConfig {
  uint64_t bytes = 0;  ///< Of `data`, for all models together; 0: nothing is recorded.
  int64_t segments = 4;
  uint64_t bytes_per_day = 16 * 1024 * 1024;  ///< Of each model: what the medium bears.
};

/// What may leave the device when a signed command asks for it.
struct SnapshotConfig {
  bool upload = false;            ///< The learned image.
  bool upload_recording = false;  ///< The flight recorder, in which the samples are.
  int64_t bytes_per_s = 16 * 1024;
};

struct Config {
  DeviceConfig device;
  MqttConfig mqtt;
  StorageConfig storage;
  std::vector<ModelConfig> models;  ///< 1 to kMaxModels, each with an id of its own.
  TrustConfig trust;
  std::vector<SourceConfig> sources;  ///< 1 to kMaxSources; several are joined.
  JoinConfig join;
  LabelsConfig labels;
  PrivacyConfig privacy;
  TelemetryConfig telemetry;
  HealthConfig health;
  ControlConfig control;
  WatchdogConfig watchdog;
  RecorderConfig recorder;
  SnapshotConfig snapshot;
};

struct ConfigRequest {
  std::string path;
  std::vector<std::string> environment;  ///< "NAME=value"; those that begin with DIPPER_ count.
  /// Only to look at: credential:NAME need not be there, for it is only while systemd runs the agent.
  bool check_only = false;
};

struct ConfigReading {
  Config config;  ///< Usable only without problems.
  /// One line each, "where: what, why, what to do"; where is FILE:LINE or "environment NAME".
  std::vector<std::string> problems;
  /// Where a value is from, by "table.key", of lists "table[index].key". Absent: the default.
  std::map<std::string, std::string> origins;
  std::vector<std::string> files;  ///< Read, in order.
};

/// Reads and checks everything; all problems are found at once. Relative paths, also those of the files
/// beside and of the environment, are relative to the folder of `request.path`.
ConfigReading ReadConfig(const ConfigRequest& request);

/// The same with this process's environment. Problems are added to `*problems`.
Config LoadConfig(const std::string& path, std::vector<std::string>* problems);

/// The environment of this process, for ConfigRequest.
std::vector<std::string> ProcessEnvironment();

/// Every value as TOML that reads back to the same, each with its source as a comment.
std::string PrintConfig(const ConfigReading& reading);

}  // namespace dipper::app
