// ReadWhole: a small file that the configuration names, at once. Thread-safe: pure function.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace dipper::app {

/// False: it cannot be read, or has more than `max_bytes`; no more than one byte beyond is read.
inline bool ReadWhole(const std::string& path, uint64_t max_bytes, std::vector<uint8_t>* bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  bytes->resize(max_bytes + 1);
  file.read(reinterpret_cast<char*>(bytes->data()), static_cast<std::streamsize>(bytes->size()));
  bytes->resize(static_cast<size_t>(file.gcount()));
  return bytes->size() <= max_bytes;
}

}  // namespace dipper::app
