// agent/app/service_notify and guard: what a supervisor and the machine's watchdog get to hear, and when they
// do not.
#include "agent/app/guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace dipper::app {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

class GuardTest : public testing::Test {
 protected:
  GuardTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dipper-guard-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    Forget();
  }
  ~GuardTest() override {
    Forget();
    if (supervisor_ >= 0) ::close(supervisor_);
    std::filesystem::remove_all(folder_);
  }
  static void Forget() {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
  }

  // A supervisor that listens at `name`: a path, or @abstract.
  void Listen(const std::string& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    supervisor_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(::bind(supervisor_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  // The next message; empty: none came.
  std::string Heard() const {
    pollfd entry{.fd = supervisor_, .events = POLLIN, .revents = 0};
    if (::poll(&entry, 1, 0) != 1) return {};
    char text[512];
    const ssize_t got = ::recv(supervisor_, text, sizeof text, 0);
    return got < 0 ? std::string{} : std::string(text, static_cast<size_t>(got));
  }

  std::string folder_;
  int supervisor_ = -1;
};

TEST_F(GuardTest, WithoutASupervisorNothingIsSent) {
  ServiceNotify nobody;
  EXPECT_FALSE(nobody.listens());
  EXPECT_EQ(nobody.watchdog_ns(), 0);
  nobody.Ready();
  for (const char* wrong : {"", "x", "relative/path", "@"}) {
    ::setenv("NOTIFY_SOCKET", wrong, 1);
    EXPECT_FALSE(ServiceNotify().listens()) << wrong;
  }
  ::setenv("NOTIFY_SOCKET", ("/" + std::string(200, 'x')).c_str(), 1);
  EXPECT_FALSE(ServiceNotify().listens());
}

TEST_F(GuardTest, SystemdsProtocol) {
  for (const std::string& name : {folder_ + "/notify", "@dipper-guard-test-" + std::to_string(::getpid())}) {
    Listen(name);
    ServiceNotify service;
    ASSERT_TRUE(service.listens()) << name;
    service.Ready();
    EXPECT_EQ(Heard(), "READY=1");
    service.Status("serving pump\nREADY=1");
    EXPECT_EQ(Heard(), "STATUS=serving pump READY=1") << "one line, one message";
    service.Pat();
    EXPECT_EQ(Heard(), "WATCHDOG=1");
    service.Stopping();
    EXPECT_EQ(Heard(), "STOPPING=1");
    ::close(supervisor_);
    supervisor_ = -1;
    service.Pat();  // a supervisor that is gone harms nobody
  }
}

TEST_F(GuardTest, TheWatchdogIsForThisProcessOnly) {
  Listen(folder_ + "/notify");
  ::setenv("WATCHDOG_USEC", "2000000", 1);
  EXPECT_EQ(ServiceNotify().watchdog_ns(), 2 * kSecondNs);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(ServiceNotify().watchdog_ns(), 2 * kSecondNs);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(ServiceNotify().watchdog_ns(), 0);
  ::unsetenv("WATCHDOG_PID");
  for (const char* wrong : {"", "x", "-1", "0", "10s", "99999999999999999999"}) {
    ::setenv("WATCHDOG_USEC", wrong, 1);
    EXPECT_EQ(ServiceNotify().watchdog_ns(), 0) << wrong;
  }
}

TEST_F(GuardTest, PatsOnlyWhileEverybodyAnswers) {
  Listen(folder_ + "/notify");
  ::setenv("WATCHDOG_USEC", "4000000", 1);
  ServiceNotify service;
  RunNote note;
  Guard guard(service, note);
  EXPECT_EQ(guard.hung_ns(), 2 * kSecondNs);
  EXPECT_EQ(guard.Turn(10 * kSecondNs, ""), "");
  EXPECT_EQ(Heard(), "WATCHDOG=1");
  EXPECT_EQ(guard.Turn(10 * kSecondNs + kSecondNs / 2, ""), "");
  EXPECT_EQ(Heard(), "") << "four times in a period are enough";
  EXPECT_EQ(guard.Turn(11 * kSecondNs, ""), "");
  EXPECT_EQ(Heard(), "WATCHDOG=1");
  EXPECT_EQ(guard.Turn(13 * kSecondNs, "link"), "link does not answer any more: no watchdog is patted");
  EXPECT_EQ(guard.Turn(15 * kSecondNs, "link"), "") << "said once";
  EXPECT_EQ(Heard(), "");
  EXPECT_EQ(guard.Turn(16 * kSecondNs, ""), "link answers again");
  EXPECT_EQ(Heard(), "WATCHDOG=1");
}

TEST_F(GuardTest, TheMachinesWatchdogIsPattedAndStopped) {
  const std::string path = folder_ + "/watchdog";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int machine = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ServiceNotify service;
  RunNote note;
  Guard guard(service, note);
  std::string message;
  EXPECT_FALSE(guard.OpenWatchdog(folder_ + "/none", 60, &message));
  EXPECT_EQ(message,
            "watchdog.device: cannot use " + folder_ +
                "/none: there is no such device; load its driver, or remove the key watchdog.device");
  ASSERT_TRUE(guard.OpenWatchdog(path, 60, &message)) << message;
  EXPECT_EQ(guard.Turn(100 * kSecondNs, ""), "");
  EXPECT_EQ(guard.Turn(115 * kSecondNs, ""), "");
  EXPECT_EQ(guard.Turn(130 * kSecondNs, "storage"),
            "storage does not answer any more: no watchdog is patted");
  EXPECT_EQ(guard.Stop(), "");
  char bytes[16];
  const ssize_t got = ::read(machine, bytes, sizeof bytes);
  ::close(machine);
  EXPECT_EQ(std::string(bytes, static_cast<size_t>(got)), "ppV");
}

}  // namespace
}  // namespace dipper::app
