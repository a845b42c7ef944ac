// The commands of `dipper`: each cmd_<name>.cc adds its subcommands to the app. A callback that ends well
// leaves `exit_code` at 0; trouble is thrown as lab::Error and printed by main.
#pragma once

#include <CLI/CLI.hpp>

#include "agent/base/number.h"

namespace dipper::cli {

/// Checks of numbers; CLI11's own tell the range of a double with all its digits.
inline CLI::Validator AboveZero() {
  return {[](const std::string& text) {
            const auto value = base::ParseDouble(text);
            return value.ok() && *value > 0 ? std::string() : text + " is not a number above 0";
          },
          "ABOVE 0"};
}
inline CLI::Validator NotNegative() {
  return {[](const std::string& text) {
            const auto value = base::ParseDouble(text);
            return value.ok() && *value >= 0 ? std::string() : text + " is not 0 or a number above it";
          },
          "0 OR ABOVE"};
}

void RegisterSpec(CLI::App& app, int& exit_code);
void RegisterTrain(CLI::App& app, int& exit_code);
void RegisterEval(CLI::App& app, int& exit_code);
void RegisterExplain(CLI::App& app, int& exit_code);
void RegisterKey(CLI::App& app, int& exit_code);
void RegisterRoot(CLI::App& app, int& exit_code);
void RegisterDocument(CLI::App& app, int& exit_code);
void RegisterPackage(CLI::App& app, int& exit_code);
void RegisterReplay(CLI::App& app, int& exit_code);
void RegisterPublish(CLI::App& app, int& exit_code);
void RegisterWatch(CLI::App& app, int& exit_code);
void RegisterCommand(CLI::App& app, int& exit_code);
void RegisterSnapshot(CLI::App& app, int& exit_code);
/// After RegisterRoot: `root publish` needs the broker.
void RegisterRootPublish(CLI::App& app, int& exit_code);
void RegisterDevice(CLI::App& app, int& exit_code);
/// After RegisterDevice: adds to `device`.
void RegisterDeviceRetire(CLI::App& app, int& exit_code);

}  // namespace dipper::cli
