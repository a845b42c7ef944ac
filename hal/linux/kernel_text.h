// Small text files of the kernel (/proc, /sys) and the numbers in them, without heap. Used by this folder
// only. Thread-safe: pure functions over caller memory.
#pragma once

#include <cstdint>
#include <string_view>

namespace dipper::hal {

/// Joined path of at most 511 bytes, zero-terminated; too long a path is empty and simply does not open.
struct Path {
  char text[512];
  Path(std::string_view a, std::string_view b, std::string_view c = {});
};

/// The file's first `capacity` bytes; empty when it cannot be read.
std::string_view ReadSmallFile(const Path& path, char* buffer, size_t capacity);

/// The blank-separated word number `index` of the first line of `text`; empty: there is none.
std::string_view Word(std::string_view text, size_t index);

/// Takes the first line off `*text`. False: nothing is left.
bool NextLine(std::string_view* text, std::string_view* line);

/// The value in kB behind `key` in /proc/meminfo or /proc/self/status, in bytes; 0: not there.
uint64_t KiloBytes(std::string_view text, std::string_view key);

/// The number at the start of `word`; 0 or not-a-number when it is none.
uint64_t UintOr0(std::string_view word);
double DoubleOrNan(std::string_view word);

/// Ticks since boot on the `cpu` line of /proc/stat: all, busy, and waiting for I/O (which may go back).
struct CpuTicks {
  uint64_t total = 0, busy = 0, wait = 0;
};
CpuTicks ParseCpuTicks(std::string_view line);

/// Of the thermal zones 0 to 63 below `root` that can be read, up to a gap of eight numbers; not-a-number:
/// there is none. Cost: three or four calls of the kernel a zone.
double HottestCelsius(std::string_view root);

}  // namespace dipper::hal
