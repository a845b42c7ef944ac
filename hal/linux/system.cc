// Reads small kernel text files into stack buffers and picks numbers out of them.
#include "hal/linux/system.h"

#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>

#include "hal/linux/kernel_text.h"

namespace dipper::hal {

using base::Status;

LinuxSystemMetrics::LinuxSystemMetrics(std::string_view disk_path, std::string_view root) {
  disk_path_.AssignTruncated(disk_path);
  root_.AssignTruncated(root);
}

Status LinuxSystemMetrics::Read(SystemReading* reading) {
  *reading = SystemReading{};
  reading->cpu_ratio = std::nan("");
  reading->load_1m = std::nan("");
  char buffer[4096];
  bool any = false;

  if (const auto text = ReadSmallFile(Path(root_.view(), "/proc/stat"), buffer, sizeof buffer);
      !text.empty()) {
    any = true;
    const CpuTicks ticks = ParseCpuTicks(text);
    if (last_total_ticks_ != 0 && ticks.total > last_total_ticks_ && ticks.busy >= last_busy_ticks_) {
      reading->cpu_ratio = static_cast<double>(ticks.busy - last_busy_ticks_) /
                           static_cast<double>(ticks.total - last_total_ticks_);
    }
    last_total_ticks_ = ticks.total;
    last_busy_ticks_ = ticks.busy;
  }
  if (const auto text = ReadSmallFile(Path(root_.view(), "/proc/meminfo"), buffer, sizeof buffer);
      !text.empty()) {
    any = true;
    reading->memory_total_bytes = KiloBytes(text, "MemTotal:");
    reading->memory_available_bytes = KiloBytes(text, "MemAvailable:");
  }
  if (const auto text = ReadSmallFile(Path(root_.view(), "/proc/self/status"), buffer, sizeof buffer);
      !text.empty()) {
    reading->process_rss_bytes = KiloBytes(text, "VmRSS:");
  }
  if (const auto text = ReadSmallFile(Path(root_.view(), "/proc/self/stat"), buffer, sizeof buffer);
      !text.empty()) {
    // The program name may hold blanks, so count fields from its closing bracket: state is field 3.
    const size_t bracket = text.rfind(')');
    if (bracket != std::string_view::npos) {
      const auto rest = text.substr(bracket + 1);
      const auto ticks = static_cast<double>(UintOr0(Word(rest, 11)) + UintOr0(Word(rest, 12)));
      reading->process_cpu_seconds = ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
    }
  }
  if (const auto text = ReadSmallFile(Path(root_.view(), "/proc/loadavg"), buffer, sizeof buffer);
      !text.empty()) {
    reading->load_1m = DoubleOrNan(Word(text, 0));
  }
  if (const auto text = ReadSmallFile(Path(root_.view(), "/proc/uptime"), buffer, sizeof buffer);
      !text.empty()) {
    const double seconds = DoubleOrNan(Word(text, 0));
    if (seconds >= 0) reading->uptime_seconds = static_cast<uint64_t>(seconds);
  }
  reading->temperature_celsius = HottestCelsius(root_.view());
  struct statvfs disk {};
  if (::statvfs(Path(disk_path_.view(), "").text, &disk) == 0) {
    reading->disk_free_bytes = uint64_t{disk.f_bavail} * uint64_t{disk.f_frsize};
  }
  return any ? Status::kOk : Status::kUnavailable;
}

Status LinuxIdentity::Read(DeviceIdentity* identity) {
  *identity = DeviceIdentity{};
  if (device_id_.empty() || !Ok(identity->device_id.Assign(device_id_))) return Status::kInvalidArgument;
  if (hardware_.empty() || !Ok(identity->hardware.Assign(hardware_))) return Status::kInvalidArgument;
  char buffer[64];
  auto text = ReadSmallFile(Path("/proc/sys/kernel/random/boot_id", ""), buffer, sizeof buffer);
  text = Word(text, 0);
  if (text.empty() || !Ok(identity->boot_id.Assign(text))) return Status::kUnavailable;
  return Status::kOk;
}

Status LinuxEntropy::Fill(base::MutableBytes to) {
  size_t filled = 0;
  while (filled < to.size()) {
    const ssize_t got = ::getrandom(to.data() + filled, to.size() - filled, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Status::kUnavailable;
    filled += static_cast<size_t>(got);
  }
  return Status::kOk;
}

}  // namespace dipper::hal
