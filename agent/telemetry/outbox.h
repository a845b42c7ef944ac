// Outbox: bounded store-and-forward. Metrics and events go out live while there is a connection, to the
// backlog while there is none; the backlog follows after live data, capped in bytes a second, and an entry is
// deleted only on PUBACK. Nothing else is kept: states are retained and sent anew on every connect. Not
// thread-safe. No heap after construction.
//
// Every message carries a sequence of this session from 1 without gaps, so that a reader can prove that
// nothing was lost: what it misses of 1..n is in what `dropped` or `refused` count. A message may arrive
// twice, never changed; one whose acknowledgement went with a connection is counted when its copy is dropped,
// though it may have arrived.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/fixed.h"
#include "agent/telemetry/byte_budget.h"
#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"
#include "agent/telemetry/transport.h"

namespace dipper::telemetry {

/// Where messages wait; the runtime gives store::Backlog.
class BacklogRing {
 public:
  /// Adds at the end, dropping the oldest when full (counted in dropped_total). kInvalidArgument: longer than
  /// an entry may be. kUnavailable: not stored.
  virtual base::Status Append(base::ByteView entry) = 0;
  /// Copies the oldest entry with a position >= `from`; returns its position and the filled part of `buffer`.
  /// Positions count up by one. kNotFound: none. kResourceExhausted: buffer too small for the entry at
  /// `from`.
  struct Entry {
    uint64_t position = 0;
    base::ByteView bytes;
  };
  virtual base::Result<Entry> Peek(uint64_t from, base::MutableBytes buffer) = 0;
  /// Forgets every entry up to and including `position`.
  virtual base::Status Drop(uint64_t position) = 0;
  virtual uint64_t oldest_position() = 0;
  virtual uint64_t entries() = 0;
  virtual uint64_t dropped_total() = 0;

 protected:
  ~BacklogRing() = default;
};

inline constexpr size_t kOutboxWindow = 8;         ///< Live messages waiting for PUBACK, each kept as a copy.
inline constexpr size_t kOutboxBacklogWindow = 4;  ///< Backlog entries waiting for PUBACK.
inline constexpr size_t kOutboxMessageBytes = 8 * 1024;  ///< Largest message that is stored.

struct OutboxConfig {
  uint64_t backlog_bytes_per_s = 16 * 1024;  ///< Topics and payloads, the mirror's among them.
  bool json_mirror = false;
  uint64_t max_bytes_per_day = 0;  ///< 0: no limit.
};

struct OutboxCounters {
  uint64_t sequence = 0;      ///< Last one given out.
  uint64_t live = 0;          ///< Acknowledged live.
  uint64_t stored = 0;        ///< Went to the backlog.
  uint64_t backlog_sent = 0;  ///< Acknowledged from the backlog.
  uint64_t refused = 0;       ///< Refused by the broker (access list, quota): lost.
  uint64_t dropped = 0;       ///< Lost by a full or failing backlog, this session.
  uint64_t capped = 0;  ///< Measurements not made into messages, for the day's bytes: no sequence is missing.
  uint64_t backlog_entries = 0;
  int64_t oldest_time_ns = 0;  ///< Envelope time of the oldest entry; 0: empty or not known yet.
};

class Outbox {
 public:
  /// Entries that an earlier session left in `ring` are sent like our own.
  Outbox(const OutboxConfig& config, const DeviceTopics& topics, Transport& transport, BacklogRing& ring);
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  /// The sequence to put in the next metrics batch or event. Every one taken must be sent by Send.
  uint64_t NextSequence() { return ++counters_.sequence; }

  /// Sends an encoded metrics batch or event, live or to the backlog: there too, when the day's bytes are
  /// spent and it is not of an update. kInvalidArgument: another kind of message, or longer than
  /// kOutboxMessageBytes: counted as dropped. kUnavailable: it could not be stored either: counted as
  /// dropped.
  /// @param live  Set: whether it went out live, where readers of the topic see it.
  base::Status Send(base::ByteView message, bool* live = nullptr);
  bool connected() { return transport_.connected(); }

  /// Sends an encoded state-like message (birth, update; retained) or answer (prediction, response) now or
  /// never. kUnavailable, kResourceExhausted: as Transport::Publish; the caller sends its newest state after
  /// the next event.
  base::Status SendNow(base::ByteView message, Qos qos, bool retain);

  /// Any other text, retained. Errors as SendNow.
  base::Status SendRetained(const Topic& topic, std::string_view text) {
    return Publish(topic, base::AsBytes(text), Qos::kAtLeastOnce, true, nullptr);
  }

  /// A block of a file, not retained and without a mirror; `*token` comes back in kPublished. Whether the
  /// day's bytes allow it is budget().MayCatchUp(). kInvalidArgument: larger than the wire takes; other
  /// errors as SendNow.
  base::Status SendBlock(const Topic& topic, base::ByteView block, uint32_t* token) {
    return Publish(topic, block, Qos::kAtLeastOnce, false, token);
  }

  /// `state` as JSON, retained. Errors as SendNow.
  base::Status SendState(std::string_view json);

  /// Whether a measurement may be made into a message now; if not, it is counted as left out.
  bool MayMeasure() {
    const bool may = budget_.MayMeasure();
    counters_.capped += may ? 0 : 1;
    return may;
  }
  ByteBudget& budget() { return budget_; }
  const ByteBudget& budget() const { return budget_; }

  /// Give every kConnected, kDisconnected and kPublished of the transport; others are ignored.
  void OnEvent(const TransportEvent& event);

  /// Sends what the rate allows of the backlog. Call at least every 100 ms; `now_ns` is monotonic.
  void Poll(int64_t now_ns);

  /// Stores every live message that is not acknowledged yet: before a planned stop.
  void FlushToBacklog();

  OutboxCounters counters() const;

 private:
  struct Slot {
    bool used = false;
    uint32_t token = 0;
    uint32_t length = 0;
    uint64_t order = 0;
    alignas(16) std::array<uint8_t, kOutboxMessageBytes> bytes;
  };
  struct BacklogSlot {
    bool acknowledged = false;
    uint32_t token = 0;
    uint64_t position = 0;
  };
  base::Status Store(base::ByteView message);
  void StoreLive();
  bool SendOldest();
  bool Queue(uint64_t position, uint32_t token, bool acknowledged);
  void OnPublished(uint32_t token, int reason);
  void DropAcknowledged();
  base::Status Publish(const Topic& topic, base::ByteView payload, Qos qos, bool retain, uint32_t* token);
  uint64_t Mirror(base::ByteView message, TopicKind kind, std::string_view model);
  void UpdateOldest(int64_t now_ns);

  OutboxConfig config_;
  DeviceTopics topics_;
  Transport& transport_;
  BacklogRing& ring_;
  OutboxCounters counters_;
  ByteBudget budget_;
  uint64_t ring_dropped_before_;
  uint64_t order_ = 0;
  std::array<Slot, kOutboxWindow> slots_;
  base::FixedVector<BacklogSlot, kOutboxBacklogWindow> in_flight_;  ///< In order of position.
  uint64_t next_position_ = 0;
  double allowance_bytes_ = 0;
  int64_t last_poll_ns_ = -1;
  int64_t oldest_checked_ns_ = 0;
  alignas(16) std::array<uint8_t, kOutboxMessageBytes> entry_;
  std::array<uint8_t, kJsonBufferBytes> json_;
};

}  // namespace dipper::telemetry
