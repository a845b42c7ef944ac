// SystemSource over a tree of files whose counters the test moves, and over this machine.
#include "hal/linux/system_source.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "hal/linux/clock.h"
#include "tests/support/hand_clock.h"

namespace dipper::hal {
namespace {

using base::Status;
using test::HandClock;

class SystemSourceTest : public ::testing::Test {
 protected:
  SystemSourceTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dipper-system-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
  }
  ~SystemSourceTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& name, const std::string& text) const {
    const auto file = std::filesystem::path(root_ + name);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
  }

  static std::map<std::string, float> Values(const Record& record) {
    std::map<std::string, float> values;
    EXPECT_EQ(record.encoding, RecordEncoding::kFloats);
    EXPECT_EQ(record.payload.size(), kSystemColumns.size() * sizeof(float));
    for (size_t i = 0; i < kSystemColumns.size(); ++i) {
      std::memcpy(&values[std::string(kSystemColumns[i])], record.payload.data() + i * sizeof(float),
                  sizeof(float));
    }
    return values;
  }

  void WriteFirst() const {
    Write("/proc/stat",
          "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\nintr 1000 5 5\nctxt 2000\n"
          "procs_running 3\n");
    Write("/proc/loadavg", "0.75 0.5 0.25 1/100 999\n");
    Write("/proc/meminfo",
          "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\nSwapTotal: 400 kB\n"
          "SwapFree: 300 kB\n");
    Write("/proc/pressure/io", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\nfull total=7\n");
    Write("/proc/diskstats",
          " 179 0 mmcblk0 1 0 100 0 1 0 50 0 0 0 0\n 179 1 mmcblk0p1 1 0 100 0 1 0 50 0 0 0 0\n"
          " 179 8 mmcblk0boot0 1 0 9 0 1 0 9 0 0 0 0\n 8 0 sda 1 0 10 0 1 0 10 0 0 0 0\n"
          " 8 1 sda1 1 0 10 0 1 0 10 0 0 0 0\n 7 0 loop0 1 0 999 0 1 0 999 0 0 0 0\n");
    Write("/proc/net/dev",
          "Inter-|   Receive\n face |bytes\n    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n"
          "  eth0:1000 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0\n");
    Write("/sys/class/thermal/thermal_zone0/temp", "41500\n");
    Write("/sys/class/thermal/thermal_zone1/temp", "63250\n");
  }

  std::string root_;
  HandClock clock_;
};

TEST_F(SystemSourceTest, TheHeaderNamesEveryColumn) {
  SystemSource source(clock_, 1, root_, root_);
  Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(record.kind, RecordKind::kHeader);
  std::string line;
  for (const std::string_view name : kSystemColumns) line += (line.empty() ? "" : ",") + std::string(name);
  EXPECT_EQ(base::AsText(record.payload), line);
}

TEST_F(SystemSourceTest, LevelsAtOnceAndRatesFromTheSecondSample) {
  WriteFirst();
  SystemSource source(clock_, 1, root_, root_);
  Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);  // header
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(record.sequence, 0U);
  EXPECT_EQ(record.time_ns, 5'000 + clock_.now_ns);
  auto values = Values(record);
  EXPECT_FLOAT_EQ(values["memory_available_ratio"], 0.25F);
  EXPECT_FLOAT_EQ(values["swap_used_ratio"], 0.25F);
  EXPECT_FLOAT_EQ(values["temperature_celsius"], 63.25F);
  EXPECT_FLOAT_EQ(values["load_1m"], 0.75F);
  EXPECT_FLOAT_EQ(values["running_tasks"], 3);
  EXPECT_GT(values["disk_free_ratio"], 0);
  for (const char* rate : {"cpu_ratio", "iowait_ratio", "interrupts_per_second",
                           "context_switches_per_second", "io_pressure_ratio", "disk_read_bytes_per_second",
                           "network_send_bytes_per_second", "cpu_pressure_ratio"}) {
    EXPECT_TRUE(std::isnan(values[rate])) << rate;
  }

  EXPECT_EQ(source.Poll(&record), Status::kNotFound);  // not due yet
  clock_.now_ns += 2'000'000'000;
  Write("/proc/stat", "cpu  130 0 110 740 120 0 0 0 0 0\nintr 1400 5 5\nctxt 2100\nprocs_running 1\n");
  Write("/proc/pressure/io", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull total=7\n");
  Write("/proc/diskstats",
        " 179 0 mmcblk0 1 0 300 0 1 0 90 0 0 0 0\n 179 1 mmcblk0p1 1 0 300 0 1 0 90 0 0 0 0\n"
        " 8 0 sda 1 0 10 0 1 0 20 0 0 0 0\n 7 0 loop0 1 0 99999 0 1 0 99999 0 0 0 0\n");
  Write("/proc/net/dev",
        "    lo: 99999 1 0 0 0 0 0 0 99999 1 0 0 0 0 0 0\n  eth0: 5000 1 0 0 0 0 0 0 400 1 0 0 0 0 0 0\n");
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(record.sequence, 1U);
  values = Values(record);
  EXPECT_FLOAT_EQ(values["cpu_ratio"], 0.4F);  // 40 of 100 ticks
  EXPECT_FLOAT_EQ(values["iowait_ratio"], 0.2F);
  EXPECT_FLOAT_EQ(values["interrupts_per_second"], 200);
  EXPECT_FLOAT_EQ(values["context_switches_per_second"], 50);
  EXPECT_FLOAT_EQ(values["io_pressure_ratio"], 0.25F);
  EXPECT_FLOAT_EQ(values["disk_read_bytes_per_second"], 200 * 512 / 2.0F);
  EXPECT_FLOAT_EQ(values["disk_write_bytes_per_second"], 50 * 512 / 2.0F);
  EXPECT_FLOAT_EQ(values["network_receive_bytes_per_second"], 2000);
  EXPECT_TRUE(std::isnan(values["network_send_bytes_per_second"]));  // went back: the interface was made anew
  EXPECT_TRUE(std::isnan(values["memory_pressure_ratio"]));          // a kernel without it
}

TEST_F(SystemSourceTest, ALateTurnIsNotMadeUpForAndTheRateHolds) {
  WriteFirst();
  SystemSource source(clock_, 10, root_, root_);
  Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  int samples = 0;
  for (int i = 0; i < 1000; ++i) {  // 10 s in steps of 10 ms
    samples += source.Poll(&record) == Status::kOk;
    clock_.now_ns += 10'000'000;
  }
  EXPECT_EQ(samples, 100);
  clock_.now_ns += 60'000'000'000;
  samples = 0;
  for (int i = 0; i < 10; ++i) samples += source.Poll(&record) == Status::kOk;
  EXPECT_EQ(samples, 1);
}

TEST_F(SystemSourceTest, WithoutProcItSaysSoAndComesBack) {
  SystemSource source(clock_, 1, root_, root_);
  Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(source.Poll(&record), Status::kUnavailable);
  WriteFirst();
  clock_.now_ns += 1'000'000'000;
  EXPECT_EQ(source.Poll(&record), Status::kOk);
}

TEST_F(SystemSourceTest, ReadsThisMachine) {
  LinuxClock clock;
  SystemSource source(clock, 1000, "/");
  Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  const int64_t until = clock.MonotonicNs() + 50'000'000;
  while (clock.MonotonicNs() < until) {
  }
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  auto values = Values(record);
  EXPECT_GT(values["memory_available_ratio"], 0);
  EXPECT_LT(values["memory_available_ratio"], 1);
  EXPECT_GE(values["context_switches_per_second"], 0);
  EXPECT_GT(values["disk_free_ratio"], 0);
}

}  // namespace
}  // namespace dipper::hal
