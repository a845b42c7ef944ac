// hal/linux: CSV replay over real files, machine readings over a tree of files and over this machine.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "hal/linux/clock.h"
#include "hal/linux/csv_replay.h"
#include "hal/linux/system.h"
#include "tests/support/hand_clock.h"

namespace dipper::hal {
namespace {

using base::Status;
using test::HandClock;

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dipper-hal-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  std::string Write(const std::string& name, const std::string& text) const {
    const auto file = std::filesystem::path(path_) / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file.string();
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct Seen {
  RecordKind kind;
  uint64_t sequence;
  std::string text;
  bool operator==(const Seen&) const = default;
};

std::vector<Seen> ReadAll(CsvReplay& replay) {
  std::vector<Seen> seen;
  Record record;
  for (;;) {
    const Status status = replay.Poll(&record);
    if (status == Status::kDataLoss) {
      seen.push_back({record.kind, record.sequence, "(lost)"});
      continue;
    }
    if (status != Status::kOk) return seen;
    seen.push_back({record.kind, record.sequence, std::string(base::AsText(record.payload))});
  }
}

TEST(CsvReplay, GivesHeaderAndRowsWithAnyLineEnd) {
  TempFolder folder;
  LinuxClock clock;
  CsvReplay replay(clock, 0);
  const auto path = folder.Write("a.csv", "a,b\r\n1,2\r\n\r\n3,4\n5,6");
  ASSERT_EQ(replay.Open(path.c_str(), 0), Status::kOk);
  const std::vector<Seen> expected = {{RecordKind::kHeader, 0, "a,b"},
                                      {RecordKind::kSample, 0, "1,2"},
                                      {RecordKind::kSample, 1, "3,4"},
                                      {RecordKind::kSample, 2, "5,6"}};
  EXPECT_EQ(ReadAll(replay), expected);
}

TEST(CsvReplay, ResumesAtARow) {
  TempFolder folder;
  LinuxClock clock;
  std::string text = "x\n";
  for (int i = 0; i < 20000; ++i) text += std::to_string(i) + "\n";
  const auto path = folder.Write("long.csv", text);
  CsvReplay replay(clock, 0);
  ASSERT_EQ(replay.Open(path.c_str(), 19998), Status::kOk);
  const std::vector<Seen> expected = {{RecordKind::kHeader, 0, "x"},
                                      {RecordKind::kSample, 19998, "19998"},
                                      {RecordKind::kSample, 19999, "19999"}};
  EXPECT_EQ(ReadAll(replay), expected);
}

TEST(CsvReplay, ALineThatIsTooLongIsLostAndTheRestIsNot) {
  TempFolder folder;
  LinuxClock clock;
  const std::string huge(1 << 20, 'z');
  const auto path = folder.Write("huge.csv", "x\n1\n" + huge + "\n3\n");
  CsvReplay replay(clock, 0);
  ASSERT_EQ(replay.Open(path.c_str(), 0), Status::kOk);
  const std::vector<Seen> expected = {{RecordKind::kHeader, 0, "x"},
                                      {RecordKind::kSample, 0, "1"},
                                      {RecordKind::kSample, 1, "(lost)"},
                                      {RecordKind::kSample, 2, "3"}};
  EXPECT_EQ(ReadAll(replay), expected);
  EXPECT_EQ(replay.totals().unreadable, 1U);
}

TEST(CsvReplay, RefusesMissingAndEmptyFiles) {
  TempFolder folder;
  LinuxClock clock;
  EXPECT_EQ(CsvReplay(clock, 0).Open((folder.path() + "/none.csv").c_str(), 0), Status::kNotFound);
  EXPECT_EQ(CsvReplay(clock, 0).Open(folder.Write("empty.csv", "").c_str(), 0), Status::kDataLoss);
  const auto long_header = folder.Write("long.csv", std::string(1 << 20, 'z') + "\n1\n");
  EXPECT_EQ(CsvReplay(clock, 0).Open(long_header.c_str(), 0), Status::kResourceExhausted);
  EXPECT_EQ(CsvReplay(clock, 0).Open(folder.path().c_str(), 0), Status::kUnavailable);
}

TEST(CsvReplay, PacesByTheMonotonicClock) {
  TempFolder folder;
  HandClock clock;
  clock.now_ns = 0;
  CsvReplay replay(clock, 10);
  ASSERT_EQ(replay.Open(folder.Write("p.csv", "x\n1\n2\n3\n").c_str(), 0), Status::kOk);
  Record record;
  ASSERT_EQ(replay.Poll(&record), Status::kOk);  // header
  ASSERT_EQ(replay.Poll(&record), Status::kOk);  // first row at once
  EXPECT_EQ(replay.Poll(&record), Status::kNotFound);
  EXPECT_EQ(replay.NextDueNs(), 100000000);
  clock.now_ns = 99999999;
  EXPECT_EQ(replay.Poll(&record), Status::kNotFound);
  clock.now_ns = 100000000;
  EXPECT_EQ(replay.Poll(&record), Status::kOk);
}

TEST(SystemMetrics, ReadsATreeOfFiles) {
  TempFolder folder;
  folder.Write("proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1\n");
  folder.Write("proc/meminfo", "MemTotal:        1000 kB\nMemFree: 10 kB\nMemAvailable:     400 kB\n");
  folder.Write("proc/self/status", "Name:\tx\nVmRSS:\t  123 kB\n");
  folder.Write("proc/self/stat", "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 200 100 0 0");
  folder.Write("proc/loadavg", "0.25 0.1 0.1 1/2 3\n");
  folder.Write("proc/uptime", "12.5 3.0\n");
  folder.Write("sys/class/thermal/thermal_zone0/temp", "41000\n");
  folder.Write("sys/class/thermal/thermal_zone1/temp", "52500\n");
  LinuxSystemMetrics metrics(folder.path(), folder.path());
  SystemReading reading;
  ASSERT_EQ(metrics.Read(&reading), Status::kOk);
  EXPECT_TRUE(std::isnan(reading.cpu_ratio));  // needs two readings
  EXPECT_EQ(reading.memory_total_bytes, 1024000U);
  EXPECT_EQ(reading.memory_available_bytes, 409600U);
  EXPECT_EQ(reading.process_rss_bytes, 123U * 1024);
  EXPECT_DOUBLE_EQ(reading.process_cpu_seconds, 300.0 / static_cast<double>(::sysconf(_SC_CLK_TCK)));
  EXPECT_EQ(reading.load_1m, 0.25);
  EXPECT_EQ(reading.uptime_seconds, 12U);
  EXPECT_EQ(reading.temperature_celsius, 52.5);
  EXPECT_GT(reading.disk_free_bytes, 0U);
  folder.Write("proc/stat", "cpu  150 0 150 900 0 0 0 0 0 0\n");
  ASSERT_EQ(metrics.Read(&reading), Status::kOk);
  EXPECT_DOUBLE_EQ(reading.cpu_ratio, 0.5);
}

TEST(SystemMetrics, AZoneThatCannotBeReadHidesNoOther) {
  TempFolder folder;
  folder.Write("proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\n");
  folder.Write("sys/class/thermal/thermal_zone0/temp", "");
  folder.Write("sys/class/thermal/thermal_zone1/temp", "41000\n");
  folder.Write("sys/class/thermal/thermal_zone2/temp/a_folder", "90000\n");
  folder.Write("sys/class/thermal/thermal_zone3/temp", "none\n");
  LinuxSystemMetrics metrics(folder.path(), folder.path());
  SystemReading reading;
  ASSERT_EQ(metrics.Read(&reading), Status::kOk);
  EXPECT_EQ(reading.temperature_celsius, 41);
  // Beyond a gap, and with two digits.
  folder.Write("sys/class/thermal/thermal_zone11/temp", "-52500\n");
  folder.Write("sys/class/thermal/thermal_zone12/temp", "63250\n");
  ASSERT_EQ(metrics.Read(&reading), Status::kOk);
  EXPECT_EQ(reading.temperature_celsius, 63.25);
  for (int zone = 13; zone < 70; ++zone)
    folder.Write("sys/class/thermal/thermal_zone" + std::to_string(zone) + "/temp",
                 std::to_string(zone) + "000\n");
  ASSERT_EQ(metrics.Read(&reading), Status::kOk);
  EXPECT_EQ(reading.temperature_celsius, 63.25) << "of 64 zones at most";
}

TEST(SystemMetrics, SaysWhenThereIsNothingToRead) {
  TempFolder folder;
  LinuxSystemMetrics metrics(folder.path(), folder.path());
  SystemReading reading;
  EXPECT_EQ(metrics.Read(&reading), Status::kUnavailable);
  EXPECT_TRUE(std::isnan(reading.temperature_celsius));
  EXPECT_EQ(reading.memory_total_bytes, 0U);
}

TEST(Identity, RefusesBadIds) {
  DeviceIdentity identity;
  EXPECT_EQ(LinuxIdentity("", "hw").Read(&identity), Status::kInvalidArgument);
  EXPECT_EQ(LinuxIdentity(std::string(65, 'x'), "hw").Read(&identity), Status::kInvalidArgument);
  ASSERT_EQ(LinuxIdentity("gw-1", "generic").Read(&identity), Status::kOk);
  EXPECT_EQ(identity.boot_id.view().size(), 36U);
}

TEST(Entropy, FillsEveryByte) {
  LinuxEntropy entropy;
  std::array<uint8_t, 64> a{};
  std::array<uint8_t, 64> b{};
  ASSERT_EQ(entropy.Fill(a), Status::kOk);
  ASSERT_EQ(entropy.Fill(b), Status::kOk);
  EXPECT_NE(a, b);
}

TEST(Clock, MonotonicDoesNotGoBack) {
  LinuxClock clock;
  int64_t last = clock.MonotonicNs();
  for (int i = 0; i < 1000; ++i) {
    const int64_t now = clock.MonotonicNs();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_GT(clock.WallNs(), int64_t{1600000000} * 1000000000);
}

}  // namespace
}  // namespace dipper::hal
