// Discovery messages have what Home Assistant's MQTT integration asks for, and name what the mirror has.
#include "agent/telemetry/home_assistant.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "agent/telemetry/catalogue.h"

namespace dipper::telemetry {
namespace {

using nlohmann::json;

struct Told {
  std::string topic;
  json config;  // null: taken away
};

std::vector<Told> All(const HomeAssistantModel& model, std::string_view device = "gw-1") {
  std::vector<Told> all;
  const DeviceTopics topics("plant", device);
  for (size_t i = 0; i < HomeAssistantEntities(1); ++i) {
    std::array<uint8_t, kHomeAssistantBytes> buffer;
    const auto message = EncodeHomeAssistant(
        {.prefix = "homeassistant", .hardware = "pi4", .agent_version = "0.5.0"}, topics, &model, i, buffer);
    EXPECT_TRUE(message.ok()) << i;
    if (!message.ok()) continue;
    all.push_back(
        {std::string(message->topic.view()), message->text.empty() ? json() : json::parse(message->text)});
  }
  return all;
}

constexpr HomeAssistantModel kClassifier{.id = "main", .serves = true, .classifies = true};

TEST(HomeAssistant, EveryEntityHasTheRequiredKeys) {
  std::set<std::string> ids, topics;
  for (const Told& told :
       All({.id = "pump", .serves = true, .classifies = true, .forecasts = true, .scores = true})) {
    ASSERT_FALSE(told.config.is_null()) << told.topic;
    const bool binary = told.topic.starts_with("homeassistant/binary_sensor/gw-1/");
    EXPECT_TRUE(binary || told.topic.starts_with("homeassistant/sensor/gw-1/")) << told.topic;
    EXPECT_TRUE(told.topic.ends_with("/config"));
    EXPECT_EQ(std::count(told.topic.begin(), told.topic.end(), '/'), 4) << told.topic;
    EXPECT_TRUE(topics.insert(told.topic).second) << told.topic;
    for (const char* key : {"name", "unique_id", "state_topic", "value_template", "device", "origin"})
      EXPECT_TRUE(told.config.contains(key)) << told.topic << " " << key;
    EXPECT_TRUE(ids.insert(told.config["unique_id"]).second);
    EXPECT_EQ(told.config["device"]["identifiers"], json::array({"dipper_plant_gw-1"}));
    EXPECT_EQ(told.config["device"]["model"], "pi4");
    const std::string state = told.config["state_topic"];
    if (state == "dipper/1/plant/gw-1/state") {
      EXPECT_EQ(told.config["payload_on"], "online");
      continue;
    }
    EXPECT_EQ(told.config["availability_topic"], "dipper/1/plant/gw-1/state");
    EXPECT_EQ(told.config["availability_template"], "{{ value_json.state }}");
    EXPECT_TRUE(state.starts_with("dipper/1/plant/gw-1/json/")) << state;
    // A template that names a metric names one of the catalogue, with the unit it has there.
    const std::string text = told.config["value_template"];
    if (state.ends_with("/update")) continue;
    const size_t at = text.find("value_json.") + 11;
    const std::string name = text.substr(at, text.find(' ', at) - at);
    // A message without the member changes nothing: an error for a sensor, nothing at all for a binary one.
    EXPECT_EQ(text, binary ? "{% if value_json." + name + " is defined %}{{ 'ON' if value_json." + name +
                                 " else 'OFF' }}{% endif %}"
                           : "{{ value_json." + name + " | is_defined }}");
    const auto rows = MetricCatalogue();
    const auto row =
        std::find_if(rows.begin(), rows.end(), [&](const MetricRow& r) { return r.name == name; });
    ASSERT_NE(row, rows.end()) << name;
    EXPECT_EQ(row->scope == schema::MetricScope::Model, state.find("/m/pump/") != std::string::npos) << name;
    const json unit = told.config.value("unit_of_measurement", json());
    const char* expected = row->unit == "bytes"     ? "B"
                           : row->unit == "seconds" ? "s"
                                                    : "\xC2\xB0"
                                                      "C";
    if (!unit.is_null()) {
      EXPECT_EQ(unit, expected) << name;
    }
  }
  EXPECT_EQ(ids.size(), HomeAssistantEntities(1));
}

TEST(HomeAssistant, WhatAModelDoesNotHaveIsTakenAway) {
  std::set<std::string> gone;
  for (const Told& told : All(kClassifier)) {
    if (told.config.is_null()) gone.insert(told.topic);
  }
  const std::string base = "homeassistant/";
  EXPECT_EQ(gone,
            (std::set<std::string>{base + "binary_sensor/gw-1/dipper_plant_gw-1_main_anomaly_active/config",
                                   base + "sensor/gw-1/dipper_plant_gw-1_main_anomaly_score/config",
                                   base + "sensor/gw-1/dipper_plant_gw-1_main_prequential_mae/config"}));
}

TEST(HomeAssistant, NamesThatDoNotFitAreRefused) {
  const std::string longest(64, 'x');
  const DeviceTopics topics(longest, longest);
  std::array<uint8_t, kHomeAssistantBytes> buffer;
  const HomeAssistantModel model{.id = longest, .serves = true};
  for (size_t i = 0; i < HomeAssistantEntities(1); ++i) {
    const auto message = EncodeHomeAssistant({.prefix = longest, .hardware = {}, .agent_version = {}}, topics,
                                             &model, i, buffer);
    EXPECT_TRUE(message.ok() || message.status() == base::Status::kInvalidArgument);
  }
  EXPECT_FALSE(EncodeHomeAssistant({.prefix = "a/b"}, DeviceTopics("plant", "gw"), &model, 0, buffer).ok());
  std::array<uint8_t, 64> small;
  EXPECT_EQ(EncodeHomeAssistant({.prefix = "ha"}, DeviceTopics("plant", "gw"), &model, 0, small).status(),
            base::Status::kResourceExhausted);
}

}  // namespace
}  // namespace dipper::telemetry
