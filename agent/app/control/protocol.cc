// Implementation of protocol.h.
#include "agent/app/control/protocol.h"

#include <algorithm>
#include <array>

#include "agent/base/number.h"
#include "agent/package/format.h"

namespace dipper::app {
namespace {

constexpr std::array<std::string_view, 9> kVerbs = {
    "status", "slots", "log", "install", "confirm", "fall_back", "undo", "factory_reset", "recording"};

std::string_view TakeWord(std::string_view* line) {
  const size_t end = std::min(line->find(' '), line->size());
  const std::string_view word = line->substr(0, end);
  line->remove_prefix(std::min(end + 1, line->size()));
  return word;
}

bool ParseFlag(std::string_view text, bool* flag) {
  *flag = text == "1";
  return text == "1" || text == "0";
}

std::string ParseOption(std::string_view key, std::string_view value, ControlRequest* request) {
  bool good = false;
  if (key == "model") {
    good = package::IsId(value);
    request->model = value;
  } else if (key == "format") {
    good = value == "json" || value == "text";
    request->json = value == "json";
  } else if (key == "follow") {
    good = ParseFlag(value, &request->follow);
  } else if (key == "wait") {
    good = ParseFlag(value, &request->wait);
  } else if (key == "yes") {
    good = ParseFlag(value, &request->yes);
  } else if (key == "write") {
    good = ParseFlag(value, &request->write);
  } else if (key == "count") {
    const auto count = base::ParseUint(value);
    good = count.ok() && *count <= kMaxLogCount;
    if (good) request->count = *count;
  } else {
    return "unknown option " + std::string(key.substr(0, 32));
  }
  return good ? std::string() : "bad value of " + std::string(key);
}

}  // namespace

std::string_view VerbText(ControlVerb verb) { return kVerbs[static_cast<size_t>(verb)]; }

std::string RequestLine(const ControlRequest& request) {
  std::string line = std::string(kControlGreeting) + " " + std::string(VerbText(request.verb));
  if (!request.model.empty()) line += " model=" + request.model;
  line += request.json ? " format=json" : " format=text";
  if (request.verb == ControlVerb::kLog) {
    line += " count=" + std::to_string(request.count) + (request.follow ? " follow=1" : " follow=0");
  }
  if (request.verb == ControlVerb::kInstall) line += request.wait ? " wait=1" : " wait=0";
  if (request.verb == ControlVerb::kFactoryReset) line += request.yes ? " yes=1" : " yes=0";
  if (request.verb == ControlVerb::kRecording) line += request.write ? " write=1" : " write=0";
  return line + "\n";
}

std::string ParseRequest(std::string_view line, ControlRequest* request) {
  *request = {};
  const bool plain = std::ranges::all_of(line, [](char c) { return c >= 0x20 && c < 0x7f; });
  if (!plain || TakeWord(&line) != kControlGreeting) {
    return "not a request of this protocol (" + std::string(kControlGreeting) +
           "): are client and agent of the same version?";
  }
  const auto verb = std::ranges::find(kVerbs, TakeWord(&line));
  if (verb == kVerbs.end()) return "unknown request: are client and agent of the same version?";
  request->verb = static_cast<ControlVerb>(verb - kVerbs.begin());
  while (!line.empty()) {
    const std::string_view word = TakeWord(&line);
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) return "an option without a value";
    std::string problem = ParseOption(word.substr(0, equals), word.substr(equals + 1), request);
    if (!problem.empty()) return problem;
  }
  return {};
}

}  // namespace dipper::app
