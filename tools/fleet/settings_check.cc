// Implementation of settings_check.h.
#include "tools/fleet/settings_check.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "tools/fleet/fleet_folder.h"
#include "tools/lab/error.h"

namespace dipper::fleet {
namespace {

using lab::Error;
using lab::ExitCode;
namespace fs = std::filesystem;

// The tables of docs/reference/agent-config.md; their keys are the agent's to know.
const std::vector<std::string> kTables = {"device", "mqtt",     "storage", "model",    "trust",
                                          "source", "join",     "labels",  "privacy",  "telemetry",
                                          "health", "watchdog", "control", "recorder", "snapshot"};

std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// A folder that goes away again.
class Folder {
 public:
  Folder() : path_((fs::temp_directory_path() / "dipper-settings-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr)
      throw Error(ExitCode::kFailure, fmt::format("cannot make a folder in {}; is the disk full?",
                                                  fs::temp_directory_path().string()));
  }
  ~Folder() {
    std::error_code none;
    fs::remove_all(path_, none);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// What it printed, and its exit code; -1: it did not run to its end.
std::string Run(const std::string& command, int* code) {
  std::string text;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  *code = -1;
  if (pipe == nullptr) return text;
  std::array<char, 4096> part{};
  for (size_t got = 0; (got = std::fread(part.data(), 1, part.size(), pipe)) > 0;)
    text.append(part.data(), got);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) *code = WEXITSTATUS(status);
  return text;
}

void Replace(std::string* text, const std::string& what, const std::string& with) {
  for (size_t at = 0; (at = text->find(what, at)) != std::string::npos; at += with.size())
    text->replace(at, what.size(), with);
}

}  // namespace

std::vector<std::string> ReadSettings(const std::string& name, const std::string& text) {
  std::vector<std::string> models;
  try {
    const toml::table table = toml::parse(text);
    for (const auto& [key, node] : table) {
      const std::string word(key.str());
      if (std::ranges::find(kTables, word) == kTables.end()) {
        throw Error(ExitCode::kUsage,
                    fmt::format("{}:{}: agent.toml has no table [{}]{}", name, node.source().begin.line, word,
                                lab::Suggestion(word, kTables)));
      }
    }
    const toml::array* entries = table["model"].as_array();
    for (size_t i = 0; entries != nullptr && i < entries->size(); ++i) {
      const auto* entry = entries->get_as<toml::table>(i);
      const auto id = entry == nullptr ? std::nullopt : (*entry)["id"].value<std::string>();
      if (id) models.push_back(*id);
    }
  } catch (const toml::parse_error& error) {
    throw Error(ExitCode::kUsage, fmt::format("{}:{}: this is no TOML: {}", name, error.source().begin.line,
                                              error.description()));
  }
  return models;
}

bool CheckSettings(const std::string& name, const std::string& text, const std::string& agent_toml) {
  std::error_code none;
  const fs::path agent = fs::read_symlink("/proc/self/exe", none).parent_path() / "dipper-agent";
  if (::access(agent.c_str(), X_OK) != 0) return false;
  const Folder folder;
  MakeFleetFolder(folder / "agent.d", true);
  WriteFleetFile(folder / "agent.toml", agent_toml, true, false);
  WriteFleetFile(folder / "agent.d/50-fleet.toml", text, true, false);
  // Without this desk's environment: devices have their own.
  int code = -1;
  std::string said = Run("env -i " + Quoted(agent.string()) + " --check-config --offline --config " +
                             Quoted(folder / "agent.toml") + " 2>&1",
                         &code);
  if (code == 0) return true;
  if (code != 2)
    return false;  // it did not come to read: another machine's program, or one that cannot start
  Replace(&said, folder / "agent.d/50-fleet.toml", name);
  Replace(&said, folder / "", "");
  while (!said.empty() && said.back() == '\n') said.pop_back();
  throw Error(ExitCode::kUsage,
              fmt::format("devices would not start with {}; nothing was made:\n{}", name, said));
}

}  // namespace dipper::fleet
