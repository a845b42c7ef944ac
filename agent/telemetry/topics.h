// The topic tree: builds topics into fixed buffers and takes incoming ones apart (docs/reference/topics.md).
// Thread-safe: pure functions and values. No heap.
#pragma once

#include <cstdint>
#include <string_view>

#include "agent/base/bytes.h"
#include "agent/base/fixed.h"
#include "agent/base/status.h"

namespace dipper::telemetry {

inline constexpr std::string_view kTopicRoot = "dipper/1/";
inline constexpr uint32_t kBlocksPerGroup = 64;
inline constexpr size_t kMaxIdBytes = 64;
inline constexpr size_t kMaxTopicBytes = 320;
/// Group that every device is in; offers and commands for the whole fleet go there.
inline constexpr std::string_view kEverybody = "all";

/// The model of a device that has one. Its offers have the topic of the node alone.
inline constexpr std::string_view kMainModel = "main";

/// A topic or filter. Empty means that an id was not acceptable.
using Topic = base::FixedString<kMaxTopicBytes>;

/// Ids in topics: 1 to 64 of [A-Za-z0-9_-]. So no '/', '+', '#', NUL or dots.
bool IsTopicId(std::string_view text);
/// A device or group may not take a name that the tree uses itself: "all", "offer", "pkg", "root", "json",
/// "m".
bool IsReservedId(std::string_view text);
/// What a device or group may be called: an id that is not reserved.
inline bool IsNodeId(std::string_view text) { return IsTopicId(text) && !IsReservedId(text); }

enum class TopicKind : uint8_t {
  kUnknown = 0,
  kState,
  kBirth,
  kMetrics,
  kBacklog,
  kEvent,
  kUpdate,
  kCommand,
  kResponse,
  kSample,
  kLabel,
  kPrediction,
  kUncertain,
  kOffer,        ///< `node`: device or group
  kPkgManifest,  ///< `digest`
  kPkgBlock,     ///< `digest`, `group`, `block`
  kRoot,         ///< `version`
};

/// Last level of a device or model topic, for example "metrics".
std::string_view TopicLeaf(TopicKind kind);

/// Topics of one device. Ids are copied; an unacceptable one makes every topic empty and valid() false.
class DeviceTopics {
 public:
  DeviceTopics(std::string_view fleet, std::string_view device);
  bool valid() const { return valid_; }
  std::string_view fleet() const { return fleet_.view(); }
  std::string_view device() const { return device_.view(); }

  /// `dipper/1/<fleet>/<device>/<leaf>`, or `.../m/<model>/<leaf>` when `model` is not empty, or
  /// `.../json/...`.
  Topic Of(TopicKind kind, std::string_view model = {}, bool json = false) const;

 private:
  base::FixedString<kMaxIdBytes> fleet_;
  base::FixedString<kMaxIdBytes> device_;
  bool valid_ = false;
};

/// Topics of a fleet; empty when an id is not acceptable.
/// `.../offer/<node>` for kMainModel, `.../offer/<node>/m/<model>` for any other: one retained offer a model.
Topic OfferTopic(std::string_view fleet, std::string_view device_or_group,
                 std::string_view model = kMainModel);
Topic ModelOfferFilter(std::string_view fleet, std::string_view device_or_group);  ///< Every other model.
Topic CommandTopic(std::string_view fleet, std::string_view device);
Topic RootTopic(std::string_view fleet, uint32_t version);
Topic RootFilter(std::string_view fleet);  ///< Every version.
Topic ManifestTopic(std::string_view fleet, const base::Digest& package);
Topic BlockTopic(std::string_view fleet, const base::Digest& package, uint32_t block);
Topic BlockGroupFilter(std::string_view fleet, const base::Digest& package, uint32_t group);
/// `dipper/1/<fleet>/+/<leaf>` or `dipper/1/<fleet>/+/m/+/<leaf>`: what a watcher subscribes to.
Topic FleetFilter(std::string_view fleet, TopicKind kind, bool model_topic);

/// What an incoming topic says. Views into the parsed text.
struct ParsedTopic {
  TopicKind kind = TopicKind::kUnknown;
  bool json = false;
  std::string_view fleet;
  std::string_view node;   ///< Device; for kOffer device or group.
  std::string_view model;  ///< Empty: device topic, or the offer's topic of kMainModel.
  base::Digest digest;
  uint32_t group = 0;
  uint32_t block = 0;  ///< Index in the whole package; group * 64 .. group * 64 + 63.
  uint32_t version = 0;
};

/// Takes a topic apart. Never reads past the view; accepts only canonical forms (no leading zeros, lower-case
/// hex). kInvalidArgument: not a topic of this tree.
base::Result<ParsedTopic> ParseTopic(std::string_view topic);

}  // namespace dipper::telemetry
