// The process: signals, the loop between the broker's events, the samples and the operator, and the end.
#include "agent/app/app.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>

#include "agent/app/assembly.h"
#include "agent/app/kill_point.h"
#include "agent/app/mqtt_setup.h"
#include "agent/app/trim.h"
#include "agent/base/time.h"

namespace dipper::app {
namespace {

// After a start, a connection or an update step: time for its work to be done before its memory is given
// back.
constexpr int64_t kSettleNs = 3'000'000'000;

// The session's thread may try a name that nobody resolves for half a minute.
constexpr int64_t kLinkSilenceNs = 180'000'000'000;

// A turn that was so late says more of the machine (asleep, stopped) than of the session's thread.
constexpr int64_t kLateTurnNs = 5'000'000'000;

// Tells the guard who answers, the session's thread among them.
class Watch {
 public:
  explicit Watch(Assembly& app)
      : app_(app),
        last_ns_(app.devices.clock.MonotonicNs()),
        link_(app.agent.answers().Add("link", kLinkSilenceNs, last_ns_)) {}

  void Turn() {
    const int64_t now_ns = app_.devices.clock.MonotonicNs();
    const uint64_t beats = app_.mqtt.beats();
    if (beats != beats_ || now_ns - last_ns_ > kLateTurnNs) app_.agent.answers().Answered(link_, now_ns);
    beats_ = beats;
    last_ns_ = now_ns;
    const std::string told = app_.guard.Turn(now_ns, app_.agent.answers().Silent(now_ns));
    if (!told.empty()) Say(told);
  }

 private:
  Assembly& app_;
  int64_t last_ns_;
  uint32_t link_;
  uint64_t beats_ = 0;
};

enum class End : uint8_t {
  kStopped,   ///< By a signal.
  kDistrust,  ///< Memory cannot be trusted any more.
  kWipe,      ///< A command has everything erased.
};

End Loop(Assembly& app, int stop_fd) {
  link::MqttSession& mqtt = app.mqtt;
  hal::Clock& clock = app.devices.clock;
  bool was_connected = false;
  std::string last_error;
  uint64_t update_events = 0;
  int64_t trim_ns = clock.MonotonicNs();  // 0: nothing to give back; at first, what only the start needed
  int64_t settled_ns = trim_ns + kSettleNs;
  Watch watch(app);
  app.service.Ready();
  app.service.Status(app.StatusLine());
  for (bool stopped = false; !stopped;) {
    const int64_t due_ns = std::min(app.agent.Step(), app.control.Poll());
    watch.Turn();
    if (!app.CheckMemory(clock.MonotonicNs())) return End::kDistrust;
    app.JudgeHeap();
    if (app.agent.WipeDue()) return End::kWipe;
    const int64_t now_ns = clock.MonotonicNs();
    if (app.UpdateEvents() != update_events || mqtt.connected() != was_connected) {
      update_events = app.UpdateEvents();
      app.service.Status(app.StatusLine());
      settled_ns = now_ns + kSettleNs;
      if (trim_ns == 0) trim_ns = settled_ns;
    }
    // Events that follow one another do not put it off: a busy hour would keep what a start needed.
    if (trim_ns != 0 && now_ns >= trim_ns) {
      TrimMemory();
      trim_ns = now_ns < settled_ns ? settled_ns : 0;
    }
    if (mqtt.connected() != was_connected) {
      was_connected = mqtt.connected();
      Say(was_connected ? "connected to " + app.config.mqtt.url
                        : "lost the connection to " + app.config.mqtt.url);
    }
    if (std::string error = mqtt.last_error(); error != last_error) {
      last_error = std::move(error);
      if (!last_error.empty()) Say(last_error);
    }
    const int64_t wait_ns = std::max<int64_t>(due_ns - clock.MonotonicNs(), 0);
    const timespec timeout{.tv_sec = static_cast<time_t>(wait_ns / base::kSecondNs),
                           .tv_nsec = static_cast<long>(wait_ns % base::kSecondNs)};
    pollfd events[] = {{.fd = stop_fd, .events = POLLIN, .revents = 0},
                       {.fd = mqtt.event_fd(), .events = POLLIN, .revents = 0},
                       {.fd = app.control.fd(), .events = POLLIN, .revents = 0},
                       {.fd = app.devices.source_fd(), .events = POLLIN, .revents = 0}};
    (void)::ppoll(events, std::size(events), &timeout, nullptr);
    stopped = (events[0].revents & POLLIN) != 0;
  }
  return End::kStopped;
}

// Readable from the first SIGTERM or SIGINT on. A descriptor, because a signal that interrupts ppoll is not
// seen while another descriptor is ready, and the source's always is when it is faster than the models.
int StopSignals() {
  sigset_t stop_signals;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGINT);
  sigprocmask(SIG_BLOCK, &stop_signals, nullptr);
  const int fd = ::signalfd(-1, &stop_signals, SFD_CLOEXEC | SFD_NONBLOCK);
  DIPPER_CHECK(fd >= 0);
  return fd;
}

/// The same program in the same process, with none of its memory: what was learned and held there is gone
/// too. Returns only when the system refuses.
int StartAnew(std::unique_ptr<Assembly> app, std::unique_ptr<Devices> devices, char* const* arguments) {
  MaybeKill("wipe:answered");
  Say("beginning anew, to erase what was learned and is held");
  app->note.End();
  if (const std::string told = app->guard.Stop(); !told.empty()) Say(told);
  app.reset();  // not every library marks what it opens to be closed
  devices.reset();
  (void)::execv("/proc/self/exe", arguments);
  Say(std::string("cannot begin anew: ") + std::strerror(errno) + "; the next start erases");
  return 1;
}

}  // namespace

int Run(const Config& config, char* const* arguments) {
  const int stop_fd = StopSignals();
  std::string message;
  auto devices = std::make_unique<Devices>();
  uint64_t session = 0;
  link::MqttConfig mqtt;
  bool good = OpenDevices(config, devices.get(), &message);
  if (good) {
    std::array<uint8_t, sizeof session> random{};
    good = Ok(devices->entropy.Fill(random));
    if (!good) message = "the system gave no random bytes for a session id";
    session = base::Load<uint64_t>(random.data());
  }
  std::istringstream notices(devices->notice);
  for (std::string line; std::getline(notices, line);) Say(line);
  good = good && MakeMqttConfig(config, devices->identity, session, &mqtt, &message);
  std::unique_ptr<Assembly> app;
  if (good) {
    app = std::make_unique<Assembly>(config, *devices, session, mqtt);
    good = app->Start(&message);
  }
  if (!good) {
    Say(message);
    if (app) (void)app->guard.Stop();
    return 1;
  }
  const End end = Loop(*app, stop_fd);
  if (end == End::kDistrust) return 1;
  if (end == End::kWipe) return StartAnew(std::move(app), std::move(devices), arguments);
  app->service.Stopping();
  app->agent.Stop();
  app->note.End();
  if (const std::string told = app->guard.Stop(); !told.empty()) Say(told);
  Say("stopped");
  return 0;
}

}  // namespace dipper::app
