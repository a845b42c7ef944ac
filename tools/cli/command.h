// The commands of `dipper`: each cmd_<name>.cc adds its subcommands to the app. A callback that ends well
// leaves `exit_code` at 0; trouble is thrown as lab::Error and printed by main.
#pragma once

#include <CLI/CLI.hpp>

namespace dipper::cli {

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
