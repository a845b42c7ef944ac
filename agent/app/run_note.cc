// A 64-byte shared file mapping and a handler that sets one flag in it.
#include "agent/app/run_note.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

namespace dipper::app {

struct RunNote::Page {
  char magic[8];
  volatile uint32_t crashed;
  volatile uint32_t running;  // 1: `package` is the model whose code runs
  base::Digest package;
};

namespace {

constexpr char kMagic[8] = {'D', 'I', 'P', 'N', 'O', 'T', 'E', '1'};

// The handler can reach nothing but globals.
volatile uint32_t* g_crashed = nullptr;

extern "C" void OnFault(int signal) {
  if (g_crashed != nullptr) *g_crashed = 1;
  ::signal(signal, SIG_DFL);
  ::raise(signal);
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
    Clear();
    std::memcpy(page_->magic, kMagic, sizeof kMagic);
  }
  return base::Status::kOk;
}

bool RunNote::PreviousCrash(base::Digest* digest) const {
  if (page_ == nullptr || page_->crashed == 0 || page_->running == 0) return false;
  *digest = page_->package;
  return true;
}

void RunNote::Clear() {
  if (page_ == nullptr) return;
  page_->crashed = 0;
  page_->running = 0;
  page_->package = {};
}

void RunNote::Enter(const base::Digest& package) {
  if (page_ == nullptr) return;
  page_->running = 0;
  page_->package = package;
  page_->running = 1;
}

void RunNote::Leave() {
  if (page_ != nullptr) page_->running = 0;
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
