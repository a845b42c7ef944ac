// Implementation of retained_package.h.
#include "tools/cli/retained_package.h"

#include <algorithm>
#include <map>
#include <utility>

#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"
#include "tools/cli/output.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kQuiet{1500};  // retained messages follow the broker's answer at once
constexpr std::chrono::seconds kCheckEvery{60};
constexpr size_t kOwnFilters = 64;

bool IsEnd(schema::UpdateState state) {
  return state == schema::UpdateState::Confirmed || state == schema::UpdateState::FellBack ||
         state == schema::UpdateState::Rejected || state == schema::UpdateState::Failed;
}

/// The retained states of those that are watched: each one's own topic, or with many or unknown ones the
/// fleet's, because a subscription for each of thousands costs the broker more than one that brings them all.
std::vector<std::string> UpdateFilters(const KeepWatch& watch) {
  const auto topic = [&](std::string_view device) {
    return std::string(
        telemetry::DeviceTopics(watch.fleet, device).Of(telemetry::TopicKind::kUpdate, watch.model).view());
  };
  std::vector<std::string> filters;
  if (watch.devices.empty() && watch.count == 0) return filters;
  if (!watch.devices.empty() && watch.devices.size() <= kOwnFilters) {
    for (const std::string& device : watch.devices) filters.push_back(topic(device));
    return filters;
  }
  constexpr std::string_view kStandIn = "x";
  std::string filter = topic(kStandIn);
  filter.replace(filter.find("/x/") + 1, kStandIn.size(), "+");
  return {filter};
}

}  // namespace

RetainedPackage::RetainedPackage(MqttClient& client, std::string fleet, const PackageFile& file)
    : client_(client), fleet_(std::move(fleet)), file_(file), manifest_(file.manifest()) {}

base::ByteView RetainedPackage::Block(uint32_t index) const {
  const package::BlockInfo block = manifest_.block(index);
  return base::ByteView(file_.bytes()).subspan(block.package_offset, block.stored_bytes);
}

std::string RetainedPackage::Topic(uint32_t index) const {
  return std::string(telemetry::BlockTopic(fleet_, manifest_.package_digest(), index).view());
}

void RetainedPackage::Publish() {
  Progress progress("publishing", manifest_.block_count() + uint64_t{1});
  client_.SetOnProgress([&](uint64_t done) { progress.Update(done); });
  for (uint32_t i = 0; i < manifest_.block_count(); ++i) client_.Publish(Topic(i), Block(i), true);
  // Last, so that a device that has the manifest finds all blocks.
  const telemetry::Topic topic = telemetry::ManifestTopic(fleet_, manifest_.package_digest());
  client_.Publish(topic.view(), base::ByteView(file_.bytes()).first(manifest_.header().head_bytes()), true);
  client_.WaitForPublications();
  client_.SetOnProgress({});
}

/// Topics of blocks `begin` to `end`, and with them those under `filter`, that do not hold what they should.
std::set<std::string> RetainedPackage::Wrong(const std::string& filter, uint32_t begin, uint32_t end) {
  std::set<std::string> wrong;
  for (uint32_t i = begin; i < end; ++i) wrong.insert(Topic(i));
  uint64_t came = 0;
  client_.SetOnMessage([&](const telemetry::TransportEvent& event) {
    ++came;
    const auto topic = telemetry::ParseTopic(event.topic);
    if (!topic.ok() || topic->kind != telemetry::TopicKind::kPkgBlock || topic->block < begin ||
        topic->block >= end) {
      return;
    }
    const base::ByteView right = Block(topic->block);
    if (std::equal(right.begin(), right.end(), event.payload.begin(), event.payload.end())) {
      wrong.erase(std::string(event.topic));
    }
  });
  client_.Subscribe(filter);
  for (uint64_t before = UINT64_MAX; before != came && !wrong.empty();) {
    before = came;
    client_.Run(kQuiet, [&] { return wrong.empty(); });
  }
  client_.Unsubscribe(filter);
  client_.SetOnMessage({});
  return wrong;
}

void RetainedPackage::AddOffer(std::vector<std::string> topics, package::Bytes offer) {
  offer_topics_ = std::move(topics);
  offer_ = std::move(offer);
}

RetainedPackage::Held RetainedPackage::Look(const std::string& topic, base::ByteView right) {
  Held held = Held::kNothing;
  client_.SetOnMessage([&](const telemetry::TransportEvent& event) {
    if (event.topic != topic || event.payload.empty()) return;
    const bool same = std::equal(right.begin(), right.end(), event.payload.begin(), event.payload.end());
    held = same ? Held::kRight : Held::kOther;
  });
  client_.Subscribe(topic);
  client_.Run(kQuiet, [&] { return held != Held::kNothing; });
  client_.Unsubscribe(topic);
  client_.SetOnMessage({});
  return held;
}

uint32_t RetainedPackage::Restore() {
  uint32_t restored = 0;
  for (uint32_t begin = 0; begin < manifest_.block_count(); begin += telemetry::kBlocksPerGroup) {
    const uint32_t end = std::min(begin + telemetry::kBlocksPerGroup, manifest_.block_count());
    const telemetry::Topic filter =
        telemetry::BlockGroupFilter(fleet_, manifest_.package_digest(), begin / telemetry::kBlocksPerGroup);
    const std::set<std::string> wrong = Wrong(std::string(filter.view()), begin, end);
    for (uint32_t i = begin; i < end; ++i) {
      if (!wrong.contains(Topic(i))) continue;
      client_.Publish(Topic(i), Block(i), true);
      ++restored;
    }
  }
  const std::string topic(telemetry::ManifestTopic(fleet_, manifest_.package_digest()).view());
  const base::ByteView head = base::ByteView(file_.bytes()).first(manifest_.header().head_bytes());
  if (Look(topic, head) != Held::kRight) {
    client_.Publish(topic, head, true);
    ++restored;
  }
  for (const std::string& offer : offer_topics_) {
    if (Look(offer, offer_) != Held::kNothing) continue;
    client_.Publish(offer, offer_, true);
    ++restored;
  }
  client_.WaitForPublications();
  return restored;
}

void RetainedPackage::Clear() {
  const std::string manifest(telemetry::ManifestTopic(fleet_, manifest_.package_digest()).view());
  for (const std::string& offer : offer_topics_) {
    if (Look(offer, offer_) == Held::kRight) client_.Publish(offer, {}, true);
  }
  client_.Publish(manifest, {}, true);  // first: a device that has no head asks for no block
  for (uint32_t i = 0; i < manifest_.block_count(); ++i) client_.Publish(Topic(i), {}, true);
  client_.WaitForPublications();
  // What others have put beside them.
  std::set<std::string> strange;
  client_.SetOnMessage([&](const telemetry::TransportEvent& event) {
    if (!event.payload.empty()) strange.emplace(event.topic);
  });
  const std::string all = manifest.substr(0, manifest.rfind('/')) + "/#";
  client_.Subscribe(all);
  for (size_t before = SIZE_MAX; before != strange.size();) {
    before = strange.size();
    client_.Run(kQuiet);
  }
  client_.Unsubscribe(all);
  client_.SetOnMessage({});
  for (const std::string& topic : strange) client_.Publish(topic, {}, true);
  client_.WaitForPublications();
}

KeepOutcome KeepRetained(MqttClient& client, RetainedPackage& package, const KeepWatch& watch,
                         std::chrono::seconds time, const std::function<void(uint32_t)>& restored) {
  const auto end = MqttClient::Clock::now() + time;
  const std::set<std::string> named(watch.devices.begin(), watch.devices.end());
  const size_t wanted = named.empty() ? watch.count : named.size();
  KeepOutcome outcome;
  const auto done = [&] { return wanted > 0 && outcome.ended.size() >= wanted; };
  client.SetPatient(true);
  const std::vector<std::string> filters = UpdateFilters(watch);
  uint64_t connection = client.connections();
  const auto wait_for_connection = [&] {
    client.Run(std::max(MqttClient::Clock::duration::zero(), end - MqttClient::Clock::now()),
               [&] { return client.connected(); });
    return client.connected();
  };
  const auto round = [&] {
    // Only a running client hears that it is connected again.
    if (!wait_for_connection()) return;
    client.SetOnMessage([&](const telemetry::TransportEvent& event) {
      const auto topic = telemetry::ParseTopic(event.topic);
      const auto update = telemetry::Decode<schema::UpdateStatus>(event.payload);
      if (!topic.ok() || !update.ok() || topic->kind != telemetry::TopicKind::kUpdate) return;
      const schema::UpdateStatus& status = *update.value();
      const std::string device(topic->node);
      const bool meant = named.empty() || named.contains(device);
      if (meant && topic->model == watch.model && status.offer_number() >= watch.number &&
          IsEnd(status.state())) {
        outcome.ended[device] = status.state();
      }
    });
    for (const std::string& filter : filters) client.Subscribe(filter);
    const auto until = std::min<MqttClient::Clock::time_point>(end, MqttClient::Clock::now() + kCheckEvery);
    client.Run(until - MqttClient::Clock::now(),
               [&] { return done() || (client.connected() && client.connections() != connection); });
    for (const std::string& filter : filters) client.Unsubscribe(filter);
    client.SetOnMessage({});
    if (done() || !wait_for_connection()) return;
    connection = client.connections();
    if (const uint32_t count = package.Restore(); count > 0) restored(count);
  };
  while (!done() && MqttClient::Clock::now() < end) {
    try {
      round();
    } catch (const lab::Error& error) {
      client.SetOnMessage({});
      if (error.code() != lab::ExitCode::kUnreachable) throw;
      connection = 0;  // whatever was under way is looked at again
    }
  }
  client.SetPatient(false);
  for (const std::string& device : named) {
    if (!outcome.ended.contains(device)) outcome.missing.push_back(device);
  }
  outcome.complete = done();
  return outcome;
}

}  // namespace dipper::cli
