// One state from its id, step by step; and how an id is written.
#include <charconv>
#include <cstdio>

#include "tests/fault/store/crash_harness.h"

namespace dipper::store {
namespace {

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (true) {
    const size_t end = text.find(':', begin);
    parts.push_back(text.substr(begin, end == std::string::npos ? end : end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

bool ParseNumber(const std::string& text, size_t from, uint64_t* number) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data() + from, end, *number);
  return text.size() > from && result.ec == std::errc() && result.ptr == end;
}

bool ParseOutcome(const std::string& text, Outcome* outcome) {
  if (text.empty() || (text[0] != 'm' && text[0] != 's')) return false;
  outcome->seeded = text[0] == 's';
  return ParseNumber(text, 1, &outcome->value);
}

bool ParseLoss(const std::string& text, Loss* loss) {
  for (size_t i = 0; i < kLossNames.size(); ++i) {
    if (text != kLossNames[i]) continue;
    *loss = static_cast<Loss>(i);
    return true;
  }
  return false;
}

const char* CallName(hal::SimCall call) {
  constexpr std::array kNames = {"read", "write", "erase", "sync"};
  return kNames[static_cast<size_t>(call)];
}

void PrintTrace(StoreWorld& world, const std::vector<hal::SimOperation>& trace) {
  constexpr std::array kNames = {"boot", "a", "b", "factory", "data"};
  for (size_t i = 0; i < trace.size(); ++i) {
    const hal::SimOperation& operation = trace[i];
    size_t part = 0;
    while (world.parts()[part] != operation.partition) ++part;
    std::printf("  %3zu %-7s %-5s", i, kNames[part], CallName(operation.call));
    if (operation.call != hal::SimCall::kSync) {
      std::printf(" at %6llu, %llu bytes", static_cast<unsigned long long>(operation.offset),
                  static_cast<unsigned long long>(operation.length));
    }
    std::printf("\n");
  }
}

}  // namespace

std::string StatePath::Text() const {
  std::string text = cut == kNotCut ? "end" : std::to_string(cut);
  text += ":" + outcome.Text();
  if (recovery_cut != kNotCut) {
    text += ":r" + std::to_string(recovery_cut) + ":" + recovery_outcome.Text();
  }
  if (starts == 3) return text + ":update";
  if (first != Loss::kNone || starts == 2) text += std::string(":") + kLossNames[static_cast<size_t>(first)];
  if (starts == 2) text += std::string(":") + kLossNames[static_cast<size_t>(second)];
  return text;
}

base::Result<StatePath> StatePath::Parse(const std::string& text) {
  const std::vector<std::string> parts = Split(text);
  StatePath path;
  if (parts.size() < 2 || !ParseOutcome(parts[1], &path.outcome)) return base::Status::kInvalidArgument;
  if (parts[0] != "end" && !ParseNumber(parts[0], 0, &path.cut)) return base::Status::kInvalidArgument;
  size_t next = 2;
  if (parts.size() > 3 && parts[2].size() > 1 && parts[2][0] == 'r') {
    const bool good =
        ParseNumber(parts[2], 1, &path.recovery_cut) && ParseOutcome(parts[3], &path.recovery_outcome);
    if (!good) return base::Status::kInvalidArgument;
    next = 4;
  }
  if (next < parts.size() && parts[next] == "update") {
    path.starts = 3;
    ++next;
  } else if (next < parts.size()) {
    if (!ParseLoss(parts[next++], &path.first)) return base::Status::kInvalidArgument;
    if (next < parts.size()) {
      if (!ParseLoss(parts[next++], &path.second)) return base::Status::kInvalidArgument;
      path.starts = 2;
    }
  }
  if (next != parts.size()) return base::Status::kInvalidArgument;
  return path;
}

void CrashHarness::Replay(const Scenario& scenario, const StatePath& path) {
  scenario_ = &scenario;
  world_.has_factory = scenario.has_factory;
  path_ = path;
  verbose_ = true;
  std::vector<hal::SimOperation> trace;
  world_.power.trace = &trace;
  const auto settle = [&](const Outcome& outcome) {
    PrintTrace(world_, trace);
    trace.clear();
    std::printf("  %llu unsynced sectors, outcome %s\n",
                static_cast<unsigned long long>(world_.pending_touches()), outcome.Text().c_str());
    Apply(outcome);
  };
  std::printf("%s, %s:\n", scenario.name.c_str(),
              path.cut == StatePath::kNotCut ? "to its end" : "cut at its last operation below");
  Told told = scenario.told;
  if (!FirstRun(scenario, path.cut, &told)) return;
  settle(path.outcome);
  if (path.recovery_cut != StatePath::kNotCut) {
    std::printf("recovery, cut at its last operation below:\n");
    Recover(&told, path.recovery_cut);
    settle(path.recovery_outcome);
  }
  if (path.starts == 3) {
    const std::string broken = CheckUpdateStillWorks(world_);
    if (!broken.empty()) Violate(broken);
    return PrintTrace(world_, trace);
  }
  std::printf("start, lost at rest before it: %s\n", kLossNames[static_cast<size_t>(path.first)]);
  Lose(path.first);
  if (StartAndCheck(&told, path.first) && path.starts == 2) {
    std::printf("start, lost at rest before it: %s\n", kLossNames[static_cast<size_t>(path.second)]);
    Lose(path.second);
    StartAndCheck(&told, path.second);
  }
  PrintTrace(world_, trace);
  world_.power.trace = nullptr;
}

}  // namespace dipper::store
