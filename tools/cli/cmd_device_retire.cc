// dipper device retire and replace: old credentials end, what a device left on the broker is cleared
// (docs/how-to/provision-devices.md).
#include <fmt/format.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <memory>

#include "tools/cli/command.h"
#include "tools/cli/device_topics.h"
#include "tools/cli/device_wipe.h"
#include "tools/cli/output.h"
#include "tools/fleet/provision.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using fleet::FleetFolder;
using lab::Error;
using lab::ExitCode;

struct RetireOptions {
  std::string folder;
  std::vector<std::string> ids;
  std::string reload;
  std::string broker;
  std::string broker_ca;
  std::vector<std::string> command_keys;  ///< Wipe the devices first; empty: leave what they hold.
  int64_t wipe_wait_s = 60;
  bool offline = false;
  bool json = false;
};

/// The operator's own command, by the shell: what a broker needs to read its files anew.
void Reload(const std::string& command) {
  if (command.empty()) return;
  std::fflush(stdout);
  const int status = std::system(command.c_str());
  if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  throw Error(ExitCode::kFailure,
              fmt::format("the files are written, but --reload ended with {}: until the broker has read them "
                          "the old credentials work; repair it and run the same command again",
                          status == -1 || !WIFEXITED(status) ? -1 : WEXITSTATUS(status)));
}

MqttOptions OperatorOptions(FleetFolder* folder, const RetireOptions& options) {
  const fleet::FleetState& state = folder->state();
  const std::string role = fleet::RoleFolder(*folder, "operator");
  MqttOptions mqtt;
  mqtt.broker = options.broker.empty() ? state.broker : options.broker;
  mqtt.fleet = state.fleet;
  if (state.broker_tls) mqtt.ca = options.broker_ca.empty() ? *folder / "broker-ca.pem" : options.broker_ca;
  if (state.access == fleet::Access::kPassword) {
    mqtt.user = fleet::RoleUser("operator");
    mqtt.password_file = role + "/mqtt.password";
  } else {
    mqtt.cert = role + "/device.pem";
    mqtt.key = role + "/device.key";
  }
  return mqtt;
}

/// Before anything else: a device whose credentials have ended hears nothing any more. Throws when one of
/// them did not tell its end, with what each of them said; nothing was changed at this desk.
void Wipe(FleetFolder* folder, const RetireOptions& options, const std::vector<std::string>& ids) {
  if (options.command_keys.empty() || ids.empty()) return;
  MqttClient client(OperatorOptions(folder, options));
  const std::vector<WipedDevice> told =
      WipeDevices(client, {.fleet = folder->state().fleet,
                           .devices = ids,
                           .command_keys = options.command_keys,
                           .root = *folder / "root.dproot",
                           .wait = std::chrono::seconds(options.wipe_wait_s)});
  std::string trouble;
  for (const WipedDevice& one : told) {
    using State = WipedDevice::State;
    if (one.state == State::kWiped) {
      Note(fmt::format("{} is erased{}", one.device, one.detail.empty() ? "" : ", but: " + one.detail));
      continue;
    }
    trouble += fmt::format("{}{} {}", trouble.empty() ? "" : "; ", one.device,
                           one.state == State::kRefused    ? "refused (" + one.detail + ")"
                           : one.state == State::kAnswered ? "erases and has not told the end"
                                                           : "did not answer");
  }
  if (trouble.empty()) return;
  throw Error(
      ExitCode::kUnreachable,
      fmt::format("within {} s: {}. No credentials were ended. The broker keeps the command for a device "
                  "that is away, for an hour: run the same command again, with a longer --wipe-wait, or "
                  "without --command-key to leave what it holds",
                  options.wipe_wait_s, trouble));
}

struct Retired {
  std::string id;
  bool now = false;
  ClearedTopics cleared;
};

Json RetiredJson(const Retired& one, bool offline) {
  Json json;
  json["device"] = one.id;
  json["state"] = one.now ? "retired" : "was_retired";
  if (!offline) {
    json["cleared"] = one.cleared.topics;
    json["still_connected"] = one.cleared.alive;
  }
  return json;
}

void Clear(FleetFolder* folder, const RetireOptions& options, std::vector<Retired>* retired) {
  try {
    MqttClient client(OperatorOptions(folder, options));
    const fleet::FleetState& state = folder->state();
    for (Retired& one : *retired)
      one.cleared = ClearDeviceTopics(client, state.fleet, one.id, state.home_assistant);
  } catch (const Error& error) {
    throw Error(error.code(),
                fmt::format("the credentials are revoked in {}/broker, but the retained topics are "
                            "not cleared: {}; run the same command again, or with --offline to "
                            "leave them",
                            options.folder, error.what()));
  }
}

bool Print(const std::vector<Retired>& retired, const RetireOptions& options) {
  bool alive = false;
  Json out = Json::array();
  for (const Retired& one : retired) {
    alive = alive || one.cleared.alive;
    if (options.json) {
      out.push_back(RetiredJson(one, options.offline));
      continue;
    }
    fmt::print("{} {}{}\n", one.now ? "retired" : "was retired already:", one.id,
               options.offline ? "" : fmt::format(", {} retained topics cleared", one.cleared.topics.size()));
    if (one.cleared.alive) {
      Warn(
          fmt::format("{} is still connected and publishes: the broker has not read the new files; copy "
                      "{}/broker to it, reload it, and run the same command again",
                      one.id, options.folder));
    }
  }
  if (options.json) PrintJson(out);
  return alive;
}

int Retire(const RetireOptions& options) {
  FleetFolder folder = FleetFolder::Open(options.folder);
  for (const std::string& id : options.ids) (void)fleet::FindDevice(&folder, id);  // all or none
  std::vector<std::string> active;
  for (const std::string& id : options.ids) {
    if (!fleet::FindDevice(&folder, id).retired) active.push_back(id);
  }
  Wipe(&folder, options, active);
  std::vector<Retired> retired;
  for (const std::string& id : options.ids)
    retired.push_back({.id = id, .now = fleet::Retire(&folder, id), .cleared = {}});
  Reload(options.reload);
  if (!options.offline) Clear(&folder, options, &retired);
  const bool alive = Print(retired, options);
  if (options.reload.empty()) {
    Note(fmt::format("copy {}/broker to the broker and reload it: until then the old credentials work",
                     options.folder));
  }
  if (options.command_keys.empty()) {
    Note(
        "what the device itself learned and holds is still there; --command-key would have erased it first. "
        "Run "
        "dipper-agent factory-reset on it, or destroy its storage");
  }
  return alive ? static_cast<int>(ExitCode::kNeedsConfirmation) : 0;
}

void Replace(const RetireOptions& options) {
  FleetFolder folder = FleetFolder::Open(options.folder);
  std::vector<fleet::DeviceRow> rows;
  for (const std::string& id : options.ids) rows.push_back(fleet::FindDevice(&folder, id).row);
  Wipe(&folder, options, options.ids);
  const fleet::ProvisionResult result = fleet::Provision(&folder, rows, true);
  Reload(options.reload);
  if (options.json) {
    PrintJson(Json{{"replaced", result.replaced}});
  } else {
    for (const std::string& id : result.replaced)
      fmt::print("replaced {}: {}\n", id, fleet::DeviceFolder(folder, id));
  }
  if (options.reload.empty()) {
    Note(
        fmt::format("copy {}/broker to the broker and reload it: until then the old credentials work and the "
                    "new ones do not",
                    options.folder));
  }
}

void AddCommon(CLI::App* command, const std::shared_ptr<RetireOptions>& options) {
  command->add_option("--dir", options->folder, "Fleet folder")->required();
  command->add_option("devices", options->ids, "Device ids")->required();
  command->add_option("--reload", options->reload,
                      "Shell command that brings the new files to the broker and makes it read them");
  command->add_option("--command-key", options->command_keys,
                      "Erase first what the device has learned and holds, by a signed command: key of the "
                      "command role; again for more");
  command->add_option("--wipe-wait", options->wipe_wait_s, "Seconds to wait until it has erased")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  command->add_option("--broker", options->broker,
                      "Broker as this desk reaches it; else the devices' address");
  command->add_option("--ca", options->broker_ca, "Its authority (PEM); else the devices'");
  command->add_flag("--json", options->json, "Print JSON");
}

}  // namespace

void RegisterDeviceRetire(CLI::App& app, int& exit_code) {
  CLI::App* device = app.get_subcommand("device");
  const auto options = std::make_shared<RetireOptions>();
  CLI::App* retire = device->add_subcommand(
      "retire", "End a device: revoke its credentials and clear what it left on the broker");
  AddCommon(retire, options);
  retire->add_flag("--offline", options->offline, "Leave the broker's retained topics");
  retire->callback([options, &exit_code] { exit_code = Retire(*options); });
  CLI::App* replace = device->add_subcommand(
      "replace", "New credentials for a device id, for a new board or after a theft; the old ones end");
  AddCommon(replace, options);
  replace->callback([options] { Replace(*options); });
}

}  // namespace dipper::cli
