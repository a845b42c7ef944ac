// A wall clock that a test can set: preloaded, it answers for CLOCK_REALTIME from a file of two int64, the
// offset from the real clock in nanoseconds and whether clock_settime is permitted. Whoever sets the clock
// sets that offset. The kernel's clock discipline counts as not synchronized.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t* Page(void) {
  static volatile int64_t* page = NULL;
  if (page == NULL) {
    const char* path = getenv("DIPPER_TEST_WALL_FILE");
    const int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void* memory = fd < 0 ? MAP_FAILED : mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (memory == MAP_FAILED) abort();
    page = memory;
  }
  return page;
}

static int64_t Real(void) {
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int clock_gettime(clockid_t id, struct timespec* to) {
  if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, id, to);
  const int64_t now = Real() + Page()[0];
  to->tv_sec = now / 1000000000;
  to->tv_nsec = now % 1000000000;
  return 0;
}

int clock_settime(clockid_t id, const struct timespec* from) {
  if (id != CLOCK_REALTIME || Page()[1] == 0) {
    errno = EPERM;
    return -1;
  }
  Page()[0] = (int64_t)from->tv_sec * 1000000000 + from->tv_nsec - Real();
  return 0;
}

time_t time(time_t* to) {
  const time_t now = (Real() + Page()[0]) / 1000000000;
  if (to != NULL) *to = now;
  return now;
}

int gettimeofday(struct timeval* restrict to, void* restrict zone) {
  (void)zone;
  const int64_t now = Real() + Page()[0];
  to->tv_sec = now / 1000000000;
  to->tv_usec = now % 1000000000 / 1000;
  return 0;
}

int adjtimex(struct timex* state) {
  state->status = STA_UNSYNC;
  return TIME_ERROR;
}
