// Linux sources of machine facts: /proc and /sys readings, identity, entropy. One thread each unless said.
#pragma once

#include <cstdint>
#include <string_view>

#include "hal/api/entropy.h"
#include "hal/api/identity.h"
#include "hal/api/system_metrics.h"

namespace dipper::hal {

/// Readings from /proc, /sys/class/thermal and statvfs of `disk_path`. `root` is put before "/proc" and
/// "/sys", so that tests can bring a tree of files. No heap; one small stack buffer a file.
class LinuxSystemMetrics final : public SystemMetrics {
 public:
  explicit LinuxSystemMetrics(std::string_view disk_path, std::string_view root = "");
  base::Status Read(SystemReading* reading) override;

 private:
  base::FixedString<256> disk_path_;
  base::FixedString<128> root_;
  uint64_t last_busy_ticks_ = 0;
  uint64_t last_total_ticks_ = 0;
};

/// Device id and hardware class from the configuration, boot id from the kernel.
class LinuxIdentity final : public Identity {
 public:
  LinuxIdentity(std::string_view device_id, std::string_view hardware)
      : device_id_(device_id), hardware_(hardware) {}
  /// kInvalidArgument: an id that is empty or too long. kUnavailable: no boot id.
  base::Status Read(DeviceIdentity* identity) override;

 private:
  std::string_view device_id_;  // owned by the configuration, which outlives this
  std::string_view hardware_;
};

/// getrandom(2). Thread-safe.
class LinuxEntropy final : public Entropy {
 public:
  base::Status Fill(base::MutableBytes to) override;
};

}  // namespace dipper::hal
