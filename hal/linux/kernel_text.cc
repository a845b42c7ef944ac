// Implementation of kernel_text.h.
#include "hal/linux/kernel_text.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "agent/base/number.h"

namespace dipper::hal {

Path::Path(std::string_view a, std::string_view b, std::string_view c) {
  size_t used = 0;
  for (const std::string_view part : {a, b, c}) {
    if (used + part.size() >= sizeof text) {
      text[0] = '\0';
      return;
    }
    if (!part.empty()) std::memcpy(text + used, part.data(), part.size());
    used += part.size();
  }
  text[used] = '\0';
}

std::string_view ReadSmallFile(const Path& path, char* buffer, size_t capacity) {
  const int fd = ::open(path.text, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  size_t length = 0;
  while (length < capacity) {
    const ssize_t got = ::read(fd, buffer + length, capacity - length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    length += static_cast<size_t>(got);
  }
  ::close(fd);
  return {buffer, length};
}

std::string_view Word(std::string_view text, size_t index) {
  size_t position = 0;
  for (;;) {
    while (position < text.size() && (text[position] == ' ' || text[position] == '\t')) ++position;
    size_t end = position;
    while (end < text.size() && text[end] != ' ' && text[end] != '\t' && text[end] != '\n') ++end;
    if (index-- == 0) return text.substr(position, end - position);
    if (end >= text.size() || text[end] == '\n') return {};
    position = end;
  }
}

bool NextLine(std::string_view* text, std::string_view* line) {
  if (text->empty()) return false;
  const size_t end = text->find('\n');
  *line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return true;
}

uint64_t KiloBytes(std::string_view text, std::string_view key) {
  const size_t at = text.find(key);
  if (at == std::string_view::npos) return 0;
  const auto value = base::ParseUint(Word(text.substr(at + key.size()), 0));
  return value.ok() ? *value * 1024 : 0;
}

uint64_t UintOr0(std::string_view word) {
  const auto value = base::ParseUint(word);
  return value.ok() ? *value : 0;
}

double DoubleOrNan(std::string_view word) {
  const auto value = base::ParseDouble(word);
  return value.ok() ? *value : std::nan("");
}

CpuTicks ParseCpuTicks(std::string_view line) {
  CpuTicks ticks;
  // user nice system idle iowait irq softirq steal
  for (size_t i = 1; i <= 8; ++i) ticks.total += UintOr0(Word(line, i));
  ticks.wait = UintOr0(Word(line, 5));
  ticks.busy = ticks.total - UintOr0(Word(line, 4)) - ticks.wait;
  return ticks;
}

double HottestCelsius(std::string_view root) {
  constexpr int kMostZones = 64;
  constexpr int kMostMissing = 8;  // in a row: numbers of zones that went away stay free
  double hottest = std::nan("");
  int missing = 0;
  for (int zone = 0; zone < kMostZones && missing < kMostMissing; ++zone) {
    char name[48];
    std::snprintf(name, sizeof name, "/sys/class/thermal/thermal_zone%d", zone);
    if (::access(Path(root, name).text, F_OK) != 0) {
      ++missing;
      continue;
    }
    missing = 0;
    char buffer[64];
    const std::string_view text = ReadSmallFile(Path(root, name, "/temp"), buffer, sizeof buffer);
    // A sensor that is asleep or broken does not hide the others.
    const double celsius = DoubleOrNan(Word(text, 0)) / 1000;
    if (celsius > hottest || std::isnan(hottest)) hottest = celsius;
  }
  return hottest;
}

}  // namespace dipper::hal
