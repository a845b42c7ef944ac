// Implementation of control_export.h.
#include "agent/app/control_export.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

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

bool ExportOffline(const Config& config, const std::string& model, int file, bool* not_found,
                   std::string* message) {
  size_t number = 0;
  while (number < config.models.size() && !model.empty() && config.models[number].id != model) ++number;
  *not_found = number == config.models.size();
  if (*not_found) {
    *message = "there is no model " + model + " in the configuration";
    return false;
  }
  constexpr std::string_view kByName = "PARTLABEL=";
  const size_t label = config.storage.data.find(kByName);
  const std::string path =
      label == std::string::npos ? config.storage.data : config.storage.data.substr(label + kByName.size());
  hal::PartitionFile data;
  const Status there =
      data.Open({.path = path.c_str(), .by_name = label != std::string::npos, .read_only = true});
  if (!Ok(there)) {
    *message = "cannot read data partition " + config.storage.data + " (" + base::StatusName(there) +
               "); run as root or as the agent's user, and not beside an agent without a control socket";
    return false;
  }
  const auto area = RecorderAreaOf(config, data.geometry(), static_cast<uint32_t>(number));
  *not_found = !area.ok();
  if (*not_found) {
    *message = "nothing is recorded on this device: set recorder.bytes in its configuration";
    return false;
  }
  store::RecorderRing ring(data, *area, config.models[number].id);
  const Status opened = ring.Open();
  const auto bytes = Ok(opened) ? ring.MeasureFile() : base::Result<uint64_t>(opened);
  *not_found = bytes.status() == Status::kNotFound;
  if (!bytes.ok()) {
    *message = *not_found ? "there is nothing recorded for model " + config.models[number].id
                          : "the data partition cannot be read; look at the medium (dmesg)";
    return false;
  }
  std::vector<uint8_t> all(static_cast<size_t>(*bytes));
  if (!Ok(ring.ReadFile(0, all))) {
    *message = "the data partition cannot be read; look at the medium (dmesg)";
    return false;
  }
  for (size_t done = 0; done < all.size();) {
    const ssize_t wrote = ::write(file, all.data() + done, all.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      *message = std::string("cannot write the file: ") + std::strerror(errno);
      return false;
    }
    done += static_cast<size_t>(wrote);
  }
  return true;
}

}  // namespace dipper::app
