// Opening partitions and sources, and saying what is wrong with them.
#include "agent/app/devices.h"

#include <unistd.h>

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

bool OpenModel(const ModelConfig& config, uint64_t create_bytes, ModelDevices* devices) {
  const std::string of = "of model \"" + config.id + "\"";
  if (!OpenPartition(("slot A " + of).c_str(), config.slot_a, create_bytes, 64 * 1024, &devices->slot_a,
                     &devices->trouble) ||
      !OpenPartition(("slot B " + of).c_str(), config.slot_b, create_bytes, 64 * 1024, &devices->slot_b,
                     &devices->trouble)) {
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

// The source, unopened: the agent is built around it before its model says where to begin.
void MakeSource(const Config& config, Devices* devices) {
  const SourceConfig& source = config.source;
  auto& kind = devices->source_kind;
  if (source.kind == "csv_replay") {
    devices->source = &kind.emplace<hal::CsvReplay>(devices->clock, source.rate_hz);
  } else if (source.kind == "system") {
    const std::string folder = std::filesystem::path(config.storage.data).parent_path().string();
    devices->source =
        &kind.emplace<hal::SystemSource>(devices->clock, source.rate_hz, folder.empty() ? "." : folder);
  } else if (source.kind == "iio") {
    devices->source = &kind.emplace<hal::IioSource>(devices->clock);
  } else {
    devices->source = &kind.emplace<hal::LineSource>(devices->clock);
  }
}

bool OpenLines(const SourceConfig& source, hal::LineSource* lines, std::string* message) {
  const bool is_pipe = source.kind == "stdin";
  const Status status =
      is_pipe ? lines->OpenPipe(STDIN_FILENO, STDOUT_FILENO) : lines->OpenSocket(source.path, source.mode);
  if (Ok(status)) return true;
  if (is_pipe) {
    *message =
        std::string("source.kind stdin: standard input or output cannot be used: ") + std::strerror(errno);
  } else if (status == Status::kAlreadyExists) {
    *message = "source.path: another process serves " + source.path + "; is a dipper-agent running already?";
  } else if (status == Status::kInvalidArgument) {
    *message = "source.path: " + source.path +
               " is too long for a socket (107 bytes), or a file that is none lies there; move it or choose "
               "another path";
  } else {
    *message = "source.path: cannot make the socket " + source.path + ": " + std::strerror(errno) +
               "; does its folder exist, and may the agent write there?";
  }
  return false;
}

bool OpenCsv(const SourceConfig& source, uint64_t first_row, hal::CsvReplay* csv, std::string* message) {
  switch (csv->Open(source.path.c_str(), source.resume ? first_row : 0)) {
    case Status::kOk:
      return true;
    case Status::kNotFound:
      *message = "source.path: there is no file " + source.path;
      return false;
    case Status::kDataLoss:
      *message = "source.path: " + source.path + " has no header line";
      return false;
    default:
      *message = "source.path: cannot read " + source.path + ": " + std::strerror(errno);
      return false;
  }
}

}  // namespace

bool OpenDevices(const Config& config, Devices* devices, std::string* message) {
  const StorageConfig& storage = config.storage;
  const uint64_t boot_bytes = storage.create ? storage.boot_bytes : 0;
  const uint64_t data_bytes = storage.create ? storage.data_bytes : 0;
  if (!OpenPartition("boot", storage.boot, boot_bytes, 32 * 1024, &devices->boot, message) ||
      !OpenPartition("data", storage.data, data_bytes, 64 * 1024, &devices->data, message)) {
    return false;
  }
  size_t good = 0;
  for (size_t i = 0; i < config.models.size(); ++i) {
    const ModelConfig& model = config.models[i];
    good +=
        OpenModel(model, storage.create ? model.slot_bytes : 0, &devices->models[i]) ? size_t{1} : size_t{0};
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
  MakeSource(config, devices);
  return true;
}

int Devices::source_fd() const {
  const auto* lines = std::get_if<hal::LineSource>(&source_kind);
  return lines != nullptr ? lines->event_fd() : -1;
}

bool OpenSource(const Config& config, uint64_t first_row, Devices* devices, std::string* message) {
  const SourceConfig& source = config.source;
  auto& kind = devices->source_kind;
  if (auto* csv = std::get_if<hal::CsvReplay>(&kind)) return OpenCsv(source, first_row, csv, message);
  if (auto* lines = std::get_if<hal::LineSource>(&kind)) return OpenLines(source, lines, message);
  auto* iio = std::get_if<hal::IioSource>(&kind);
  return iio == nullptr || iio->Open({.device = source.device,
                                      .channels = source.channels,
                                      .rate_hz = source.rate_hz,
                                      .buffer_samples = static_cast<uint32_t>(source.buffer_samples)},
                                     message);
}

}  // namespace dipper::app
