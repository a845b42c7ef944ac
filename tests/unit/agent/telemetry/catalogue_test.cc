// The catalogue keeps its own rules.
#include "agent/telemetry/catalogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace dipper::telemetry {
namespace {

TEST(Catalogue, NamesUnitsAndIdsFollowTheRules) {
  std::set<std::string_view> names;
  uint16_t last = 0;
  for (const MetricRow& row : MetricCatalogue()) {
    EXPECT_GT(static_cast<uint16_t>(row.id), last) << row.name << ": ids must rise";
    last = static_cast<uint16_t>(row.id);
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " is there twice";
    EXPECT_TRUE(std::all_of(row.name.begin(), row.name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    })) << row.name;
    EXPECT_EQ(row.name.ends_with("_total"), row.type == schema::MetricType::Counter) << row.name;
    for (const char* unit : {"seconds", "bytes", "celsius"}) {
      if (row.unit == unit) {
        EXPECT_NE(row.name.find(unit), std::string_view::npos) << row.name;
      }
    }
    EXPECT_FALSE(row.unit.empty()) << row.name;
    EXPECT_FALSE(row.help.empty()) << row.name;
    EXPECT_EQ(FindMetric(static_cast<uint16_t>(row.id)), &row);
  }
  EXPECT_EQ(FindMetric(0), nullptr);
  EXPECT_EQ(FindMetric(65535), nullptr);
}

// docs/reference/metrics.md is what operators read: one row a metric, in this order, saying the same.
TEST(Catalogue, ThePageSaysTheSame) {
  std::ifstream page(DIPPER_METRICS_PAGE);
  ASSERT_TRUE(page) << DIPPER_METRICS_PAGE;
  std::vector<std::string> rows;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("| ") && line[2] >= '0' && line[2] <= '9') rows.push_back(line);
  }
  ASSERT_EQ(rows.size(), MetricCatalogue().size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const MetricRow& row = MetricCatalogue()[i];
    const std::string scope = row.scope == schema::MetricScope::Model ? "model" : "device";
    EXPECT_EQ(rows[i], "| " + std::to_string(static_cast<uint16_t>(row.id)) + " | `" + std::string(row.name) +
                           "` | " + scope + " | " + std::string(row.unit) + " | " + std::string(row.help) +
                           " |");
  }
}

TEST(Events, EveryKindIsOnThePage) {
  std::ifstream page(DIPPER_EVENTS_PAGE);
  ASSERT_TRUE(page) << DIPPER_EVENTS_PAGE;
  const std::string text((std::istreambuf_iterator<char>(page)), std::istreambuf_iterator<char>());
  for (const schema::EventKind kind : schema::EnumValuesEventKind()) {
    const std::string name = schema::EnumNameEventKind(kind);
    EXPECT_NE(text.find("`" + name + "`"), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace dipper::telemetry
