// SystemSource: the machine's own state as a stream of samples, so that every device has something to learn
// from on its first day. Not thread-safe. No heap.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "agent/base/fixed.h"
#include "hal/api/clock.h"
#include "hal/api/sample_source.h"
#include "hal/linux/kernel_text.h"

namespace dipper::hal {

/// Its columns, in order, all numbers: ratios 0 to 1, base units. What the machine cannot tell is missing
/// (not-a-number); rates are missing in the first sample and after a counter went back.
inline constexpr std::array<std::string_view, 17> kSystemColumns = {
    "cpu_ratio",                         // busy share of all cores since the last sample
    "iowait_ratio",                      // share of time that cores waited for I/O
    "load_1m",                           // runnable tasks, averaged over a minute
    "running_tasks",                     // runnable now
    "context_switches_per_second",       //
    "interrupts_per_second",             //
    "memory_available_ratio",            //
    "swap_used_ratio",                   // missing without swap
    "temperature_celsius",               // hottest thermal zone
    "cpu_pressure_ratio",                // pressure stall information: share of time in which
    "memory_pressure_ratio",             //   some task waited for the resource
    "io_pressure_ratio",                 //
    "disk_free_ratio",                   // of the file system below `disk_path`
    "disk_read_bytes_per_second",        // of whole disks
    "disk_write_bytes_per_second",       //
    "network_receive_bytes_per_second",  // of all interfaces but the loopback
    "network_send_bytes_per_second",     //
};

class SystemSource final : public SampleSource {
 public:
  static constexpr size_t kTextBytes = 16 * 1024;

  /// @param rate_hz     Samples a second, above 0.
  /// @param disk_path   Whose free space is told.
  /// @param root        Put before "/proc" and "/sys", so that tests can bring a tree of files.
  SystemSource(Clock& clock, double rate_hz, std::string_view disk_path, std::string_view root = "");

  /// First a header, then a kFloats record whenever one is due. A turn that came late is not made up for.
  /// kUnavailable: not even /proc/stat can be read.
  base::Status Poll(Record* record) override;
  int64_t NextDueNs() override { return next_due_ns_; }
  std::string_view trouble() const override {
    return unreadable_ ? "source system: /proc/stat cannot be read; is /proc mounted?" : std::string_view();
  }

 private:
  /// A counter of the kernel and its rate a second.
  struct Counter {
    uint64_t last = 0;
    bool known = false;
    float Rate(uint64_t now, double seconds);
  };

  bool ReadCpu(double seconds);
  void ReadMemory();
  void ReadPressure(double seconds);
  void ReadDisks(double seconds);
  void ReadNetwork(double seconds);
  std::string_view Read(std::string_view path);

  Clock& clock_;
  const int64_t period_ns_;
  base::FixedString<256> disk_path_;
  base::FixedString<128> root_;
  bool header_given_ = false, unreadable_ = false;
  int64_t next_due_ns_ = 0, last_ns_ = 0;
  uint64_t next_sequence_ = 0;
  CpuTicks last_ticks_;
  Counter switches_, interrupts_, disk_read_, disk_write_, received_, sent_;
  std::array<Counter, 3> stalled_;
  std::array<float, kSystemColumns.size()> values_{};
  std::array<char, kTextBytes> text_{};
};

}  // namespace dipper::hal
