// A shared file mapping of one page and a handler that writes one word of it.
#include "agent/app/run_note.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <ctime>

#include "agent/app/config/config.h"
#include "agent/base/time.h"

namespace dipper::app {
namespace {

constexpr size_t kBootIdBytes = 64;
constexpr size_t kModelIdBytes = 64;
constexpr size_t kPartBytes = 64;

}  // namespace

struct RunNote::Page {
  char magic[8];
  volatile uint32_t crashed;   // the signal; 0: none
  volatile uint32_t running;   // number + 1 of the model whose code runs; 0: none's
  volatile uint32_t alive;     // from Begin to End
  volatile uint32_t watchdog;  // a watchdog ended it
  base::Digest package;        // of `running`
  char boot[kBootIdBytes];
  char models[kMaxModels][kModelIdBytes];
  char silent[kPartBytes];    // part that does not answer; empty: all do
  volatile uint32_t turn_ms;  // of CLOCK_BOOTTIME, wrapping: read in a signal handler, so one word
};

namespace {

constexpr char kMagic[8] = {'D', 'I', 'P', 'N', 'O', 'T', 'E', '2'};

uint32_t Milliseconds(int64_t ns) { return static_cast<uint32_t>(ns / base::kMillisecondNs); }

// The handler can reach nothing but globals.
struct Marks {
  volatile uint32_t* crashed = nullptr;
  volatile uint32_t* watchdog = nullptr;
  volatile uint32_t* running = nullptr;
  volatile uint32_t* turn_ms = nullptr;
  const char* silent = nullptr;
  void* page = nullptr;
  size_t page_bytes = 0;
  uint32_t hung_ms = 0;
};
Marks g_marks;

// Async-signal-safe.
uint32_t NowMs() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return Milliseconds(now.tv_sec * base::kSecondNs + now.tv_nsec);
}

bool Hung() { return NowMs() - *g_marks.turn_ms > g_marks.hung_ms; }

extern "C" void OnFault(int signal, siginfo_t* about, void*) {
  if (g_marks.page != nullptr) {
    const bool from_outside = signal == SIGABRT && about->si_code <= 0 && about->si_pid != ::getpid();
    if (from_outside || signal == SIGALRM) {
      const bool hung = Hung();
      if (hung || g_marks.silent[0] != 0) *g_marks.watchdog = 1;
      // The loop turns, so whatever it was just doing is not to blame.
      if (!hung) *g_marks.running = 0;
    }
    *g_marks.crashed = static_cast<uint32_t>(signal);
    // The machine may be reset soon: the note must outlive that, too.
    if (signal == SIGALRM) ::msync(g_marks.page, g_marks.page_bytes, MS_SYNC);
  }
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

template <size_t N>
void PutText(const std::string& text, char (&to)[N]) {
  std::memset(to, 0, N);
  std::memcpy(to, text.data(), std::min(text.size(), N));
}

template <size_t N>
std::string TextOf(const char (&from)[N]) {
  return std::string(from, ::strnlen(from, N));
}

}  // namespace

RunNote::~RunNote() {
  if (page_ == nullptr) return;
  g_marks = {};
  ::munmap(page_, sizeof(Page));
}

base::Status RunNote::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return base::Status::kUnavailable;
  void* memory = MAP_FAILED;
  if (::ftruncate(fd, sizeof(Page)) == 0) {
    memory = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  ::close(fd);
  if (memory == MAP_FAILED) return base::Status::kUnavailable;
  page_ = static_cast<Page*>(memory);
  if (std::memcmp(page_->magic, kMagic, sizeof kMagic) != 0) {
    std::memset(static_cast<void*>(page_), 0, sizeof(Page));
    std::memcpy(page_->magic, kMagic, sizeof kMagic);
  }
  return base::Status::kOk;
}

LastEnd RunNote::PreviousEnd(const std::string& boot) const {
  LastEnd end;
  if (page_ == nullptr || page_->boot[0] == 0) return end;
  if (page_->crashed != 0) {
    end.kind = page_->watchdog != 0 ? LastEnd::kWatchdog : LastEnd::kCrashed;
    if (page_->watchdog != 0) end.silent = TextOf(page_->silent);
    end.signal = static_cast<int>(page_->crashed);
    end.in_model = page_->running >= 1 && page_->running <= kMaxModels;
    if (end.in_model) {
      end.model = TextOf(page_->models[page_->running - 1]);
      end.package = page_->package;
    }
  } else if (page_->alive == 0) {
    end.kind = LastEnd::kPlanned;
  } else {
    end.kind = TextOf(page_->boot) == boot ? LastEnd::kKilled : LastEnd::kMachine;
  }
  return end;
}

void RunNote::Begin(const std::string& boot, const std::vector<std::string>& models) {
  if (page_ == nullptr) return;
  page_->crashed = 0;
  page_->watchdog = 0;
  page_->running = 0;
  page_->package = {};
  PutText({}, page_->silent);
  page_->turn_ms = NowMs();
  PutText(boot, page_->boot);
  for (size_t i = 0; i < kMaxModels; ++i) PutText(i < models.size() ? models[i] : "", page_->models[i]);
  page_->alive = 1;
  // The kernel would write it within half a minute; a machine that is reset before would seem to have stopped
  // as planned. Here and at the end only: what lies between needs to outlive this process alone.
  (void)::msync(page_, sizeof(Page), MS_SYNC);
  begun_ = true;
}

void RunNote::End() {
  if (!begun_) return;
  page_->alive = 0;
  (void)::msync(page_, sizeof(Page), MS_SYNC);
}

void RunNote::Enter(uint32_t model, const base::Digest& package) {
  if (!begun_) return;
  page_->running = 0;
  page_->package = package;
  page_->running = model + 1;
}

void RunNote::Leave() {
  if (begun_) page_->running = 0;
}

void RunNote::Turn(int64_t now_ns) {
  if (begun_) page_->turn_ms = Milliseconds(now_ns);
}

void RunNote::Silent(std::string_view part) {
  if (begun_) PutText(std::string(part.substr(0, kPartBytes - 1)), page_->silent);
}

void RunNote::InstallCrashHandler(int64_t hung_ns) {
  if (page_ == nullptr) return;
  g_marks = {.crashed = &page_->crashed,
             .watchdog = &page_->watchdog,
             .running = &page_->running,
             .turn_ms = &page_->turn_ms,
             .silent = page_->silent,
             .page = page_,
             .page_bytes = sizeof(Page),
             .hung_ms = Milliseconds(hung_ns)};
  struct sigaction action {};
  action.sa_sigaction = OnFault;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM}) {
    ::sigaction(signal, &action, nullptr);
  }
}

}  // namespace dipper::app
