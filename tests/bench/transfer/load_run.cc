// Implementation of load_run.h.
#include "tests/bench/transfer/load_run.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>

#include "agent/learn/image/model.h"
#include "tests/bench/transfer/chunk_server.h"
#include "tests/integration/support/mosquitto.h"
#include "tests/unit/agent/package/fixture.h"

namespace dipper::bench {
namespace {

using telemetry::Qos;
using telemetry::TransportEvent;
using Kind = TransportEvent::Kind;

constexpr double kSecondNs = 1e9;
constexpr int64_t kPollNs = 500'000'000;
constexpr uint32_t kDevicesPerSource = 20'000;  // fewer than the ports of one address
constexpr double kConnectLimitS = 120, kHeadLimitS = 300;

double Since(int64_t begin_ns) {
  return static_cast<double>(epoll_mqtt::Loop::NowNs() - begin_ns) / kSecondNs;
}

/// A signed package whose every block is about `block_bytes` as sent: so many random bytes, then zeros.
package::Bytes MakePackage(const LoadPlan& plan) {
  package::Bytes image(uint64_t{package::kBlockBytes} * plan.blocks);
  std::mt19937 random(1);
  const uint32_t filled = std::min(plan.block_bytes, package::kBlockBytes);
  for (uint64_t block = 0; block < plan.blocks; ++block) {
    for (uint64_t i = 0; i < filled; ++i)
      image[block * package::kBlockBytes + i] = static_cast<uint8_t>(random());
  }
  schema::ManifestT manifest = package::test::TestManifest();
  manifest.numerics_version = learn::kNumericsVersion;
  manifest.layouts[0]->version = learn::kImageLayoutVersion;
  const auto built = package::BuildPackage(manifest, image);
  DIPPER_CHECK(built.ok());
  const auto signed_package = package::SignPackage(*built, package::test::TestKeys().release);
  DIPPER_CHECK(signed_package.ok());
  return *signed_package;
}

/// Peak resident memory and CPU seconds of a process.
struct Process {
  explicit Process(pid_t pid) : folder("/proc/" + std::to_string(pid)) {}
  double PeakMb() const {
    std::ifstream in(folder + "/status");
    for (std::string line; std::getline(in, line);) {
      if (line.rfind("VmHWM:", 0) == 0) return std::stod(line.substr(6)) / 1024;
    }
    return 0;
  }
  double CpuS() const {
    std::ifstream in(folder + "/stat");
    std::string text((std::istreambuf_iterator<char>(in)), {});
    std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
    std::string field;
    double ticks = 0;
    for (int i = 3; fields >> field && i <= 15; ++i) {
      if (i == 14 || i == 15) ticks += std::stod(field);
    }
    return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  std::string folder;
};

class LoadRun {
 public:
  explicit LoadRun(const LoadPlan& plan)
      : plan_(plan), package_(MakePackage(plan)), verify_(package::kWholeMemoryBytes) {
    package::Manifest manifest;
    package::test::AlignedBytes memory(package::kHeadMemoryBytes);
    DIPPER_CHECK(package::VerifyHead(package::test::Head(package_), package::test::TestRoot(), memory.bytes(),
                                     &manifest) == schema::Reason::None);
    for (uint32_t i = 0; i < manifest.block_count(); ++i) {
      const package::BlockInfo block = manifest.block(i);
      blocks_.push_back(base::ByteView(package_).subspan(block.package_offset, block.stored_bytes));
    }
    shared_.loop = &loop_;
    shared_.pool = &pool_;
    shared_.root = package::test::TestRoot();
    shared_.offer.package = manifest.package_digest();
    shared_.offer.package_bytes = package_.size();
    DIPPER_CHECK(base::Ok(shared_.offer.rollout.Assign("load")));
    shared_.offer.spread_seconds = plan.spread_s;
    shared_.slot_bytes = base::AlignUp(package_.size() + 512 * 1024, 64 * 1024);
    shared_.image_bytes = manifest.image_bytes();
    shared_.way = plan.way;
    shared_.ask_window = plan.ask_window;
    shared_.verify_memory = verify_.bytes();
    figures_.plan = plan;
    figures_.expected = uint64_t{plan.devices} * manifest.block_count();
  }

  std::optional<LoadFigures> Run() {
    if (!broker_.Start() || !Publish()) return {};
    std::optional<ChunkServer> server;
    if (plan_.way == Way::kChunks) {
      server.emplace(Mqtt("chunk-server"), blocks_);
      if (!Until(kConnectLimitS, [&] { return server->ready(); })) return {};
    }
    if (!Connect()) return {};
    Heads();
    Blocks();
    Count();
    if (server) figures_.answered = server->answered();
    return figures_;
  }

 private:
  link::MqttConfig Mqtt(const std::string& id) const {
    link::MqttConfig config;
    config.url = broker_.Url();
    config.client_id = id;
    config.version = plan_.version;
    config.persistent_session = false;
    config.keepalive_s = 300;  // a busy harness must not look like a dead device
    config.connect_timeout_s = 60;
    return config;
  }

  /// Turns the loop until `done` or the limit. False: the limit.
  bool Until(double limit_s, const std::function<bool()>& done) {
    const int64_t begin_ns = epoll_mqtt::Loop::NowNs();
    int64_t next_poll_ns = begin_ns + kPollNs;
    while (!done()) {
      if (Since(begin_ns) > limit_s) return false;
      loop_.Turn(20);
      while (epoll_mqtt::Session* session = loop_.TakeReady()) {
        if (session->owner != nullptr) static_cast<LoadDevice*>(session->owner)->OnReady();
      }
      const int64_t now_ns = epoll_mqtt::Loop::NowNs();
      if (now_ns < next_poll_ns) continue;
      next_poll_ns = now_ns + kPollNs;
      for (const auto& device : devices_) device->Poll(now_ns);
    }
    return true;
  }

  bool Publish() {
    epoll_mqtt::Session session(loop_, Mqtt("publisher"));
    uint32_t sent = 0, acknowledged = 0;
    const uint32_t all = static_cast<uint32_t>(blocks_.size()) + 1;
    const bool good = Until(kConnectLimitS, [&] {
      TransportEvent event;
      while (session.Poll(&event) == base::Status::kOk)
        acknowledged += event.kind == Kind::kPublished ? 1 : 0;
      while (session.connected() && sent < all) {
        const bool head = sent == blocks_.size();
        const telemetry::Topic topic = head ? telemetry::ManifestTopic(kFleet, shared_.offer.package)
                                            : telemetry::BlockTopic(kFleet, shared_.offer.package, sent);
        const base::ByteView bytes = head ? package::test::Head(package_) : blocks_[sent];
        if (session.Publish(topic.view(), bytes, Qos::kAtLeastOnce, true, nullptr) != base::Status::kOk)
          break;
        ++sent;
      }
      return acknowledged == all;
    });
    if (!good) std::fprintf(stderr, "the package could not be published: %s\n", session.last_error().c_str());
    return good;
  }

  bool Connect() {
    const int64_t begin_ns = epoll_mqtt::Loop::NowNs();
    for (uint32_t i = 0; i < plan_.devices; ++i) {
      const std::string source = "127.0.0." + std::to_string(1 + i / kDevicesPerSource);
      devices_.push_back(std::make_unique<LoadDevice>(shared_, Mqtt("load-" + std::to_string(i)), source));
    }
    size_t up = 0;
    const bool good = Until(kConnectLimitS, [&] {
      while (up < devices_.size() && devices_[up]->connected()) ++up;
      return up == devices_.size();
    });
    if (!good) std::fprintf(stderr, "only %zu or more of %u devices could connect\n", up, plan_.devices);
    figures_.connect_s = Since(begin_ns);
    return good;
  }

  /// Each device gets and verifies the head, its signature included.
  void Heads() {
    const int64_t begin_ns = epoll_mqtt::Loop::NowNs();
    for (const auto& device : devices_) device->Begin();
    size_t have = 0;
    Until(kHeadLimitS, [&] {
      while (have < devices_.size() && (devices_[have]->has_head() || devices_[have]->ended())) ++have;
      return have == devices_.size();
    });
    figures_.heads_s = Since(begin_ns);
  }

  /// From the same moment on, or from its place in the window, each wants its blocks.
  void Blocks() {
    const double broker_before = Process(broker_.pid()).CpuS(), own_before = Process(getpid()).CpuS();
    begin_ns_ = epoll_mqtt::Loop::NowNs();
    std::vector<std::pair<int64_t, LoadDevice*>> starts;
    for (uint32_t i = 0; i < devices_.size(); ++i) {
      const uint32_t delay_s = package::SpreadDelaySeconds(shared_.offer, "load-" + std::to_string(i));
      figures_.delay_s.push_back(delay_s);
      starts.emplace_back(begin_ns_ + int64_t{delay_s} * 1'000'000'000, devices_[i].get());
    }
    std::sort(starts.begin(), starts.end());
    size_t started = 0, over = 0;
    Until(plan_.limit_s, [&] {
      const int64_t now_ns = epoll_mqtt::Loop::NowNs();
      for (; started < starts.size() && starts[started].first <= now_ns; ++started)
        starts[started].second->Release(now_ns);
      while (over < devices_.size() && devices_[over]->ended()) ++over;
      return over == devices_.size();
    });
    figures_.blocks_s = Since(begin_ns_);
    figures_.broker_cpu_s = Process(broker_.pid()).CpuS() - broker_before;
    figures_.own_cpu_s = Process(getpid()).CpuS() - own_before;
  }

  void Count() {
    std::vector<double> times;
    for (const auto& device : devices_) {
      const update::TransferCounts& counts = device->counts();
      const telemetry::TransportStats stats = device->stats();
      figures_.delivered += counts.blocks;
      const int64_t first_ns = device->first_block_ns();
      figures_.first_block_s.push_back(first_ns == 0 ? -1
                                                     : static_cast<double>(first_ns - begin_ns_) / kSecondNs);
      figures_.sent_again += counts.duplicates;
      figures_.asked_again += counts.resubscribes;
      figures_.received_bytes += stats.received_bytes;
      figures_.disconnects += static_cast<uint32_t>(stats.connects) - 1;
      figures_.complete += device->complete() ? 1U : 0U;
      figures_.failed += device->ended() && !device->complete() ? 1U : 0U;
      if (device->complete())
        times.push_back(static_cast<double>(device->ended_ns() - begin_ns_) / kSecondNs);
    }
    std::sort(times.begin(), times.end());
    if (!times.empty()) figures_.median_s = times[times.size() / 2];
    figures_.broker_peak_mb = Process(broker_.pid()).PeakMb();
    figures_.own_peak_mb = Process(getpid()).PeakMb();
  }

  const LoadPlan plan_;
  const package::Bytes package_;
  package::test::AlignedBytes verify_;
  std::vector<base::ByteView> blocks_;
  testing::TemporaryFolder folder_;
  testing::Mosquitto broker_{folder_.path(), {.max_queued_messages = 0}};
  epoll_mqtt::Loop loop_;
  PagePool pool_;
  LoadShared shared_;
  std::vector<std::unique_ptr<LoadDevice>> devices_;
  int64_t begin_ns_ = 0;
  LoadFigures figures_;
};

}  // namespace

std::optional<LoadFigures> RunLoad(const LoadPlan& plan) {
  std::ofstream("/proc/self/clear_refs") << "5";  // this process's peak begins anew with each row
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const rlim_t wanted = plan.devices + 200;
  if (files.rlim_cur < wanted) {
    files.rlim_cur = std::min<rlim_t>(wanted, files.rlim_max);
    if (files.rlim_cur < wanted || setrlimit(RLIMIT_NOFILE, &files) != 0) {
      std::fprintf(
          stderr, "%u devices need %lu open files, and %lu are allowed: raise the limit (ulimit -Hn)\n",
          plan.devices, static_cast<unsigned long>(wanted), static_cast<unsigned long>(files.rlim_max));
      return {};
    }
  }
  return LoadRun(plan).Run();
}

}  // namespace dipper::bench
