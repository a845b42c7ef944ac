// Opening partitions and sources, and saying what is wrong with them.
#include "agent/app/devices.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace dipper::app {
namespace {

using base::Status;

constexpr std::string_view kByName = "PARTLABEL=";

std::string Why(Status status, const hal::PartitionFile& partition) {
  const std::string system = partition.last_error() != 0 ? std::strerror(partition.last_error()) : "";
  switch (status) {
    case Status::kNotFound:
      return "there is no such file or device; make it, or set storage.create = true";
    case Status::kInvalidArgument:
      return "it is a link, not a file or block device, or not a whole number of 4096 bytes";
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
                   hal::PartitionFile* partition, std::string* message) {
  const bool by_name =
      path.rfind(kByName, 0) == 0 || path.find(std::string("/") + std::string(kByName)) != std::string::npos;
  const std::string target = by_name ? path.substr(path.find(kByName) + kByName.size()) : path;
  if (create_bytes != 0 && !by_name) {
    std::error_code ignored;  // Open says what is wrong with the folder
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  }
  const hal::PartitionFileOptions options{.path = target.c_str(),
                                          .by_name = by_name,
                                          .create_bytes = by_name ? 0 : create_bytes,
                                          .min_bytes = min_bytes};
  const Status status = partition->Open(options);
  if (Ok(status)) return true;
  *message = std::string("cannot open ") + what + " partition " + path + ": " + Why(status, *partition);
  return false;
}

}  // namespace

bool OpenDevices(const Config& config, Devices* devices, std::string* message) {
  const StorageConfig& storage = config.storage;
  const uint64_t boot_bytes = storage.create ? storage.boot_bytes : 0;
  const uint64_t data_bytes = storage.create ? storage.data_bytes : 0;
  const uint64_t slot_bytes = storage.create ? config.model.slot_bytes : 0;
  if (!OpenPartition("boot", storage.boot, boot_bytes, 32 * 1024, &devices->boot, message) ||
      !OpenPartition("data", storage.data, data_bytes, 64 * 1024, &devices->data, message) ||
      !OpenPartition("slot A", config.model.slot_a, slot_bytes, 64 * 1024, &devices->slot_a, message) ||
      !OpenPartition("slot B", config.model.slot_b, slot_bytes, 64 * 1024, &devices->slot_b, message)) {
    return false;
  }
  if (!config.model.factory.empty()) {
    const hal::PartitionFileOptions options{.path = config.model.factory.c_str(), .read_only = true};
    const Status status = devices->factory.Open(options);
    if (!Ok(status)) {
      *message =
          "cannot open factory partition " + config.model.factory + ": " + Why(status, devices->factory);
      return false;
    }
    devices->has_factory = true;
  }
  hal::LinuxIdentity identity(config.device.id, config.device.hardware);
  if (!Ok(identity.Read(&devices->identity))) {
    *message = "cannot read this machine's boot id from /proc/sys/kernel/random/boot_id; is /proc mounted?";
    return false;
  }
  const std::string folder = std::filesystem::path(storage.data).parent_path().string();
  devices->system.emplace(folder.empty() ? "." : folder);
  devices->source.emplace(devices->clock, config.source.rate_hz);
  return true;
}

bool OpenSource(const Config& config, uint64_t first_row, Devices* devices, std::string* message) {
  const SourceConfig& source = config.source;
  switch (devices->source->Open(source.path.c_str(), source.resume ? first_row : 0)) {
    case Status::kOk:
      return true;
    case Status::kNotFound:
      *message = "source.path: there is no file " + source.path;
      break;
    case Status::kDataLoss:
      *message = "source.path: " + source.path + " has no header line";
      break;
    default:
      *message = "source.path: cannot read " + source.path + ": " + std::strerror(errno);
      break;
  }
  return false;
}

}  // namespace dipper::app
