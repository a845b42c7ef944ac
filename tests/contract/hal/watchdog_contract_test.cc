// Runs the contract on the simulated watchdog and on the real client of /dev/watchdog, whose device is a pipe
// here: what it writes is read as the kernel's drivers read it. No driver's ioctls are there.
#include "tests/contract/hal/watchdog_contract.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "hal/linux/watchdog.h"
#include "hal/sim/watchdog_sim.h"

namespace dipper::hal {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

struct SimUnderTest : WatchdogUnderTest {
  SimWatchdog sim{10 * kSecondNs};
  Watchdog& watchdog() override { return sim; }
  void Pass(int64_t ns) override { sim.Pass(ns); }
  bool Fired() override { return sim.fired(); }
};

// The other end of the pipe counts as a driver does: any byte is a pat, 'V' last before the close stops.
class DeviceUnderTest : public WatchdogUnderTest {
 public:
  DeviceUnderTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dipper-watchdog-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    const std::string path = folder_ + "/watchdog";
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    reader_ = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    EXPECT_EQ(device_.Open(path.c_str(), 10), base::Status::kOk);
  }
  ~DeviceUnderTest() override {
    ::close(reader_);
    std::filesystem::remove_all(folder_);
  }
  Watchdog& watchdog() override { return device_; }
  void Pass(int64_t ns) override {
    Read();
    since_pat_ns_ += ns;
    fired_ = fired_ || (!stopped_ && since_pat_ns_ > device_.timeout_ns());
  }
  bool Fired() override { return fired_; }

 private:
  void Read() {
    char last = 0;
    char byte = 0;
    ssize_t got = 0;
    while ((got = ::read(reader_, &byte, 1)) == 1) {
      last = byte;
      since_pat_ns_ = 0;
    }
    if (got == 0 && last == 'V') stopped_ = true;
  }

  std::string folder_;
  int reader_ = -1;
  DeviceWatchdog device_;
  int64_t since_pat_ns_ = 0;
  bool stopped_ = false;
  bool fired_ = false;
};

template <typename UnderTest>
std::unique_ptr<WatchdogUnderTest> Make() {
  return std::make_unique<UnderTest>();
}

INSTANTIATE_TEST_SUITE_P(Sim, WatchdogContract, testing::Values(&Make<SimUnderTest>));
INSTANTIATE_TEST_SUITE_P(Device, WatchdogContract, testing::Values(&Make<DeviceUnderTest>));

TEST(DeviceWatchdog, SaysWhyItCannotBeOpened) {
  DeviceWatchdog device;
  EXPECT_EQ(device.Open("/nonexistent/watchdog", 60), base::Status::kNotFound);
  EXPECT_EQ(device.Open("/", 60), base::Status::kUnavailable);
  EXPECT_FALSE(device.armed());
  EXPECT_EQ(device.Pat(), base::Status::kFailedPrecondition);
}

TEST(SimWatchdog, OneThatCannotBeStoppedFires) {
  SimWatchdog sim(kSecondNs, false);
  EXPECT_EQ(sim.Disarm(), base::Status::kUnavailable);
  sim.Pass(2 * kSecondNs);
  EXPECT_TRUE(sim.ResetTheMachine());
}

}  // namespace
}  // namespace dipper::hal
