// IioSource: the real libiio over a tree of files, which this process alone sees at /sys/bus/iio (a mount
// namespace of its own). Without libiio or without the right to such a namespace every test is skipped.
#include "hal/linux/iio_source.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/hand_clock.h"

namespace dipper::hal {
namespace {

using base::Status;
using test::HandClock;

void WriteFile(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

/// "" when /sys/bus is this process's own empty folder now, otherwise why not.
std::string MakeOwnBus() {
  void* const library = ::dlopen("libiio.so.0", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return "libiio0 is not installed (tools/setup --tests)";
  const auto user = ::getuid();
  const auto group = ::getgid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
    return std::string("no user and mount namespaces here: ") + std::strerror(errno);
  WriteFile("/proc/self/setgroups", "deny");
  WriteFile("/proc/self/uid_map", "0 " + std::to_string(user) + " 1");
  WriteFile("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("dipper-test", "/sys/bus", "tmpfs", 0, nullptr) != 0)
    return std::string("cannot mount over /sys/bus: ") + std::strerror(errno);
  return "";
}

class IioSourceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { obstacle_ = new std::string(MakeOwnBus()); }
  static void TearDownTestSuite() {
    delete obstacle_;
    obstacle_ = nullptr;
  }
  void SetUp() override {
    if (!obstacle_->empty()) GTEST_SKIP() << *obstacle_;
    std::filesystem::remove_all("/sys/bus/iio");
    Put("iio:device0", "name", "bme280");
    Put("iio:device0", "in_temp_input", "21340");
    Put("iio:device0", "in_humidityrelative_input", "45500");
    Put("iio:device1", "name", "ads1015");
    Put("iio:device1", "in_voltage0_raw", "100");
    Put("iio:device1", "in_voltage0_scale", "3.0");
    Put("iio:device1", "in_voltage1_raw", "-7");
    Put("iio:device1", "in_voltage1_scale", "0.5");
    Put("iio:device1", "in_voltage1_offset", "1");
    Put("iio:device1", "out_voltage2_raw", "9");
    Put("trigger0", "name", "timer");
  }

  static void Put(const std::string& device, const std::string& file, const std::string& text) {
    const std::string folder = "/sys/bus/iio/devices/" + device;
    std::filesystem::create_directories(folder);
    WriteFile(folder + "/" + file, text + "\n");
  }
  static void Remove(const std::string& device, const std::string& file) {
    std::filesystem::remove("/sys/bus/iio/devices/" + device + "/" + file);
  }

  static std::vector<float> Values(const Record& record) {
    std::vector<float> values(record.payload.size() / sizeof(float));
    std::memcpy(values.data(), record.payload.data(), record.payload.size());
    return values;
  }

  static std::string* obstacle_;
  HandClock clock_;
  std::string message_;
};
std::string* IioSourceTest::obstacle_ = nullptr;

TEST_F(IioSourceTest, ReadsEveryInputChannelInTheUnitsOfTheAbi) {
  IioSource source(clock_);
  ASSERT_TRUE(source.Open({.device = "ads1015"}, &message_)) << message_;
  Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(record.kind, RecordKind::kHeader);
  EXPECT_EQ(base::AsText(record.payload), "voltage0,voltage1");
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(record.time_ns, 1'000'005'000);
  EXPECT_EQ(Values(record), (std::vector<float>{300, -3}));
  EXPECT_EQ(source.Poll(&record), Status::kNotFound);
  Put("iio:device1", "in_voltage0_raw", "200");
  clock_.now_ns = source.NextDueNs();
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(record.sequence, 1U);
  EXPECT_EQ(Values(record), (std::vector<float>{600, -3}));
}

TEST_F(IioSourceTest, ChannelsInTheOrderAskedForAndProcessedOnesAsTheyAre) {
  IioSource source(clock_);
  ASSERT_TRUE(source.Open({.device = "iio:device0", .channels = {"temp", "humidityrelative"}}, &message_))
      << message_;
  Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(base::AsText(record.payload), "temp,humidityrelative");
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(Values(record), (std::vector<float>{21340, 45500}));
}

TEST_F(IioSourceTest, AChannelThatFailsIsMissingAndADeviceThatFailsIsSaidAndAskedAgain) {
  IioSource source(clock_);
  ASSERT_TRUE(
      source.Open({.device = "bme280", .channels = {"temp", "humidityrelative"}, .rate_hz = 10}, &message_));
  Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  Remove("iio:device0", "in_temp_input");
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_TRUE(std::isnan(Values(record)[0]));
  EXPECT_EQ(Values(record)[1], 45500);
  EXPECT_EQ(source.counters().failed_readings, 1U);
  Remove("iio:device0", "in_humidityrelative_input");
  clock_.now_ns = source.NextDueNs();
  EXPECT_EQ(source.Poll(&record), Status::kUnavailable);
  EXPECT_EQ(source.counters().failed_samples, 1U);
  EXPECT_EQ(source.Poll(&record), Status::kNotFound);  // not asked again before its time
  Put("iio:device0", "in_temp_input", "100");
  Put("iio:device0", "in_humidityrelative_input", "garbage");
  clock_.now_ns = source.NextDueNs();
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(Values(record)[0], 100);
}

TEST_F(IioSourceTest, WhatIsNotThereIsSaidWithWhatIs) {
  IioSource none(clock_);
  EXPECT_FALSE(none.Open({.device = "bmp280"}, &message_));
  EXPECT_EQ(message_, "source kind iio: there is no device bmp280; there is: bme280, ads1015");
  IioSource output(clock_);
  EXPECT_FALSE(output.Open({.device = "ads1015", .channels = {"voltage2"}}, &message_));
  EXPECT_EQ(message_, "source kind iio: ads1015 has no input channel voltage2; it has: voltage0, voltage1");
  Put("iio:device2", "name", "bme280");
  IioSource twice(clock_);
  EXPECT_FALSE(twice.Open({.device = "bme280"}, &message_));
  EXPECT_NE(message_.find("two devices"), std::string::npos);
  std::filesystem::remove_all("/sys/bus/iio");
  IioSource empty(clock_);
  EXPECT_FALSE(empty.Open({.device = "bme280"}, &message_));
  EXPECT_NE(message_.find("/sys/bus/iio/devices"), std::string::npos) << message_;
}

TEST_F(IioSourceTest, ABufferGivesEverySampleInRawUnitsMadeReal) {
  // The kernel's character device is a pipe here; the tree says two channels of 12 bits, shifted by 4.
  ASSERT_EQ(::mount("dipper-test", "/dev", "tmpfs", 0, nullptr), 0) << std::strerror(errno);
  ASSERT_EQ(::mkfifo("/dev/iio:device1", 0600), 0);
  const int device = ::open("/dev/iio:device1", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  std::filesystem::create_directories("/sys/bus/iio/devices/iio:device1/buffer");
  std::filesystem::create_directories("/sys/bus/iio/devices/iio:device1/scan_elements");
  for (const char* file : {"buffer/enable", "buffer/length", "scan_elements/in_voltage0_en",
                           "scan_elements/in_voltage0_index", "scan_elements/in_voltage1_en"}) {
    Put("iio:device1", file, "0");
  }
  Put("iio:device1", "scan_elements/in_voltage1_index", "1");
  Put("iio:device1", "scan_elements/in_voltage0_type", "le:s12/16>>4");
  Put("iio:device1", "scan_elements/in_voltage1_type", "be:u12/16>>4");
  IioSource source(clock_);
  ASSERT_TRUE(source.Open({.device = "ads1015", .rate_hz = 1000, .buffer_samples = 2}, &message_))
      << message_;
  Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(base::AsText(record.payload), "voltage0,voltage1");
  EXPECT_EQ(source.Poll(&record), Status::kNotFound);  // nothing sampled yet
  // voltage0 = -2 and 100 (le, << 4), voltage1 = 3 and 4095 (be, << 4)
  const std::array<uint8_t, 8> samples = {0xE0, 0xFF, 0x00, 0x30, 0x40, 0x06, 0xFF, 0xF0};
  ASSERT_EQ(::write(device, samples.data(), samples.size()), 8);
  clock_.now_ns += 10'000'000;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(Values(record), (std::vector<float>{-2 * 3.0F, (3 + 1) * 0.5F}));
  ASSERT_EQ(source.Poll(&record), Status::kOk);  // the second of the buffer at once
  EXPECT_EQ(Values(record), (std::vector<float>{100 * 3.0F, (4095 + 1) * 0.5F}));
  EXPECT_EQ(source.Poll(&record), Status::kNotFound);
  ::close(device);
}

TEST_F(IioSourceTest, ABufferThatCannotBeHadIsSaid) {
  IioSource source(clock_);
  EXPECT_FALSE(source.Open({.device = "ads1015", .buffer_samples = 16}, &message_));
  EXPECT_NE(message_.find("input channels"), std::string::npos) << message_;  // no scan elements in this tree
}

}  // namespace
}  // namespace dipper::hal
