// Any bytes as an MQTT topic. What is accepted is canonical: the builders make the same text from its parts.
#include "agent/telemetry/topics.h"

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header

namespace {

telemetry::Topic TopicOf(const telemetry::ParsedTopic& parsed) {
  switch (parsed.kind) {
    case telemetry::TopicKind::kOffer:
      return telemetry::OfferTopic(parsed.fleet, parsed.node,
                                   parsed.model.empty() ? telemetry::kMainModel : parsed.model);
    case telemetry::TopicKind::kPkgManifest:
      return telemetry::ManifestTopic(parsed.fleet, parsed.digest);
    case telemetry::TopicKind::kPkgBlock:
      return telemetry::BlockTopic(parsed.fleet, parsed.digest, parsed.block);
    case telemetry::TopicKind::kRoot:
      return telemetry::RootTopic(parsed.fleet, parsed.version);
    default:
      return telemetry::DeviceTopics(parsed.fleet, parsed.node).Of(parsed.kind, parsed.model, parsed.json);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = base::AsText({data, size});
  const auto parsed = telemetry::ParseTopic(text);
  if (!parsed.ok()) {
    DIPPER_CHECK(parsed.status() == base::Status::kInvalidArgument);
    return 0;
  }
  DIPPER_CHECK(parsed->kind != telemetry::TopicKind::kUnknown);
  DIPPER_CHECK(telemetry::IsTopicId(parsed->fleet));
  DIPPER_CHECK(parsed->model.empty() || telemetry::IsTopicId(parsed->model));
  DIPPER_CHECK(TopicOf(*parsed).view() == text);
  return 0;
}
