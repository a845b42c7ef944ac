// Configuration of dipper-agent: one TOML file, read once at start. docs/reference/agent-config.md lists
// every key. Not thread-safe; plain values after loading.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dipper::app {

/// Boot has so many places (agent/store/boot_layout.h).
inline constexpr size_t kMaxModels = 4;

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
  std::string kind;                     ///< csv_replay, stdin, socket, system or iio.
  std::string path{};                   ///< csv_replay: the file; socket: the socket.
  double rate_hz = 1;                   ///< csv_replay, system, iio.
  std::string truth{};                  ///< Column that says whether a row is an anomaly; only for scoring.
  bool resume = true;                   ///< csv_replay: go on after the last row the champion saw.
  uint32_t mode = 0660;                 ///< socket: its permissions.
  std::string device{};                 ///< iio.
  std::vector<std::string> channels{};  ///< iio; empty: all inputs.
  int64_t buffer_samples = 0;           ///< iio; 0: read one by one.
};

struct TelemetryConfig {
  int64_t interval_ms = 10000;
};

struct HealthConfig {
  int64_t healthy_after_s = 120;
};

struct ControlConfig {
  bool enabled = true;
  std::string socket;  ///< Default: <storage.boot>.sock, or /run/dipper/<device id>.sock beside a device.
};

struct Config {
  DeviceConfig device;
  MqttConfig mqtt;
  StorageConfig storage;
  std::vector<ModelConfig> models;  ///< 1 to kMaxModels, each with an id of its own.
  TrustConfig trust;
  SourceConfig source;
  TelemetryConfig telemetry;
  HealthConfig health;
  ControlConfig control;
};

/// Reads `path`. Relative paths inside are relative to the file's folder. Every problem found adds one line
/// to
/// `*problems`, "file:line: what, why, what to do"; the result is usable only when there are none.
Config LoadConfig(const std::string& path, std::vector<std::string>* problems);

}  // namespace dipper::app
