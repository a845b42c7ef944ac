// Any bytes as the agent's configuration. What is accepted keeps every range of
// docs/reference/agent-config.md; what is refused has at least one message that names the file.
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <string>
#include <vector>

#include "agent/app/config/config.h"
#include "agent/base/assert.h"
#include "agent/store/boot_layout.h"
#include "agent/telemetry/topics.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header

template <typename T>
bool Within(T value, T least, T most) {
  return value >= least && value <= most;
}

bool Absolute(const std::string& path) { return !path.empty() && path[0] == '/'; }
bool AbsoluteOrNone(const std::string& path) { return path.empty() || Absolute(path); }

void CheckAccepted(const app::Config& c) {
  DIPPER_CHECK(telemetry::IsNodeId(c.device.id) && telemetry::IsTopicId(c.device.fleet));
  for (const std::string& group : c.device.groups) DIPPER_CHECK(telemetry::IsNodeId(group));
  DIPPER_CHECK(c.device.groups.size() <= 8 && !c.device.hardware.empty());
  DIPPER_CHECK(!c.mqtt.url.empty() && !c.mqtt.client_id.empty());
  DIPPER_CHECK(c.mqtt.version == 5 || c.mqtt.version == 311);
  DIPPER_CHECK(Within<int64_t>(c.mqtt.keepalive_s, 5, 3600));
  DIPPER_CHECK(c.mqtt.cert_file.empty() == c.mqtt.key_file.empty());
  for (const std::string& path : {c.mqtt.password_file, c.mqtt.ca_file, c.mqtt.cert_file, c.mqtt.key_file}) {
    DIPPER_CHECK(AbsoluteOrNone(path));
  }
  DIPPER_CHECK(Absolute(c.storage.boot) && Absolute(c.storage.data) && Absolute(c.trust.root));
  DIPPER_CHECK(Within<uint64_t>(c.storage.boot_bytes, 32 * 1024, 64 << 20));
  DIPPER_CHECK(!c.models.empty() && c.models.size() <= store::kMaxModels);
  for (const app::ModelConfig& model : c.models) {
    DIPPER_CHECK(telemetry::IsTopicId(model.id));
    DIPPER_CHECK(Absolute(model.slot_a) && Absolute(model.slot_b) && AbsoluteOrNone(model.factory));
    DIPPER_CHECK(Within<uint64_t>(model.max_image_bytes, 4096, 64 << 20));
    DIPPER_CHECK(Within<int64_t>(model.max_latency_us, 0, 60'000'000));
  }
  DIPPER_CHECK(std::isfinite(c.sources[0].rate_hz) && Within(c.sources[0].rate_hz, 0.001, 100'000.0));
  DIPPER_CHECK(Within<int64_t>(c.telemetry.interval_ms, 100, 86'400'000));
  DIPPER_CHECK(Within<int64_t>(c.health.healthy_after_s, 1, 86'400));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A file in memory, opened by name like any other.
  static const int file = ::memfd_create("agent.toml", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  DIPPER_CHECK(file >= 0 && ::ftruncate(file, 0) == 0);
  if (size > 0) DIPPER_CHECK(::pwrite(file, data, size, 0) == static_cast<ssize_t>(size));
  std::vector<std::string> problems;
  const app::Config config = app::LoadConfig(path, &problems);
  if (problems.empty()) CheckAccepted(config);
  for (const std::string& problem : problems) DIPPER_CHECK(problem.rfind(path, 0) == 0);
  return 0;
}
