// Sources of a configuration beside each other: names and columns of joined ones, topics and fields of MQTT,
// what of the data may leave the device.
#include <algorithm>
#include <set>

#include "agent/app/config/parts.h"
#include "agent/app/config/source_parts.h"
#include "agent/runtime/join.h"
#include "agent/runtime/uncertain_queue.h"
#include "agent/stream/json_pick.h"
#include "agent/telemetry/topics.h"

namespace dipper::app {
namespace {

static_assert(kMaxSources == runtime::kMaxJoinParts);

void CheckTopics(ConfigWork* work, size_t index) {
  const Config& config = work->reading.config;
  const SourceConfig& source = config.sources[index];
  const std::string origin = work->Origin("source", index, "topics");
  const std::string own =
      std::string(telemetry::kTopicRoot) + config.device.fleet + "/" + config.device.id + "/";
  for (const std::string& topic : source.topics) {
    if (const char* wrong = runtime::CheckTopicFilter(topic); wrong != nullptr) {
      work->Problem(origin, "source.topics: \"" + topic + "\" is no MQTT filter: " + wrong);
    } else if (topic.rfind(own, 0) == 0) {
      work->Problem(origin,
                    "source.topics: \"" + topic +
                        "\" is this device's own; without topics a source takes its models' sample topics");
    }
  }
}

void CheckFields(ConfigWork* work, size_t index) {
  const SourceConfig& source = work->reading.config.sources[index];
  const std::string origin = work->Origin("source", index, "fields");
  std::set<std::string> names;
  std::vector<std::string_view> places;
  const std::vector<runtime::MqttField> fields = MqttFields(source);
  for (const runtime::MqttField& field : fields) {
    if (field.name.empty() || !names.insert(field.name).second) {
      work->Problem(origin, "source.fields: \"" + field.name +
                                "\" is no name, or there twice; write \"name=/json/pointer\" for each");
    }
    places.assign(1, field.place);
    if (Ok(stream::JsonPick().Bind(places))) continue;
    work->Problem(origin,
                  "source.fields: \"" + field.place +
                      "\" is no JSON pointer (RFC 6901): \"/a/b\", with ~1 for '/' and ~0 for '~' in names");
  }
  if (fields.size() > runtime::kMaxJoinColumns)
    work->Problem(origin, "source.fields may hold at most " + std::to_string(runtime::kMaxJoinColumns));
}

// What only joined sources have.
void CheckAlone(ConfigWork* work) {
  const Config& config = work->reading.config;
  if (!config.sources[0].columns.empty()) {
    work->Problem(work->Origin("source", 0, "columns"),
                  "source.columns is for joined sources: the features of the spec choose from a single one");
  }
  if (!config.join.primary.empty())
    work->Problem(work->Origin("join", "primary"), "join.primary needs several [[source]]");
}

void CheckJoined(ConfigWork* work, size_t index, std::set<std::string>* names) {
  SourceConfig& source = work->reading.config.sources[index];
  const std::string origin = work->Origin("source", index, "");
  if (source.name.empty()) source.name = source.kind;
  if (!telemetry::IsTopicId(source.name)) {
    work->Problem(work->Origin("source", index, "name"),
                  "source.name \"" + source.name + "\": 1 to 64 of letters, digits, '-' and '_'");
  }
  if (!names->insert(source.name).second) {
    work->Problem(origin,
                  "two sources have the name \"" + source.name + "\"; give each its own with source.name");
  }
  if (source.kind == "mqtt" && (source.topics.empty() || source.fields.empty())) {
    work->Problem(origin, "a joined source of kind mqtt needs topics and fields: they are its columns");
  } else if (source.kind != "mqtt" && source.columns.empty() && !source.kind.empty()) {
    work->Problem(origin,
                  "a joined source needs columns, the names that it contributes; for example columns = "
                  "[\"temperature\"]");
  }
  std::set<std::string> own;
  for (const std::string& column : source.columns) {
    if (!own.insert(column).second || column.empty()) {
      work->Problem(work->Origin("source", index, "columns"),
                    "source.columns: \"" + column + "\" is empty or there twice");
    }
  }
}

void CheckJoin(ConfigWork* work) {
  Config& config = work->reading.config;
  std::set<std::string> names;
  size_t columns = 0, pipes = 0;
  for (size_t i = 0; i < config.sources.size(); ++i) {
    CheckJoined(work, i, &names);
    columns += JoinColumns(config.sources[i]).size();
    pipes += config.sources[i].kind == "stdin" ? 1U : 0U;
  }
  if (columns > runtime::kMaxJoinColumns) {
    work->Problem(work->Origin("source", 0, ""),
                  "the joined sources have " + std::to_string(columns) + " columns; at most " +
                      std::to_string(runtime::kMaxJoinColumns) + " are joined");
  }
  if (pipes > 1)
    work->Problem(work->Origin("source", 0, ""), "there is one standard input; one source may be stdin");
  if (config.join.primary.empty()) config.join.primary = config.sources[0].name;
  if (names.count(config.join.primary) == 0) {
    work->Problem(work->Origin("join", "primary"),
                  "join.primary \"" + config.join.primary + "\" is the name of no source");
  }
}

void CheckPrivacy(ConfigWork* work) {
  const PrivacyConfig& privacy = work->reading.config.privacy;
  const std::string origin = work->Origin("privacy", "uncertain_features");
  constexpr size_t kMost = runtime::UncertainQueue::kMaxFeatures;
  if (privacy.uncertain_features.size() > kMost)
    work->Problem(origin, "privacy.uncertain_features may hold at most " + std::to_string(kMost) + " names");
  if (privacy.uncertain_samples > 0 && privacy.uncertain_features.empty()) {
    work->Problem(origin,
                  "privacy.uncertain_features is missing: the features whose values may leave the device");
  }
}

}  // namespace

std::vector<runtime::MqttField> MqttFields(const SourceConfig& source) {
  std::vector<runtime::MqttField> fields;
  for (const std::string& text : source.fields) {
    const size_t equals = text.find('=');
    fields.push_back({text.substr(0, equals), equals == std::string::npos ? text : text.substr(equals + 1)});
  }
  return fields;
}

std::vector<std::string> JoinColumns(const SourceConfig& source) {
  if (source.kind != "mqtt") return source.columns;
  std::vector<std::string> columns;
  for (const runtime::MqttField& field : MqttFields(source)) {
    if (field.name != "id" && field.name != "time") columns.push_back(field.name);
  }
  return columns;
}

void CheckSources(ConfigWork* work) {
  Config& config = work->reading.config;
  for (size_t i = 0; i < config.sources.size(); ++i) {
    CheckTopics(work, i);
    CheckFields(work, i);
  }
  if (config.sources.size() == 1) CheckAlone(work);
  if (config.sources.size() > 1) CheckJoin(work);
  CheckPrivacy(work);
}

}  // namespace dipper::app
