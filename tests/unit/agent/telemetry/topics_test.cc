// Topics: built, taken apart again, and hostile ones refused.
#include "agent/telemetry/topics.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace dipper::telemetry {
namespace {

base::Digest SomeDigest() {
  base::Digest digest;
  for (size_t i = 0; i < digest.bytes.size(); ++i) digest.bytes[i] = static_cast<uint8_t>(i * 7 + 1);
  return digest;
}

TEST(Topics, BuildsEveryDeviceTopic) {
  const DeviceTopics topics("demo", "mote-1");
  ASSERT_TRUE(topics.valid());
  EXPECT_EQ(topics.Of(TopicKind::kState).view(), "dipper/1/demo/mote-1/state");
  EXPECT_EQ(topics.Of(TopicKind::kMetrics, "main").view(), "dipper/1/demo/mote-1/m/main/metrics");
  EXPECT_EQ(topics.Of(TopicKind::kMetrics, "main", true).view(), "dipper/1/demo/mote-1/json/m/main/metrics");
  EXPECT_EQ(topics.Of(TopicKind::kBacklog, {}, true).view(), "dipper/1/demo/mote-1/json/backlog");
  EXPECT_EQ(topics.Of(TopicKind::kUpdate, "main").view(), "dipper/1/demo/mote-1/m/main/update");
  EXPECT_TRUE(topics.Of(TopicKind::kUpdate).empty()) << "there is no update topic of the device itself";
  EXPECT_TRUE(topics.Of(TopicKind::kState, "main").empty());
  EXPECT_TRUE(topics.Of(TopicKind::kOffer).empty());
  EXPECT_TRUE(topics.Of(TopicKind::kMetrics, "a/b").empty());
}

TEST(Topics, BuildsFleetTopics) {
  const std::string hex(base::ToHex(SomeDigest()).view());
  EXPECT_EQ(OfferTopic("demo", "canary").view(), "dipper/1/demo/offer/canary");
  EXPECT_EQ(OfferTopic("demo", "canary", "main").view(), "dipper/1/demo/offer/canary");
  EXPECT_EQ(OfferTopic("demo", "canary", "pump").view(), "dipper/1/demo/offer/canary/m/pump");
  EXPECT_EQ(ModelOfferFilter("demo", "canary").view(), "dipper/1/demo/offer/canary/m/+");
  EXPECT_TRUE(OfferTopic("demo", "canary", "a/b").empty());
  EXPECT_EQ(CommandTopic("demo", "mote-1").view(), "dipper/1/demo/mote-1/cmd");
  EXPECT_EQ(RootTopic("demo", 12).view(), "dipper/1/demo/root/12");
  EXPECT_EQ(ManifestTopic("demo", SomeDigest()).view(), "dipper/1/demo/pkg/" + hex + "/manifest");
  EXPECT_EQ(BlockTopic("demo", SomeDigest(), 63).view(), "dipper/1/demo/pkg/" + hex + "/0/63");
  EXPECT_EQ(BlockTopic("demo", SomeDigest(), 64).view(), "dipper/1/demo/pkg/" + hex + "/1/64");
  EXPECT_EQ(BlockGroupFilter("demo", SomeDigest(), 1).view(), "dipper/1/demo/pkg/" + hex + "/1/+");
  EXPECT_EQ(FleetFilter("demo", TopicKind::kEvent, true).view(), "dipper/1/demo/+/m/+/event");
  EXPECT_TRUE(FleetFilter("demo", TopicKind::kState, true).empty());
  EXPECT_TRUE(OfferTopic("de/mo", "canary").empty());
}

TEST(Topics, LongestIdsFit) {
  const std::string id(kMaxIdBytes, 'x');
  EXPECT_FALSE(DeviceTopics(id, id).Of(TopicKind::kPrediction, id, true).empty());
  EXPECT_FALSE(BlockTopic(id, SomeDigest(), 0xFFFFFFFF).empty());
}

TEST(Topics, ParsesWhatItBuilds) {
  const DeviceTopics topics("demo", "mote-1");
  for (const TopicKind kind : {TopicKind::kState, TopicKind::kBirth, TopicKind::kMetrics, TopicKind::kBacklog,
                               TopicKind::kEvent, TopicKind::kCommand, TopicKind::kResponse}) {
    for (const bool mirror : {false, true}) {
      const Topic topic = topics.Of(kind, {}, mirror);
      const auto parsed = ParseTopic(topic.view());
      ASSERT_TRUE(parsed.ok()) << topic.view();
      EXPECT_EQ(parsed.value().kind, kind);
      EXPECT_EQ(parsed.value().json, mirror);
      EXPECT_EQ(parsed.value().fleet, "demo");
      EXPECT_EQ(parsed.value().node, "mote-1");
      EXPECT_EQ(parsed.value().model, "");
    }
  }
  for (const TopicKind kind : {TopicKind::kMetrics, TopicKind::kEvent, TopicKind::kUpdate, TopicKind::kSample,
                               TopicKind::kLabel, TopicKind::kPrediction}) {
    const Topic topic = topics.Of(kind, "main");
    const auto parsed = ParseTopic(topic.view());
    ASSERT_TRUE(parsed.ok()) << topic.view();
    EXPECT_EQ(parsed.value().kind, kind);
    EXPECT_EQ(parsed.value().model, "main");
  }
  const Topic block = BlockTopic("demo", SomeDigest(), 200);
  const auto parsed = ParseTopic(block.view());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.value().kind, TopicKind::kPkgBlock);
  EXPECT_EQ(parsed.value().digest, SomeDigest());
  EXPECT_EQ(parsed.value().group, 3u);
  EXPECT_EQ(parsed.value().block, 200u);
  const Topic manifest = ManifestTopic("demo", SomeDigest());
  EXPECT_EQ(ParseTopic(manifest.view()).value().kind, TopicKind::kPkgManifest);
  EXPECT_EQ(ParseTopic("dipper/1/demo/offer/canary").value().node, "canary");
  EXPECT_EQ(ParseTopic("dipper/1/demo/root/7").value().version, 7u);
}

TEST(Topics, HostileOnesAreRefused) {
  const std::string hex(base::ToHex(SomeDigest()).view());
  std::string upper = hex;
  upper[0] = 'A';
  const std::vector<std::string> hostile = {"",
                                            "/",
                                            "dipper",
                                            "dipper/1",
                                            "dipper/1/",
                                            "dipper/1/demo",
                                            "dipper/1/demo/",
                                            "dipper/2/demo/mote-1/state",
                                            "dipper/1/demo/mote-1",
                                            "dipper/1/demo/mote-1/",
                                            "dipper/1/demo/mote-1/nothing",
                                            "dipper/1/demo/mote-1/state/",
                                            "dipper/1/demo/mote-1/state/x",
                                            "dipper/1//mote-1/state",
                                            "dipper/1/demo//state",
                                            "dipper/1/+/mote-1/state",
                                            "dipper/1/demo/#",
                                            "dipper/1/demo/mote 1/state",
                                            "dipper/1/demo/mote.1/state",
                                            "dipper/1/demo/../state",
                                            "dipper/1/demo/m\xC3\xB6te/state",
                                            std::string("dipper/1/demo/mo\0te/state", 25),
                                            "dipper/1/demo/all/state",
                                            "dipper/1/demo/json/state",
                                            "dipper/1/demo/mote-1/json",
                                            "dipper/1/demo/mote-1/json/json/state",
                                            "dipper/1/demo/mote-1/m",
                                            "dipper/1/demo/mote-1/m/main",
                                            "dipper/1/demo/mote-1/m//metrics",
                                            "dipper/1/demo/mote-1/m/main/state",
                                            "dipper/1/demo/mote-1/m/main/metrics/x",
                                            "dipper/1/demo/mote-1/update",
                                            "dipper/1/demo/offer",
                                            "dipper/1/demo/offer/",
                                            "dipper/1/demo/offer/a/b",
                                            "dipper/1/demo/offer/+",
                                            "dipper/1/demo/root/",
                                            "dipper/1/demo/root/01",
                                            "dipper/1/demo/root/-1",
                                            "dipper/1/demo/root/4294967296",
                                            "dipper/1/demo/root/1/2",
                                            "dipper/1/demo/pkg",
                                            "dipper/1/demo/pkg/" + hex,
                                            "dipper/1/demo/pkg/" + hex + "/",
                                            "dipper/1/demo/pkg/" + hex + "/manifest/",
                                            "dipper/1/demo/pkg/" + upper + "/manifest",
                                            "dipper/1/demo/pkg/" + hex.substr(1) + "/manifest",
                                            "dipper/1/demo/pkg/" + hex + "/0",
                                            "dipper/1/demo/pkg/" + hex + "/1/63",
                                            "dipper/1/demo/pkg/" + hex + "/0/64",
                                            "dipper/1/demo/pkg/" + hex + "/0/ 1",
                                            "dipper/1/demo/pkg/" + hex + "/0/1/2",
                                            "dipper/1/demo/pkg/" + hex + "/00/1",
                                            "dipper/1/demo/pkg/" + hex + "/0/+1",
                                            "dipper/1/" + std::string(65, 'x') + "/mote-1/state",
                                            "dipper/1/demo/" + std::string(65, 'x') + "/state",
                                            std::string(4096, 'x'),
                                            std::string(4096, '/')};
  for (const std::string& topic : hostile) {
    EXPECT_EQ(ParseTopic(topic).status(), base::Status::kInvalidArgument) << topic;
  }
}

// Whatever arrives: no crash, and what is accepted is exactly what would be built again.
TEST(Topics, AcceptedOnesAreCanonical) {
  std::mt19937 random(7);
  const std::vector<std::string> pieces = {"dipper",
                                           "1",
                                           "demo",
                                           "/",
                                           "//",
                                           "m",
                                           "main",
                                           "json",
                                           "state",
                                           "metrics",
                                           "pkg",
                                           "manifest",
                                           "offer",
                                           "root",
                                           "0",
                                           "1",
                                           "64",
                                           "+",
                                           "#",
                                           "event",
                                           std::string(base::ToHex(SomeDigest()).view()),
                                           std::string(1, '\0'),
                                           "rsp"};
  int accepted = 0;
  for (int round = 0; round < 200000; ++round) {
    std::string text = "dipper/1/demo";
    const auto count = 1 + random() % 6;
    for (unsigned i = 0; i < count; ++i)
      text += (random() % 8 == 0 ? "" : "/") + pieces[random() % pieces.size()];
    const auto parsed = ParseTopic(text);
    if (!parsed.ok()) continue;
    ++accepted;
    const ParsedTopic& p = parsed.value();
    Topic again;
    if (p.kind == TopicKind::kOffer) {
      again = p.model.empty() ? OfferTopic(p.fleet, p.node) : OfferTopic(p.fleet, p.node, p.model);
    } else if (p.kind == TopicKind::kRoot) {
      again = RootTopic(p.fleet, p.version);
    } else if (p.kind == TopicKind::kPkgManifest) {
      again = ManifestTopic(p.fleet, p.digest);
    } else if (p.kind == TopicKind::kPkgBlock) {
      again = BlockTopic(p.fleet, p.digest, p.block);
    } else {
      again = DeviceTopics(p.fleet, p.node).Of(p.kind, p.model, p.json);
    }
    ASSERT_EQ(again.view(), text);
  }
  EXPECT_GT(accepted, 100);
}

TEST(Topics, ReservedNamesAreNotDevices) {
  for (const char* name : {"all", "offer", "pkg", "root", "json", "m"}) {
    EXPECT_FALSE(IsNodeId(name)) << name;
    EXPECT_FALSE(DeviceTopics("demo", name).valid()) << name;
  }
  EXPECT_TRUE(IsNodeId("Mote_1-a"));
}

TEST(Topics, AnOfferOfAnotherModelNamesIt) {
  const auto topic = ParseTopic("dipper/1/demo/offer/canary/m/pump");
  ASSERT_TRUE(topic.ok());
  EXPECT_EQ(topic->kind, TopicKind::kOffer);
  EXPECT_EQ(topic->node, "canary");
  EXPECT_EQ(topic->model, "pump");
  // One thing has one topic: the main model's offers have the short one.
  for (const char* bad : {"dipper/1/demo/offer/canary/m/main", "dipper/1/demo/offer/canary/m",
                          "dipper/1/demo/offer/canary/m/", "dipper/1/demo/offer/canary/x/pump",
                          "dipper/1/demo/offer/canary/m/pump/x", "dipper/1/demo/offer/canary/"}) {
    EXPECT_FALSE(ParseTopic(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace dipper::telemetry
