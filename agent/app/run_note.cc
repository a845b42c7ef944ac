// A shared file mapping of one page and a handler that writes one word of it.
#include "agent/app/run_note.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "agent/app/config.h"

namespace dipper::app {
namespace {

constexpr size_t kBootIdBytes = 64;
constexpr size_t kModelIdBytes = 64;

}  // namespace

struct RunNote::Page {
  char magic[8];
  volatile uint32_t crashed;  // the signal; 0: none
  volatile uint32_t running;  // number + 1 of the model whose code runs; 0: none's
  volatile uint32_t alive;    // from Begin to End
  uint32_t unused;
  base::Digest package;  // of `running`
  char boot[kBootIdBytes];
  char models[kMaxModels][kModelIdBytes];
};

namespace {

constexpr char kMagic[8] = {'D', 'I', 'P', 'N', 'O', 'T', 'E', '2'};

// The handler can reach nothing but globals.
volatile uint32_t* g_crashed = nullptr;

extern "C" void OnFault(int signal) {
  if (g_crashed != nullptr) *g_crashed = static_cast<uint32_t>(signal);
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
  g_crashed = nullptr;
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
    end.kind = LastEnd::kCrashed;
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
  page_->running = 0;
  page_->package = {};
  PutText(boot, page_->boot);
  for (size_t i = 0; i < kMaxModels; ++i) PutText(i < models.size() ? models[i] : "", page_->models[i]);
  page_->alive = 1;
  begun_ = true;
}

void RunNote::End() {
  if (begun_) page_->alive = 0;
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

void RunNote::InstallCrashHandler() {
  if (page_ == nullptr) return;
  g_crashed = &page_->crashed;
  struct sigaction action {};
  action.sa_handler = OnFault;
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) ::sigaction(signal, &action, nullptr);
}

}  // namespace dipper::app
