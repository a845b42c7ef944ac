// The table of entities and their JSON.
#include "agent/telemetry/home_assistant.h"

#include <algorithm>
#include <array>

#include "agent/telemetry/catalogue.h"
#include "agent/telemetry/json_writer.h"

namespace dipper::telemetry {
namespace {

enum class Needs : uint8_t { kNothing, kModel, kClasses, kValues, kScore };

// `object` is the member of the mirror's message too; of `state` and `update` the member is `state`.
struct Entity {
  std::string_view object;
  std::string_view label;
  TopicKind from = TopicKind::kMetrics;
  bool binary = false;  // 1 is on
  std::string_view device_class{};
  std::string_view unit{};
  std::string_view state_class{};
  bool diagnostic = true;
  Needs needs = Needs::kNothing;
};

constexpr std::string_view kMeasured = "measurement";
constexpr std::string_view kCounted = "total_increasing";

constexpr auto kDevice = std::to_array<Entity>({
    {.object = "connected",
     .label = "Connected",
     .from = TopicKind::kState,
     .binary = true,
     .device_class = "connectivity"},
    {.object = "system_cpu_ratio", .label = "CPU", .state_class = kMeasured},
    {.object = "system_memory_available_bytes",
     .label = "Memory available",
     .device_class = "data_size",
     .unit = "B",
     .state_class = kMeasured},
    {.object = "system_temperature_celsius",
     .label = "Temperature",
     .device_class = "temperature",
     .unit = "\xC2\xB0"
             "C",
     .state_class = kMeasured},
    {.object = "system_disk_free_bytes",
     .label = "Disk free",
     .device_class = "data_size",
     .unit = "B",
     .state_class = kMeasured},
    {.object = "process_uptime_seconds",
     .label = "Agent uptime",
     .device_class = "duration",
     .unit = "s",
     .state_class = kMeasured},
    {.object = "backlog_entries", .label = "Backlog", .state_class = kMeasured},
    {.object = "backlog_dropped_total", .label = "Messages lost", .state_class = kCounted},
    {.object = "telemetry_day_bytes",
     .label = "Sent today",
     .device_class = "data_size",
     .unit = "B",
     .state_class = kCounted},
});

constexpr auto kModel = std::to_array<Entity>({
    {.object = "anomaly_active",
     .label = "Anomaly",
     .binary = true,
     .device_class = "problem",
     .diagnostic = false,
     .needs = Needs::kScore},
    {.object = "anomaly_score",
     .label = "Anomaly score",
     .state_class = kMeasured,
     .diagnostic = false,
     .needs = Needs::kScore},
    {.object = "prequential_accuracy_ratio",
     .label = "Accuracy",
     .state_class = kMeasured,
     .diagnostic = false,
     .needs = Needs::kClasses},
    {.object = "prequential_mae",
     .label = "Mean absolute error",
     .state_class = kMeasured,
     .diagnostic = false,
     .needs = Needs::kValues},
    {.object = "learner_samples_total", .label = "Samples", .state_class = kCounted, .needs = Needs::kModel},
    {.object = "drift_alarms_total",
     .label = "Drift alarms",
     .state_class = kCounted,
     .needs = Needs::kModel},
    {.object = "update_state", .label = "Update", .from = TopicKind::kUpdate},
});

bool Has(const HomeAssistantModel& model, Needs needs) {
  switch (needs) {
    case Needs::kModel:
      return model.serves;
    case Needs::kClasses:
      return model.classifies;
    case Needs::kValues:
      return model.forecasts;
    case Needs::kScore:
      return model.scores;
    case Needs::kNothing:
      break;
  }
  return true;
}

/// A text in the making; what does not fit makes the whole of it bad.
class TopicText {
 public:
  void Add(std::string_view part) {
    good_ = good_ && part.size() <= bytes_.size() - size_;
    if (!good_) return;
    std::copy(part.begin(), part.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(size_));
    size_ += part.size();
  }
  bool good() const { return good_; }
  std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, kMaxTopicBytes> bytes_{};
  size_t size_ = 0;
  bool good_ = true;
};

void Add(TopicText* text, std::string_view part) { text->Add(part); }

/// `dipper_<fleet>_<device>[_<model>]`
TopicText Name(const DeviceTopics& topics, std::string_view model) {
  TopicText name;
  for (const std::string_view part :
       {std::string_view("dipper_"), topics.fleet(), std::string_view("_"), topics.device()})
    Add(&name, part);
  if (!model.empty()) {
    Add(&name, "_");
    Add(&name, model);
  }
  return name;
}

Topic ConfigTopic(const HomeAssistantDevice& device, const DeviceTopics& topics, const Entity& entity,
                  std::string_view model) {
  TopicText text;
  const auto add = [&](std::string_view part) { text.Add(part); };
  add(device.prefix);
  add("/");
  add(kHomeAssistantComponents[entity.binary ? 1 : 0]);
  add("/");
  add(topics.device());  // so that an access list can hold a device to its own
  add("/");
  add(Name(topics, model).view());
  add("_");
  add(entity.object);
  add("/config");
  Topic topic;
  const bool good = text.good() && IsTopicId(device.prefix) && base::Ok(topic.Assign(text.view()));
  return good ? topic : Topic();
}

// A message without the member leaves the entity as it is: is_defined is an error then, for which a sensor
// keeps its state; a binary sensor ignores an empty result.
TopicText ValueTemplate(const Entity& entity) {
  TopicText text;
  const bool word = entity.from != TopicKind::kMetrics;
  if (word) {
    Add(&text, "{{ value_json.state }}");
  } else if (!entity.binary) {
    for (const std::string_view part :
         {std::string_view("{{ value_json."), entity.object, std::string_view(" | is_defined }}")})
      Add(&text, part);
  } else {
    for (const std::string_view part : {std::string_view("{% if value_json."), entity.object,
                                        std::string_view(" is defined %}{{ 'ON' if value_json."),
                                        entity.object, std::string_view(" else 'OFF' }}{% endif %}")})
      Add(&text, part);
  }
  return text;
}

void PutDevice(JsonWriter& json, const HomeAssistantDevice& device, const DeviceTopics& topics) {
  json.Key("device");
  json.OpenObject();
  json.Key("identifiers");
  json.OpenArray();
  json.Text(Name(topics, {}).view());
  json.CloseArray();
  json.Key("name");
  json.Text(topics.device());
  json.Key("manufacturer");
  json.Text("Dipper");
  json.Key("model");
  json.Text(device.hardware);
  json.Key("sw_version");
  json.Text(device.agent_version);
  json.CloseObject();
  json.Key("origin");
  json.OpenObject();
  json.Key("name");
  json.Text("dipper-agent");
  json.Key("sw_version");
  json.Text(device.agent_version);
  json.CloseObject();
}

void PutText(JsonWriter& json, std::string_view key, std::string_view text) {
  if (text.empty()) return;
  json.Key(key);
  json.Text(text);
}

void PutEntity(JsonWriter& json, const DeviceTopics& topics, const Entity& entity, std::string_view model) {
  TopicText name;
  if (!model.empty() && model != kMainModel) {
    Add(&name, model);
    Add(&name, " ");
  }
  Add(&name, entity.label);
  PutText(json, "name", name.view());
  TopicText id = Name(topics, model);
  Add(&id, "_");
  Add(&id, entity.object);
  PutText(json, "unique_id", id.view());
  // `state` is JSON already and has no mirror.
  const bool state = entity.from == TopicKind::kState;
  PutText(json, "state_topic", topics.Of(entity.from, model, !state).view());
  PutText(json, "value_template", ValueTemplate(entity).view());
  if (state) {
    PutText(json, "payload_on", "online");
    PutText(json, "payload_off", "offline");
  } else {
    PutText(json, "availability_topic", topics.Of(TopicKind::kState).view());
    PutText(json, "availability_template", "{{ value_json.state }}");
  }
  PutText(json, "device_class", entity.device_class);
  PutText(json, "unit_of_measurement", entity.unit);
  PutText(json, "state_class", entity.state_class);
  if (entity.diagnostic) PutText(json, "entity_category", "diagnostic");
}

}  // namespace

size_t HomeAssistantEntities(size_t models) { return kDevice.size() + models * kModel.size(); }

base::Result<HomeAssistantMessage> EncodeHomeAssistant(const HomeAssistantDevice& device,
                                                       const DeviceTopics& topics,
                                                       const HomeAssistantModel* models, size_t index,
                                                       base::MutableBytes buffer) {
  const bool of_model = index >= kDevice.size();
  const size_t place = of_model ? (index - kDevice.size()) % kModel.size() : index;
  const Entity& entity = of_model ? kModel[place] : kDevice[place];
  const HomeAssistantModel model =
      of_model ? models[(index - kDevice.size()) / kModel.size()] : HomeAssistantModel{};
  HomeAssistantMessage message{.topic = ConfigTopic(device, topics, entity, model.id), .text = {}};
  if (message.topic.view().empty() || !topics.valid()) return base::Status::kInvalidArgument;
  if (!Has(model, entity.needs)) return message;
  JsonWriter json(buffer);
  json.OpenObject();
  PutEntity(json, topics, entity, model.id);
  PutDevice(json, device, topics);
  json.CloseObject();
  if (json.overflow()) return base::Status::kResourceExhausted;
  message.text = json.view();
  return message;
}

}  // namespace dipper::telemetry
