// Implementation of chunk_server.h.
#include "tests/bench/transfer/chunk_server.h"

#include <deque>
#include <utility>

#include "tests/bench/transfer/load_device.h"
#include "tools/epoll_mqtt/session.h"

namespace dipper::bench {
namespace {

using telemetry::Qos;
using telemetry::TransportEvent;
using Kind = TransportEvent::Kind;

struct Question {
  std::string device;
  uint32_t index = 0;
};

constexpr uint32_t kServerWindow = 1000;

}  // namespace

ChunkServer::ChunkServer(link::MqttConfig mqtt, const std::vector<base::ByteView>& chunks)
    : chunks_(chunks), thread_([this, mqtt = std::move(mqtt)] { Run(mqtt); }) {}

ChunkServer::~ChunkServer() {
  stop_ = true;
  thread_.join();
}

void ChunkServer::Run(link::MqttConfig mqtt) {
  mqtt.max_in_flight = kServerWindow;
  epoll_mqtt::Loop loop;
  epoll_mqtt::Session session(loop, mqtt);
  std::deque<Question> questions;
  while (!stop_) {
    loop.Turn(10);
    loop.TakeReady();
    TransportEvent event;
    while (session.Poll(&event) == base::Status::kOk) {
      if (event.kind == Kind::kConnected) (void)session.Subscribe(kAskFilter, Qos::kAtLeastOnce);
      if (event.kind == Kind::kSubscribed) ready_ = true;
      if (event.kind != Kind::kMessage || event.payload.size() != kChunkIndexBytes) continue;
      const uint32_t index = base::Load<uint32_t>(event.payload.data());
      const size_t begin = event.topic.find('/') + 1;
      const std::string_view device = event.topic.substr(begin, event.topic.rfind('/') - begin);
      if (index < chunks_.size()) questions.push_back({std::string(device), index});
    }
    while (!questions.empty()) {
      const Question& next = questions.front();
      const std::string topic = "dipper-load/" + next.device + "/chunk/" + std::to_string(next.index);
      if (session.Publish(topic, chunks_[next.index], Qos::kAtLeastOnce, false, nullptr) != base::Status::kOk)
        break;
      ++answered_;
      questions.pop_front();
    }
  }
}

}  // namespace dipper::bench
