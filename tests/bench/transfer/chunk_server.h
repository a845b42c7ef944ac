// ChunkServer: the way that Dipper does not take, for comparison: one client on the broker that answers every
// question for a chunk. Its own thread and loop.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/link/mqtt_session.h"

namespace dipper::bench {

class ChunkServer {
 public:
  /// `chunks` must outlive this.
  ChunkServer(link::MqttConfig mqtt, const std::vector<base::ByteView>& chunks);
  ~ChunkServer();
  ChunkServer(const ChunkServer&) = delete;
  ChunkServer& operator=(const ChunkServer&) = delete;

  bool ready() const { return ready_; }
  uint64_t answered() const { return answered_; }

 private:
  void Run(link::MqttConfig mqtt);

  const std::vector<base::ByteView>& chunks_;
  std::atomic<bool> stop_{false}, ready_{false};
  std::atomic<uint64_t> answered_{0};
  std::thread thread_;
};

}  // namespace dipper::bench
