// SelfCheck: reads the memory that must never change a little at a time and compares it with what it was when
// it was first read: the program's own code and constants. A flipped bit there makes everything the agent
// says worthless, and nothing else would notice. What changes by design (learned images, queues) cannot be
// checked so; images are checked when they are loaded and saved. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "agent/base/bytes.h"

namespace dipper::app {

class SelfCheck {
 public:
  /// Bytes read in one step: some 20 microseconds.
  static constexpr size_t kStepBytes = 16 * 1024;

  /// To be checked from now on; it outlives this and nobody writes to it.
  /// @param give_back  The pages come back from a file: they are dropped after each look, so that looking
  /// costs
  ///                   no resident memory.
  void Watch(std::string name, base::ByteView bytes, bool give_back);
  /// Read-only segments of the program itself. Libraries are left out: dozens of megabytes for little.
  void WatchProgram();

  /// Reads the next piece. True: as it was, or read for the first time.
  bool Step();
  /// Where a piece has changed; empty: nowhere.
  const std::string& trouble() const { return trouble_; }
  uint64_t watched_bytes() const;
  /// How often everything was read.
  uint64_t passes() const { return passes_; }

 private:
  struct Region {
    std::string name;
    base::ByteView bytes;
    bool give_back;
    std::vector<uint32_t> sums;  ///< CRC-32C of each piece, as first read.
  };
  std::vector<Region> regions_;
  size_t region_ = 0;
  size_t piece_ = 0;
  uint64_t passes_ = 0;
  std::string trouble_;
};

}  // namespace dipper::app
