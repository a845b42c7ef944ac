// Opening partitions and sources, and saying what is wrong with them.
#include "agent/app/devices.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "agent/app/config/partition_path.h"
#include "agent/app/config/source_parts.h"
#include "agent/base/time.h"
#include "agent/telemetry/topics.h"

namespace dipper::app {
namespace {

using base::Status;

std::string Why(Status status, const hal::PartitionFile& partition) {
  const std::string system = partition.last_error() != 0 ? std::strerror(partition.last_error()) : "";
  switch (status) {
    case Status::kNotFound:
      return "there is no such file or device; make it, or set storage.create = true";
    case Status::kInvalidArgument:
      return WhyUnusable(partition.last_error());
    case Status::kResourceExhausted:
      return "it is too small, or the disk is full; give it more room";
    case Status::kFailedPrecondition:
      return "another process has it open; is a dipper-agent running already?";
    case Status::kPermissionDenied:
      return "no permission; run the agent as the partition's owner";
    default:
      return "input or output error: " + system;
  }
}

bool OpenPartition(const char* what, const std::string& path, uint64_t create_bytes, uint64_t min_bytes,
                   hal::PartitionFile* partition, std::string* message, std::string* notice) {
  const auto [target, by_name] = ReadPartitionPath(path);
  if (create_bytes != 0 && !by_name) {
    std::error_code ignored;  // Open says what is wrong with the folder
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  }
  const hal::PartitionFileOptions options{.path = target.c_str(),
                                          .by_name = by_name,
                                          .create_bytes = by_name ? 0 : create_bytes,
                                          .min_bytes = min_bytes};
  Status status = partition->Open(options);
  if (!Ok(status) && partition->last_error() == EROFS) {
    // After an error of the disk the kernel mounts it so. The model on it can still serve and learn.
    status = partition->Open({.path = options.path,
                              .by_name = by_name,
                              .read_only = true,
                              .create_bytes = 0,
                              .min_bytes = min_bytes});
    if (Ok(status)) *notice += path + " is read-only: what is learned is lost at the next stop\n";
  }
  if (Ok(status)) return true;
  *message = std::string("cannot open ") + what + " partition " + path + ": " + Why(status, *partition);
  return false;
}

bool OpenModel(const ModelConfig& config, uint64_t create_bytes, ModelDevices* devices, std::string* notice) {
  const std::string of = "of model \"" + config.id + "\"";
  if (!OpenPartition(("slot A " + of).c_str(), config.slot_a, create_bytes, kLeastPartitionBytes,
                     &devices->slot_a, &devices->trouble, notice) ||
      !OpenPartition(("slot B " + of).c_str(), config.slot_b, create_bytes, kLeastPartitionBytes,
                     &devices->slot_b, &devices->trouble, notice)) {
    return false;
  }
  if (config.factory.empty()) return true;
  const hal::PartitionFileOptions options{.path = config.factory.c_str(), .read_only = true};
  const Status status = devices->factory.Open(options);
  devices->has_factory = Ok(status);
  if (!Ok(status)) {
    devices->trouble =
        "cannot open factory partition " + of + " " + config.factory + ": " + Why(status, devices->factory);
  }
  return Ok(status);
}

hal::SampleSource* AsSource(SourceDevice& device) {
  return std::visit(
      [](auto& kind) -> hal::SampleSource* {
        if constexpr (std::is_same_v<std::decay_t<decltype(kind)>, std::monostate>) {
          return nullptr;
        } else {
          return &kind;
        }
      },
      device);
}

/// Topics of every model of this device, each for its model alone.
std::vector<runtime::MqttTopic> ModelTopics(const Config& config, telemetry::TopicKind kind) {
  const telemetry::DeviceTopics topics(config.device.fleet, config.device.id);
  std::vector<runtime::MqttTopic> all;
  for (uint32_t number = 0; number < config.models.size(); ++number)
    all.push_back({std::string(topics.Of(kind, config.models[number].id).view()), number});
  return all;
}

runtime::MqttSourceConfig MakeMqttSource(const Config& config, const SourceConfig& source) {
  runtime::MqttSourceConfig mqtt;
  for (const std::string& topic : source.topics) mqtt.topics.push_back({topic, hal::kEverybody});
  if (source.topics.empty()) mqtt.topics = ModelTopics(config, telemetry::TopicKind::kSample);
  mqtt.fields = MqttFields(source);
  mqtt.qos = source.qos == 0 ? telemetry::Qos::kAtMostOnce : telemetry::Qos::kAtLeastOnce;
  mqtt.answer = source.answer;
  mqtt.queue_bytes = static_cast<uint32_t>(source.queue_bytes);
  return mqtt;
}

// A source, unopened: the agent is built around it before its model says where to begin.
void MakeSource(const Config& config, const SourceConfig& source, Devices* devices) {
  SourceDevice& device = *devices->sources.emplace_back(std::make_unique<SourceDevice>());
  if (source.kind == "system") {
    const std::string folder = std::filesystem::path(config.storage.data).parent_path().string();
    device.emplace<hal::SystemSource>(devices->clock, source.rate_hz, folder.empty() ? "." : folder);
  } else if (source.kind == "mqtt") {
    devices->inlets.push_back(
        &device.emplace<runtime::MqttSource>(devices->clock, MakeMqttSource(config, source)));
  } else {
    device.emplace<KeptSource>(devices->clock, source);
  }
}

void MakeJoin(const Config& config, Devices* devices) {
  runtime::JoinConfig join{.slowest = config.join.tick == "slowest",
                           .skip_missing = config.join.missing == "sample"};
  std::vector<runtime::JoinPart> parts;
  for (size_t i = 0; i < config.sources.size(); ++i) {
    const SourceConfig& source = config.sources[i];
    if (source.name == config.join.primary) join.primary = i;
    parts.push_back({.source = AsSource(*devices->sources[i]),
                     .name = source.name,
                     .columns = JoinColumns(source),
                     .max_age_ns = source.max_age_ms * base::kMillisecondNs});
  }
  devices->source = &devices->join.emplace(devices->clock, join, std::move(parts));
}

void MakeSources(const Config& config, Devices* devices) {
  for (const SourceConfig& source : config.sources) MakeSource(config, source, devices);
  devices->source = AsSource(*devices->sources[0]);
  if (config.sources.size() > 1) MakeJoin(config, devices);
  if (!config.labels.mqtt) return;
  // Labels are few and worth waiting for, so the broker keeps them while the device is away.
  runtime::MqttSourceConfig labels;
  labels.topics = ModelTopics(config, telemetry::TopicKind::kLabel);
  labels.kind = hal::RecordKind::kLabel;
  labels.qos = telemetry::Qos::kAtLeastOnce;
  devices->inlets.push_back(&devices->labels.emplace(devices->clock, std::move(labels)));
}

}  // namespace

std::string WhyUnusable(int error) {
  switch (error) {
    case ELOOP:
      return "it is a symbolic link; name the file or device itself, or use PARTLABEL=";
    case EISDIR:
      return "it is a folder; name a file in it";
    case ENOTBLK:
      return "it is a character device (raw flash such as /dev/mtd0 or /dev/ubi0_0) or otherwise neither a "
             "file nor a block device; use a block device, or a file on a file system that lies on the flash";
    case ENAMETOOLONG:
      return "its path is too long; use a shorter one";
    default:
      return "its size is not a whole number of 4096 bytes; make it one";
  }
}

bool OpenDevices(const Config& config, Devices* devices, std::string* message) {
  const StorageConfig& storage = config.storage;
  const uint64_t boot_bytes = storage.create ? storage.boot_bytes : 0;
  const uint64_t data_bytes = storage.create ? storage.data_bytes : 0;
  if (!OpenPartition("boot", storage.boot, boot_bytes, kLeastBootBytes, &devices->boot, message,
                     &devices->notice) ||
      !OpenPartition("data", storage.data, data_bytes, kLeastPartitionBytes, &devices->data, message,
                     &devices->notice)) {
    return false;
  }
  size_t good = 0;
  for (size_t i = 0; i < config.models.size(); ++i) {
    const ModelConfig& model = config.models[i];
    good += OpenModel(model, storage.create ? model.slot_bytes : 0, &devices->models[i], &devices->notice)
                ? size_t{1}
                : size_t{0};
  }
  if (good == 0) {
    *message = devices->models[0].trouble;
    return false;
  }
  hal::LinuxIdentity identity(config.device.id, config.device.hardware);
  if (!Ok(identity.Read(&devices->identity))) {
    *message = "cannot read this machine's boot id from /proc/sys/kernel/random/boot_id; is /proc mounted?";
    return false;
  }
  const std::string folder = std::filesystem::path(storage.data).parent_path().string();
  devices->system.emplace(folder.empty() ? "." : folder);
  MakeSources(config, devices);
  return true;
}

Devices::~Devices() {
  if (source_events >= 0) ::close(source_events);
}

bool Devices::resumes(const Config& config) const {
  return !join && config.sources[0].kind == "csv_replay" && config.sources[0].resume;
}

std::vector<store::PlaceRequest> PlaceRequests(const Config& config, Devices& devices) {
  std::vector<store::PlaceRequest> requests;
  for (size_t i = 0; i < config.models.size(); ++i) {
    ModelDevices& model = devices.models[i];
    const bool open = model.trouble.empty();
    requests.push_back({.name = config.models[i].id,
                        .slot_a = open ? &model.slot_a : nullptr,
                        .slot_b = open ? &model.slot_b : nullptr});
  }
  return requests;
}

void StartSources(const Config& config, uint64_t first_row, Devices* devices) {
  const bool has_events = std::ranges::any_of(config.sources, [](const SourceConfig& source) {
    return source.kind == "stdin" || source.kind == "socket";
  });
  if (has_events) devices->source_events = ::epoll_create1(EPOLL_CLOEXEC);
  for (const auto& device : devices->sources) {
    auto* kept = std::get_if<KeptSource>(device.get());
    if (kept != nullptr) kept->Start(devices->resumes(config) ? first_row : 0, devices->source_events);
  }
}

}  // namespace dipper::app
