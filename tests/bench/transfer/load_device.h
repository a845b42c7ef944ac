// LoadDevice: what of an agent a transfer needs, ten thousand times in one process: the real update::Transfer
// over the real store on pooled partitions, and an epoll session. Blocks come as retained groups, or chunk by
// chunk from a server that is asked. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/telemetry/topics.h"
#include "agent/update/slot_source.h"
#include "agent/update/transfer.h"
#include "tests/bench/transfer/pooled_partition.h"
#include "tools/epoll_mqtt/session.h"

namespace dipper::bench {

/// How blocks come to devices.
enum class Way : uint8_t {
  kRetained,  ///< Groups of retained messages: what Dipper does.
  kChunks,    ///< Each is asked for by a topic, and one server answers.
};

inline constexpr std::string_view kFleet = "load";
inline constexpr uint32_t kChunkIndexBytes = 4;
/// Questions `dipper-load/<device>/ask`, index u32; answers `dipper-load/<device>/chunk/<index>`.
inline constexpr std::string_view kAskFilter = "dipper-load/+/ask";

/// What all devices of a run share: nothing that a device verifies.
struct LoadShared {
  epoll_mqtt::Loop* loop = nullptr;
  PagePool* pool = nullptr;
  package::TrustRoot root;
  package::OfferFacts offer;
  uint64_t slot_bytes = 0;
  uint64_t image_bytes = 0;
  Way way = Way::kRetained;
  uint32_t ask_window = 64;  ///< kChunks: questions without an answer at once.
  base::MutableBytes verify_memory;
  bool released = false;  ///< Blocks may be asked for.
  int64_t start_ns = 0;   ///< Of the blocks: the clock of all transfers.
};

class LoadDevice final : public update::BlockTransport {
 public:
  LoadDevice(LoadShared& shared, const link::MqttConfig& mqtt, const std::string& source);
  ~LoadDevice();
  LoadDevice(const LoadDevice&) = delete;
  LoadDevice& operator=(const LoadDevice&) = delete;

  /// Handles everything that its session has.
  void OnReady();
  /// Asks for the head.
  void Begin();
  /// From its place in the window on, blocks are asked for.
  void Release(int64_t now_ns);
  void Poll(int64_t now_ns);

  bool connected() { return session_.connected(); }
  bool has_head() const { return transfer_.manifest() != nullptr; }
  bool ended() const { return result_.kind != update::TransferResult::kGoingOn; }
  bool complete() const { return result_.kind == update::TransferResult::kComplete; }
  schema::Reason reason() const { return result_.reason; }
  int64_t ended_ns() const { return ended_ns_; }
  int64_t first_block_ns() const { return first_block_ns_; }  ///< 0: none came.
  const update::TransferCounts& counts() const { return transfer_.counts(); }
  telemetry::TransportStats stats() { return session_.stats(); }

  void WantManifest(const base::Digest& package) override;
  void WantGroup(const base::Digest& package, uint32_t group) override;
  void WantBlock(const base::Digest& package, uint32_t index) override;
  void Done(const base::Digest& package) override;
  bool HasTurn() const override { return unanswered_ == 0; }

 private:
  struct HeadMemory {  ///< Pages that are never touched cost nothing.
    HeadMemory();
    ~HeadMemory();
    base::MutableBytes bytes;
  };
  void OnMessage(const telemetry::TransportEvent& event);
  void Take(const update::TransferResult& result);
  void Want(const telemetry::Topic& filter);
  void Subscribe();
  void Ask();
  int64_t Now() const;

  LoadShared& shared_;
  std::string id_, ask_topic_, chunk_filter_;
  HeadMemory head_;
  PooledPartition boot_, slot_a_, slot_b_;
  update::PackageVerifier verifier_;
  store::ModelStore store_;
  store::Counters counters_;
  update::Transfer transfer_;
  epoll_mqtt::Session session_;
  telemetry::Topic wanted_;
  uint32_t unanswered_ = 0;       // subscriptions and their ends
  std::vector<uint32_t> to_ask_;  // last first
  std::vector<bool> got_;
  uint32_t asked_ = 0;
  bool released_ = false;
  int64_t released_ns_ = 0;
  update::TransferResult result_;
  int64_t ended_ns_ = 0, first_block_ns_ = 0;
};

}  // namespace dipper::bench
