// Implementation of system_source.h. Formats: proc(5); Documentation/admin-guide/iostats.rst and
// Documentation/accounting/psi.rst of the kernel.
#include "hal/linux/system_source.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cmath>

#include "hal/linux/kernel_text.h"

namespace dipper::hal {
namespace {

using base::Status;

enum Column : size_t {
  kCpu,
  kIoWait,
  kLoad,
  kRunning,
  kSwitches,
  kInterrupts,
  kMemory,
  kSwap,
  kTemperature,
  kPressure,  // three of them
  kDiskFree = kPressure + 3,
  kDiskRead,
  kDiskWrite,
  kReceived,
  kSent,
  kColumns
};
static_assert(kColumns == kSystemColumns.size());

constexpr size_t HeaderBytes() {
  size_t bytes = 0;
  for (const std::string_view name : kSystemColumns) bytes += name.size() + 1;
  return bytes - 1;
}

/// The columns' names as one line of values separated by commas.
constexpr std::array<uint8_t, HeaderBytes()> MakeHeader() {
  std::array<uint8_t, HeaderBytes()> line{};
  size_t at = 0;
  for (const std::string_view name : kSystemColumns) {
    if (at > 0) line[at++] = ',';
    for (const char c : name) line[at++] = static_cast<uint8_t>(c);
  }
  return line;
}
constexpr auto kHeader = MakeHeader();

constexpr uint64_t kSectorBytes = 512;  // of /proc/diskstats, whatever the disk's own sectors are

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

/// Neither a partition, whose bytes its disk counts too, nor a device over other devices or over memory.
bool IsWholeDisk(std::string_view name) {
  for (const std::string_view other : {"loop", "ram", "zram", "dm-", "md", "sr", "fd"}) {
    if (name.starts_with(other)) return false;
  }
  if (name.empty() || !IsDigit(name.back())) return true;
  if (!name.starts_with("mmcblk") && !name.starts_with("nvme")) return false;
  const size_t digits = name.find_last_not_of("0123456789");
  // mmcblk0p1 and nvme0n1p1 are partitions; mmcblk0boot0 and mmcblk0rpmb are areas of their own.
  return name[digits] != 'p' && name.find("boot") == std::string_view::npos;
}

float Ratio(double part, double whole) {
  return whole > 0 ? static_cast<float>(std::clamp(part / whole, 0.0, 1.0)) : kMissing;
}

}  // namespace

SystemSource::SystemSource(Clock& clock, double rate_hz, std::string_view disk_path, std::string_view root)
    : clock_(clock), period_ns_(static_cast<int64_t>(1e9 / rate_hz)) {
  DIPPER_CHECK(rate_hz > 0);
  disk_path_.AssignTruncated(disk_path);
  root_.AssignTruncated(root);
}

float SystemSource::Counter::Rate(uint64_t now, double seconds) {
  const bool usable = known && now >= last && seconds > 0;
  const float rate = usable ? static_cast<float>(static_cast<double>(now - last) / seconds) : kMissing;
  last = now;
  known = true;
  return rate;
}

std::string_view SystemSource::Read(std::string_view path) {
  return ReadSmallFile(Path(root_.view(), path), text_.data(), text_.size());
}

bool SystemSource::ReadCpu(double seconds) {
  std::string_view text = Read("/proc/stat");
  std::string_view line;
  bool any = false;
  while (NextLine(&text, &line)) {
    const std::string_view name = Word(line, 0);
    if (name == "cpu") {
      any = true;
      const CpuTicks now = ParseCpuTicks(line);
      // iowait may go back (proc(5)): then this sample has neither ratio.
      if (last_ticks_.total != 0 && now.total > last_ticks_.total && now.busy >= last_ticks_.busy &&
          now.wait >= last_ticks_.wait) {
        const auto passed = static_cast<double>(now.total - last_ticks_.total);
        values_[kCpu] = Ratio(static_cast<double>(now.busy - last_ticks_.busy), passed);
        values_[kIoWait] = Ratio(static_cast<double>(now.wait - last_ticks_.wait), passed);
      }
      last_ticks_ = now;
    } else if (name == "intr") {
      values_[kInterrupts] = interrupts_.Rate(UintOr0(Word(line, 1)), seconds);
    } else if (name == "ctxt") {
      values_[kSwitches] = switches_.Rate(UintOr0(Word(line, 1)), seconds);
    } else if (name == "procs_running") {
      values_[kRunning] = static_cast<float>(UintOr0(Word(line, 1)));
    }
  }
  if (const std::string_view load = Read("/proc/loadavg"); !load.empty())
    values_[kLoad] = static_cast<float>(DoubleOrNan(Word(load, 0)));
  return any;
}

void SystemSource::ReadMemory() {
  const std::string_view text = Read("/proc/meminfo");
  const auto of = [&](std::string_view key) { return static_cast<double>(KiloBytes(text, key)); };
  values_[kMemory] = Ratio(of("MemAvailable:"), of("MemTotal:"));
  values_[kSwap] = Ratio(of("SwapTotal:") - of("SwapFree:"), of("SwapTotal:"));
}

void SystemSource::ReadPressure(double seconds) {
  constexpr std::array<std::string_view, 3> kFiles = {"/proc/pressure/cpu", "/proc/pressure/memory",
                                                      "/proc/pressure/io"};
  for (size_t i = 0; i < kFiles.size(); ++i) {
    const std::string_view text = Read(kFiles[i]);
    constexpr std::string_view kKey = "total=";  // microseconds; the first line is "some"
    const size_t at = text.find(kKey);
    if (at == std::string_view::npos) continue;
    const float rate = stalled_[i].Rate(UintOr0(Word(text.substr(at + kKey.size()), 0)), seconds);
    values_[kPressure + i] = std::min(rate / 1e6F, 1.0F);
  }
}

void SystemSource::ReadDisks(double seconds) {
  struct statvfs disk {};
  if (::statvfs(Path(disk_path_.view(), "").text, &disk) == 0) {
    values_[kDiskFree] = Ratio(static_cast<double>(disk.f_bavail), static_cast<double>(disk.f_blocks));
  }
  std::string_view text = Read("/proc/diskstats"), line;
  if (text.empty()) return;
  uint64_t read = 0, written = 0;
  while (NextLine(&text, &line)) {
    if (!IsWholeDisk(Word(line, 2))) continue;
    read += UintOr0(Word(line, 5));
    written += UintOr0(Word(line, 9));
  }
  values_[kDiskRead] = disk_read_.Rate(read * kSectorBytes, seconds);
  values_[kDiskWrite] = disk_write_.Rate(written * kSectorBytes, seconds);
}

void SystemSource::ReadNetwork(double seconds) {
  std::string_view text = Read("/proc/net/dev"), line;
  if (text.empty()) return;
  uint64_t received = 0, sent = 0;
  while (NextLine(&text, &line)) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || Word(line.substr(0, colon), 0) == "lo") continue;
    const std::string_view numbers = line.substr(colon + 1);
    received += UintOr0(Word(numbers, 0));
    sent += UintOr0(Word(numbers, 8));
  }
  values_[kReceived] = received_.Rate(received, seconds);
  values_[kSent] = sent_.Rate(sent, seconds);
}

Status SystemSource::Poll(Record* record) {
  *record = Record{};
  record->time_ns = clock_.WallNs();
  if (!header_given_) {
    header_given_ = true;
    record->kind = RecordKind::kHeader;
    record->payload = kHeader;
    return Status::kOk;
  }
  const int64_t now_ns = clock_.MonotonicNs();
  if (now_ns < next_due_ns_) return Status::kNotFound;
  if (last_ns_ == 0) next_due_ns_ = now_ns;
  next_due_ns_ = std::max(next_due_ns_ + period_ns_, now_ns + period_ns_ / 2);
  const double seconds = last_ns_ == 0 ? 0 : static_cast<double>(now_ns - last_ns_) / 1e9;
  last_ns_ = now_ns;
  values_.fill(kMissing);
  const bool any = ReadCpu(seconds);
  unreadable_ = !any;
  ReadMemory();
  ReadPressure(seconds);
  ReadDisks(seconds);
  ReadNetwork(seconds);
  values_[kTemperature] = static_cast<float>(HottestCelsius(root_.view()));
  record->sequence = next_sequence_++;
  if (!any) return Status::kUnavailable;
  record->encoding = RecordEncoding::kFloats;
  record->payload = {reinterpret_cast<const uint8_t*>(values_.data()), sizeof values_};
  return Status::kOk;
}

}  // namespace dipper::hal
