// Implementation of snapshot_arrival.h.
#include "tools/cli/snapshot_arrival.h"

#include <algorithm>

#include "agent/base/sha256.h"
#include "agent/runtime/recording/snapshot.h"
#include "agent/telemetry/encoders.h"

namespace dipper::cli {

void SnapshotArrival::OnMessage(const telemetry::TransportEvent& event) {
  const std::string_view topic = event.topic;
  if (topic.ends_with("/rsp")) {
    OnAnswer(event.payload);
    return;
  }
  const size_t block_at = topic.rfind('/');
  if (block_at == std::string_view::npos || block_at == 0) return;
  const size_t digest_at = topic.rfind('/', block_at - 1);
  if (digest_at == std::string_view::npos) return;
  const auto digest = base::DigestFromHex(topic.substr(digest_at + 1, block_at - digest_at - 1));
  const auto block = runtime::DecodeSnapshotBlock(event.payload);
  if (!digest.ok() || !block.ok()) return;
  File* file = FileOf(*digest, block->total_bytes);
  file->newest = ++arrived_;
  file->blocks[block->index].assign(block->bytes.begin(), block->bytes.end());
}

/// Of another fetch, or of one that was cut off before: ours begins after the answer.
SnapshotArrival::File* SnapshotArrival::FileOf(const base::Digest& digest, uint64_t total) {
  const std::string name(base::ToHex(digest).view());
  const auto found = files_.find(name);
  if (found != files_.end()) {
    // Two lengths under one digest: at least one of them is not true, and blocks of both never fit together.
    if (found->second.total != total) found->second = {.digest = digest, .total = total, .blocks = {}};
    return &found->second;
  }
  if (files_.size() == kMaxFiles) {
    files_.erase(std::ranges::min_element(files_, {}, [](const auto& entry) { return entry.second.newest; }));
  }
  return &(files_[name] = {.digest = digest, .total = total, .blocks = {}});
}

std::vector<uint8_t> SnapshotArrival::Whole(std::string* digest) const {
  for (const auto& [name, file] : files_) {
    const uint64_t count = (file.total + runtime::kSnapshotBlockBytes - 1) / runtime::kSnapshotBlockBytes;
    if (file.blocks.size() != count) continue;
    std::vector<uint8_t> bytes;
    for (const auto& [index, part] : file.blocks) bytes.insert(bytes.end(), part.begin(), part.end());
    if (bytes.size() != file.total || base::Sha256Of(bytes) != file.digest) continue;
    *digest = name;
    return bytes;
  }
  return {};
}

void SnapshotArrival::OnAnswer(base::ByteView payload) {
  const auto decoded = telemetry::Decode<schema::CommandResponse>(payload);
  if (!decoded.ok() || decoded.value()->number() != number_) return;
  answered_ = true;
  if (decoded.value()->status() == schema::CommandStatus::Done) return;
  refusal_ = telemetry::WordOf(decoded.value()->reason()).view();
}

}  // namespace dipper::cli
