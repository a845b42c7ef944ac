// Transport: the thin wire to a broker, as link implements it and the runtime uses it. One thread calls it;
// nothing here blocks, and nothing is kept while there is no connection: what must survive that is the
// outbox's.
#pragma once

#include <cstdint>
#include <string_view>

#include "agent/base/bytes.h"
#include "agent/base/status.h"

namespace dipper::telemetry {

enum class Qos : uint8_t { kAtMostOnce = 0, kAtLeastOnce = 1 };

/// What happened on the wire, in order.
struct TransportEvent {
  enum class Kind : uint8_t {
    kNone = 0,
    kConnected,     ///< Subscribe again now, whatever `session_present` says: filters may have changed.
    kDisconnected,  ///< Every publication not yet reported by kPublished is void and never reported.
    kMessage,
    kPublished,   ///< `token`; QoS 1: acknowledged by the broker, QoS 0: written. `reason` 0, else it was
                  ///< refused.
    kSubscribed,  ///< `topic` is the filter; `reason` 0, else it was refused.
  };
  Kind kind = Kind::kNone;
  bool session_present = false;  ///< kConnected: the broker kept our subscriptions and what came meanwhile.
  bool retained = false;         ///< kMessage: stored by the broker before we subscribed.
  bool acknowledged = false;     ///< kPublished: answered by the broker, not only written or lost.
  uint32_t token = 0;
  int reason = 0;           ///< 0: success; > 0: the broker's reason code; < 0: it never reached the broker.
  std::string_view topic;   ///< kMessage, kSubscribed. Hostile: parse with topics.h.
  base::ByteView payload;   ///< kMessage; aligned to 8 bytes, so that schemas can be verified in place.
  std::string_view detail;  ///< kDisconnected, refusals: English, for the log.

  /// It has come from the broker: the link was there.
  bool FromBroker() const {
    return kind == Kind::kConnected || kind == Kind::kMessage || (kind == Kind::kPublished && acknowledged) ||
           (kind == Kind::kSubscribed && reason >= 0);
  }
};

/// Since the session object was made. Bytes are of payloads and topics.
struct TransportStats {
  uint64_t connects = 0;  ///< Successful; reconnects = connects - 1.
  uint64_t failed_connects = 0;
  uint64_t sent_messages = 0;
  uint64_t sent_bytes = 0;
  uint64_t received_messages = 0;
  uint64_t received_bytes = 0;
  uint64_t received_dropped = 0;  ///< Did not fit the incoming queue.
  uint32_t in_flight = 0;
  uint32_t incoming_queued = 0;
};

class Transport {
 public:
  /// True from the moment Poll returned kConnected until it returns kDisconnected.
  virtual bool connected() = 0;

  /// Hands a message over; the bytes are copied. `*token` (may be null) comes back in kPublished.
  /// kUnavailable: not connected. kResourceExhausted: the in-flight window is full, try after the next
  /// kPublished. kInvalidArgument: empty topic, wildcards, or larger than the session's limit.
  virtual base::Status Publish(std::string_view topic, base::ByteView payload, Qos qos, bool retain,
                               uint32_t* token) = 0;

  /// Asks for a subscription of this connection; the answer is kSubscribed. Retained messages come again each
  /// time. kUnavailable: not connected. kResourceExhausted: too many requests waiting. kInvalidArgument: not
  /// a filter.
  virtual base::Status Subscribe(std::string_view filter, Qos qos) = 0;
  virtual base::Status Unsubscribe(std::string_view filter) = 0;

  /// Takes the next event. kNotFound: none now. Views stay valid until the next Poll. Never blocks.
  virtual base::Status Poll(TransportEvent* event) = 0;

  virtual TransportStats stats() = 0;

 protected:
  ~Transport() = default;
};

}  // namespace dipper::telemetry
