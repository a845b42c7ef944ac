// Topics: one table of leaves, one builder, one parser that walks the levels.
#include "agent/telemetry/topics.h"

#include <array>
#include <charconv>

namespace dipper::telemetry {
namespace {

struct Leaf {
  TopicKind kind;
  std::string_view text;
  bool device;  // may stand directly below the device
  bool model;   // may stand below m/<model>
};

constexpr std::array<Leaf, 12> kLeaves = {{
    {TopicKind::kState, "state", true, false},
    {TopicKind::kBirth, "birth", true, false},
    {TopicKind::kMetrics, "metrics", true, true},
    {TopicKind::kBacklog, "backlog", true, false},
    {TopicKind::kEvent, "event", true, true},
    {TopicKind::kUpdate, "update", false, true},
    {TopicKind::kCommand, "cmd", true, false},
    {TopicKind::kResponse, "rsp", true, false},
    {TopicKind::kSample, "sample", false, true},
    {TopicKind::kLabel, "label", false, true},
    {TopicKind::kPrediction, "prediction", false, true},
    {TopicKind::kUncertain, "uncertain", false, true},
}};

const Leaf* FindLeaf(TopicKind kind) {
  for (const Leaf& leaf : kLeaves) {
    if (leaf.kind == kind) return &leaf;
  }
  return nullptr;
}

// Appends parts; once something did not fit or was not acceptable, the topic stays empty.
class Builder {
 public:
  explicit Builder(std::string_view fleet) {
    Add(kTopicRoot);
    Id(fleet);
  }
  Builder& Id(std::string_view id) {
    if (!IsTopicId(id)) good_ = false;
    return Add(id);
  }
  Builder& Add(std::string_view text) {
    if (!good_ || text.size() > text_.size() - size_) {
      good_ = false;
      return *this;
    }
    if (!text.empty()) std::memcpy(text_.data() + size_, text.data(), text.size());
    size_ += text.size();
    return *this;
  }
  Builder& Number(uint32_t value) {
    std::array<char, 12> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    return Add({digits.data(), static_cast<size_t>(end - digits.data())});
  }
  Topic Done() const {
    Topic topic;
    if (good_) topic.AssignTruncated({text_.data(), size_});
    return topic;
  }

 private:
  std::array<char, kMaxTopicBytes> text_{};
  size_t size_ = 0;
  bool good_ = true;
};

// Splits off the level before the next '/'. An empty level or a missing one ends the walk.
class Levels {
 public:
  explicit Levels(std::string_view rest) : rest_(rest) {}
  std::string_view Next() {
    const size_t slash = rest_.find('/');
    const std::string_view level = rest_.substr(0, slash);
    at_end_ = slash == std::string_view::npos;
    rest_ = at_end_ ? std::string_view() : rest_.substr(slash + 1);
    return level;
  }
  bool at_end() const { return at_end_; }

 private:
  std::string_view rest_;
  bool at_end_ = false;
};

// Canonical decimal only, so that one thing has one topic.
bool ParseIndex(std::string_view text, uint32_t* value) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return false;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), *value);
  return end.ec == std::errc() && end.ptr == text.data() + text.size();
}

bool IsLowerHex(std::string_view text) {
  for (char c : text) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

base::Result<ParsedTopic> ParsePackage(Levels levels, ParsedTopic parsed) {
  const std::string_view hex = levels.Next();
  if (levels.at_end() || !IsLowerHex(hex)) return base::Status::kInvalidArgument;
  DIPPER_ASSIGN_OR_RETURN(parsed.digest, base::DigestFromHex(hex));
  const std::string_view first = levels.Next();
  if (levels.at_end()) {
    if (first != "manifest") return base::Status::kInvalidArgument;
    parsed.kind = TopicKind::kPkgManifest;
    return parsed;
  }
  const std::string_view second = levels.Next();
  if (!levels.at_end() || !ParseIndex(first, &parsed.group) || !ParseIndex(second, &parsed.block) ||
      parsed.block / kBlocksPerGroup != parsed.group) {
    return base::Status::kInvalidArgument;
  }
  parsed.kind = TopicKind::kPkgBlock;
  return parsed;
}

// <node> for the main model, <node>/m/<model> for any other.
base::Result<ParsedTopic> ParseOffer(Levels levels, ParsedTopic parsed) {
  parsed.node = levels.Next();
  if (!IsTopicId(parsed.node)) return base::Status::kInvalidArgument;
  parsed.kind = TopicKind::kOffer;
  if (levels.at_end()) return parsed;
  const bool of_model = levels.Next() == "m" && !levels.at_end();
  parsed.model = levels.Next();
  if (!of_model || !levels.at_end() || !IsTopicId(parsed.model) || parsed.model == kMainModel) {
    return base::Status::kInvalidArgument;
  }
  return parsed;
}

// Levels below the device: [json/][m/<model>/]<leaf>.
base::Result<ParsedTopic> ParseDevice(Levels levels, ParsedTopic parsed) {
  if (levels.at_end()) return base::Status::kInvalidArgument;
  std::string_view level = levels.Next();
  if (level == "json" && !levels.at_end()) {
    parsed.json = true;
    level = levels.Next();
  }
  if (level == "m" && !levels.at_end()) {
    parsed.model = levels.Next();
    if (!IsTopicId(parsed.model) || levels.at_end()) return base::Status::kInvalidArgument;
    level = levels.Next();
  }
  if (!levels.at_end()) return base::Status::kInvalidArgument;
  for (const Leaf& leaf : kLeaves) {
    if (leaf.text == level && (parsed.model.empty() ? leaf.device : leaf.model)) {
      parsed.kind = leaf.kind;
      return parsed;
    }
  }
  return base::Status::kInvalidArgument;
}

}  // namespace

bool IsTopicId(std::string_view text) {
  if (text.empty() || text.size() > kMaxIdBytes) return false;
  for (char c : text) {
    const bool good =
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (!good) return false;
  }
  return true;
}

bool IsReservedId(std::string_view text) {
  return text == kEverybody || text == "offer" || text == "pkg" || text == "root" || text == "json" ||
         text == "m";
}

std::string_view TopicLeaf(TopicKind kind) {
  const Leaf* leaf = FindLeaf(kind);
  return leaf == nullptr ? std::string_view() : leaf->text;
}

DeviceTopics::DeviceTopics(std::string_view fleet, std::string_view device) {
  valid_ = IsTopicId(fleet) && IsNodeId(device);
  if (!valid_) return;
  fleet_.AssignTruncated(fleet);
  device_.AssignTruncated(device);
}

Topic DeviceTopics::Of(TopicKind kind, std::string_view model, bool json) const {
  const Leaf* leaf = FindLeaf(kind);
  if (!valid_ || leaf == nullptr || !(model.empty() ? leaf->device : leaf->model)) return {};
  Builder builder(fleet());
  builder.Add("/").Id(device());
  if (json) builder.Add("/json");
  if (!model.empty()) builder.Add("/m/").Id(model);
  return builder.Add("/").Add(leaf->text).Done();
}

Topic OfferTopic(std::string_view fleet, std::string_view device_or_group, std::string_view model) {
  Builder builder(fleet);
  builder.Add("/offer/").Id(device_or_group);
  if (model != kMainModel) builder.Add("/m/").Id(model);
  return builder.Done();
}

Topic ModelOfferFilter(std::string_view fleet, std::string_view device_or_group) {
  return Builder(fleet).Add("/offer/").Id(device_or_group).Add("/m/+").Done();
}

Topic CommandTopic(std::string_view fleet, std::string_view device) {
  return DeviceTopics(fleet, device).Of(TopicKind::kCommand);
}

Topic RootTopic(std::string_view fleet, uint32_t version) {
  return Builder(fleet).Add("/root/").Number(version).Done();
}

Topic RootFilter(std::string_view fleet) { return Builder(fleet).Add("/root/+").Done(); }

Topic ManifestTopic(std::string_view fleet, const base::Digest& package) {
  return Builder(fleet).Add("/pkg/").Add(base::ToHex(package).view()).Add("/manifest").Done();
}

Topic BlockTopic(std::string_view fleet, const base::Digest& package, uint32_t block) {
  return Builder(fleet)
      .Add("/pkg/")
      .Add(base::ToHex(package).view())
      .Add("/")
      .Number(block / kBlocksPerGroup)
      .Add("/")
      .Number(block)
      .Done();
}

Topic BlockGroupFilter(std::string_view fleet, const base::Digest& package, uint32_t group) {
  return Builder(fleet).Add("/pkg/").Add(base::ToHex(package).view()).Add("/").Number(group).Add("/+").Done();
}

Topic FleetFilter(std::string_view fleet, TopicKind kind, bool model_topic) {
  const Leaf* leaf = FindLeaf(kind);
  if (leaf == nullptr || !(model_topic ? leaf->model : leaf->device)) return {};
  return Builder(fleet).Add(model_topic ? "/+/m/+/" : "/+/").Add(leaf->text).Done();
}

base::Result<ParsedTopic> ParseTopic(std::string_view topic) {
  if (topic.size() > kMaxTopicBytes || !topic.starts_with(kTopicRoot)) return base::Status::kInvalidArgument;
  Levels levels(topic.substr(kTopicRoot.size()));
  ParsedTopic parsed;
  parsed.fleet = levels.Next();
  if (!IsTopicId(parsed.fleet) || levels.at_end()) return base::Status::kInvalidArgument;
  const std::string_view second = levels.Next();
  if (!IsTopicId(second) || levels.at_end()) return base::Status::kInvalidArgument;
  if (second == "pkg") return ParsePackage(levels, parsed);
  if (second == "offer") return ParseOffer(levels, parsed);
  if (second == "root") {
    if (!ParseIndex(levels.Next(), &parsed.version) || !levels.at_end())
      return base::Status::kInvalidArgument;
    parsed.kind = TopicKind::kRoot;
    return parsed;
  }
  if (IsReservedId(second)) return base::Status::kInvalidArgument;
  parsed.node = second;
  return ParseDevice(levels, parsed);
}

}  // namespace dipper::telemetry
