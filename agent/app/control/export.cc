// Implementation of export.h.
#include "agent/app/control/export.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <vector>

#include "agent/app/config/partition_path.h"
#include "agent/app/control/offline.h"
#include "agent/app/control/protocol.h"
#include "agent/app/model_unit.h"
#include "agent/store/recorder_format.h"
#include "agent/store/recorder_ring.h"
#include "hal/linux/partition_file.h"

namespace dipper::app {

using base::Status;

namespace {

bool IsPartition(const std::string& path, const Config& config) {
  std::vector<std::string> partitions = {config.storage.boot, config.storage.data};
  for (const ModelConfig& model : config.models)
    partitions.insert(partitions.end(), {model.slot_a, model.slot_b, model.factory});
  std::error_code none;
  const std::filesystem::path place = std::filesystem::weakly_canonical(path, none);
  return std::ranges::any_of(partitions, [&](const std::string& partition) {
    return !partition.empty() && !place.empty() &&
           std::filesystem::weakly_canonical(partition, none) == place;
  });
}

/// @returns an empty text: nothing is there, or an older recording; or why it stays.
std::string WhatStands(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0 && errno == ENOENT) return {};
  struct stat about {};
  std::string trouble;
  if (file < 0 || ::fstat(file, &about) != 0) {
    trouble = std::string("it is there and cannot be read (") + std::strerror(errno) + ")";
  } else if (!S_ISREG(about.st_mode)) {
    trouble = S_ISDIR(about.st_mode) ? "it is a folder; name a file in it" : "it is a device, socket or pipe";
  } else if (about.st_size > 0) {
    std::array<uint8_t, store::kRecordingHeadBytes> head{};
    const bool whole = ::pread(file, head.data(), head.size(), 0) == static_cast<ssize_t>(head.size());
    const Status status = whole ? store::DecodeRecordingHead(head).status() : Status::kDataLoss;
    if (!Ok(status) && status != Status::kUnimplemented) trouble = "it is there and is no recording";
  }
  if (file >= 0) ::close(file);
  return trouble;
}

}  // namespace

ExportFile::~ExportFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(beside_.c_str());
}

std::string ExportFile::Open(const std::string& path, const Config& config) {
  const std::string trouble =
      IsPartition(path, config) ? "it is a partition of this device" : WhatStands(path);
  if (!trouble.empty()) return "cannot write " + path + ": " + trouble + "; name another file";
  path_ = path;
  beside_ = path + ".part";
  // Samples are in it: nobody else may read it.
  fd_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  return fd_ >= 0 ? std::string() : "cannot write " + beside_ + ": " + std::strerror(errno);
}

std::string ExportFile::Finish() {
  const bool good = ::fsync(fd_) == 0 && std::rename(beside_.c_str(), path_.c_str()) == 0;
  if (!good) return "cannot write " + path_ + ": " + std::strerror(errno);
  ::close(fd_);
  fd_ = -1;
  return {};
}

std::string WriteAll(int file, base::ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(file, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return std::string("cannot write the file: ") + std::strerror(errno);
    bytes = bytes.subspan(static_cast<size_t>(wrote));
  }
  return {};
}

ExportOutcome ExportOffline(const Config& config, const std::string& only, int file) {
  const ConfiguredModel found = FindConfigured(config, only);
  if (found.exit_code != kExitOk) return {found.exit_code, found.message};
  const std::string& model = config.models[found.index].id;
  const PartitionPath path = ReadPartitionPath(config.storage.data);
  hal::PartitionFile data;
  const Status there = data.Open({.path = path.target.c_str(), .by_name = path.by_name, .read_only = true});
  if (!Ok(there)) {
    return {kExitFailed,
            "cannot read data partition " + config.storage.data + " (" + base::StatusName(there) +
                "); run as root or as the agent's user, and not beside an agent without a control socket"};
  }
  const auto area = RecorderAreaOf(config, data.geometry(), static_cast<uint32_t>(found.index));
  if (!area.ok())
    return {kExitNotFound, "nothing is recorded on this device: set recorder.bytes in its configuration"};
  store::RecorderRing ring(data, *area, model);
  const Status opened = ring.Open();
  const auto bytes = Ok(opened) ? ring.MeasureFile() : base::Result<uint64_t>(opened);
  if (bytes.status() == Status::kNotFound)
    return {kExitNotFound, "there is nothing recorded for model " + model};
  std::vector<uint8_t> all(bytes.ok() ? static_cast<size_t>(*bytes) : 0);
  if (!bytes.ok() || !Ok(ring.ReadFile(0, all)))
    return {kExitFailed, "the data partition cannot be read; look at the medium (dmesg)"};
  const std::string trouble = WriteAll(file, all);
  return {trouble.empty() ? kExitOk : kExitFailed, trouble};
}

}  // namespace dipper::app
