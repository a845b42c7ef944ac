// docs/reference/update.md shows the state table: every row of the code stands on the page, and no other.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "agent/update/state_table.h"

namespace dipper::update {
namespace {

using schema::UpdateState;

/// "FellBack" -> "fell_back"
std::string Word(std::string_view name) {
  std::string word;
  for (const char c : name) {
    const bool upper = c >= 'A' && c <= 'Z';
    if (upper && !word.empty()) word += '_';
    word += upper ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return word;
}

std::string RowOf(UpdateState state, Event event, const Transition& next) {
  return "| `" + Word(schema::EnumNameUpdateState(state)) + "` | `" + std::string(EventName(event)) +
         "` | `" + Word(schema::EnumNameUpdateState(next.next)) + "` | `" +
         std::string(ActionName(next.action)) + "` |";
}

std::set<std::string> RowsOfThePage() {
  std::ifstream page(DIPPER_SOURCE_DIR "/docs/reference/update.md");
  EXPECT_TRUE(page.good());
  std::set<std::string> rows;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line == "| state | event | next | action |") inside = true;
    if (line.empty()) inside = false;
    if (inside && line.rfind("| `", 0) == 0) rows.insert(line);
  }
  return rows;
}

TEST(StatePage, ShowsTheTable) {
  std::set<std::string> rows;
  for (size_t s = 0; s < kStateCount; ++s) {
    const auto state = static_cast<UpdateState>(s);
    for (size_t e = 0; e < kEventCount; ++e) {
      const auto event = static_cast<Event>(e);
      const Transition next = Next(state, event);
      if (IsResting(state)) {
        // The page shows idle for all of them; an end that stays itself is idle that stays idle.
        const Transition idle = Next(UpdateState::Idle, event);
        EXPECT_EQ(next.action, idle.action);
        if (next.action != Action::kIgnore) {
          EXPECT_EQ(next.next, idle.next);
        }
        if (state != UpdateState::Idle) continue;
      }
      if (next.action != Action::kIgnore) rows.insert(RowOf(state, event, next));
    }
  }
  EXPECT_EQ(RowsOfThePage(), rows);
}

}  // namespace
}  // namespace dipper::update
