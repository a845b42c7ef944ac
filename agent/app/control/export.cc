// Implementation of export.h.
#include "agent/app/control/export.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "agent/app/config/partition_path.h"
#include "agent/app/control/offline.h"
#include "agent/app/control/protocol.h"
#include "agent/app/model_unit.h"
#include "agent/store/recorder_ring.h"
#include "hal/linux/partition_file.h"

namespace dipper::app {

using base::Status;

ExportFile::~ExportFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(beside_.c_str());
}

std::string ExportFile::Open(const std::string& path) {
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
