// SnapshotArrival: puts a snapshot or recording together from what a device publishes: the answer to the
// command, and blocks in any order, some of them twice, some of other fetches or made by somebody else.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/telemetry/transport.h"

namespace dipper::cli {

class SnapshotArrival {
 public:
  /// Files at a time; what is cut off stays until it is pushed out. Who may publish here could otherwise fill
  /// the memory with files that do not end.
  static constexpr size_t kMaxFiles = 4;

  /// The answer to command `number` is waited for from now on; blocks that came stay.
  void Ask(uint64_t number) {
    number_ = number;
    answered_ = false;
    refusal_.clear();
  }
  void OnMessage(const telemetry::TransportEvent& event);
  bool refused() const { return answered_ && !refusal_.empty(); }
  const std::string& refusal() const { return refusal_; }  ///< The reason's name.
  bool answered() const { return answered_; }
  uint64_t arrived() const { return arrived_; }  ///< Blocks.

  /// The first file that is whole: every byte there, and its SHA-256 the one in its topic. Empty: none yet.
  std::vector<uint8_t> Whole(std::string* digest) const;

 private:
  struct File {
    base::Digest digest;
    uint64_t total = 0;
    uint64_t newest = 0;  ///< When its last block came, counted in blocks.
    std::map<uint32_t, std::vector<uint8_t>> blocks;
  };
  void OnAnswer(base::ByteView payload);
  File* FileOf(const base::Digest& digest, uint64_t total);

  uint64_t number_ = 0;
  bool answered_ = false;
  std::string refusal_;
  uint64_t arrived_ = 0;
  std::map<std::string, File> files_;
};

}  // namespace dipper::cli
