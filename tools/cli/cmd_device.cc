// dipper device: init, provision, list (docs/how-to/provision-devices.md).
#include <fmt/format.h>

#include <ctime>
#include <filesystem>
#include <memory>

#include "agent/link/broker_address.h"
#include "agent/telemetry/topics.h"
#include "tools/cli/command.h"
#include "tools/cli/output.h"
#include "tools/cli/trust_files.h"
#include "tools/fleet/device_list.h"
#include "tools/fleet/provision.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using fleet::Access;
using fleet::DeviceRow;
using fleet::FleetFolder;
using lab::Error;
using lab::ExitCode;

// Of the authority: longer than a device is in the field, for a new one means new credentials for all.
constexpr int64_t kAuthorityDays = 7300;
constexpr int64_t kDeviceDays = 3650;

struct InitOptions {
  std::string folder;
  std::string access = "certificate";
  fleet::FleetPlan plan;
};

std::string Absolute(const std::string& path) { return std::filesystem::absolute(path).string(); }

void CheckHomeAssistant(const std::string& prefix) {
  if (telemetry::IsTopicId(prefix)) return;
  throw Error(
      ExitCode::kUsage,
      fmt::format("\"{}\" is no discovery prefix; use 1 to 64 of A-Z a-z 0-9 _ -; Home Assistant's own "
                  "is homeassistant",
                  prefix));
}

constexpr const char* kHomeAssistantHelp =
    "Devices announce themselves to Home Assistant below this prefix (its own is homeassistant), and the "
    "access "
    "list lets each write its announcements";

void CheckPlan(fleet::FleetPlan* plan) {
  if (!telemetry::IsTopicId(plan->fleet)) {
    throw Error(ExitCode::kUsage,
                fmt::format("fleet \"{}\" is not a name; use 1 to 64 of A-Z a-z 0-9 _ -", plan->fleet));
  }
  const auto address = link::ParseBrokerUrl(plan->broker);
  if (!address) {
    throw Error(ExitCode::kUsage, fmt::format("broker \"{}\" is not an address; write mqtts://HOST:PORT, as "
                                              "devices reach it",
                                              plan->broker));
  }
  plan->broker_tls = address->tls;
  if (address->tls && plan->broker_ca.empty()) {
    throw Error(ExitCode::kUsage,
                "--broker-ca is missing: devices check the broker's certificate, so they need "
                "the authority that signed it (PEM)");
  }
  if (!address->tls && plan->access == Access::kCertificate) {
    throw Error(
        ExitCode::kUsage,
        "certificates need TLS: write mqtts:// for the broker, or take --access password (which sends "
        "passwords in the clear over mqtt://, so only in a network that nobody else is in)");
  }
  if (!address->tls) Warn("mqtt:// is not encrypted: passwords and data can be read on the way");
  if (!plan->home_assistant.empty()) CheckHomeAssistant(plan->home_assistant);
  (void)LoadRoot(plan->root);  // what devices would refuse is refused here
  if (!fleet::CheckPlanFiles(*plan)) {
    Warn(fmt::format(
        "of {} only the tables were checked: there is no dipper-agent beside dipper to check its keys; "
        "run dipper-agent --check-config on the first device before the others",
        plan->settings));
  }
}

void Init(InitOptions* options) {
  fleet::FleetPlan& plan = options->plan;
  plan.access = options->access == "password" ? Access::kPassword : Access::kCertificate;
  CheckPlan(&plan);
  fleet::InitFleet(options->folder, plan);
  fmt::print("{}\n", Absolute(options->folder));
  Note(fmt::format(
      "fleet {} is ready: {}roles/publisher, roles/watcher and roles/operator for people, broker/ "
      "for Mosquitto. Keep the folder where only you can read it, and keep a backup. Next: dipper "
      "device provision --dir {} --list devices.csv",
      plan.fleet, plan.access == Access::kCertificate ? "ca.key is its authority, " : "", options->folder));
}

struct ProvisionOptions {
  std::string folder;
  std::string list;
  std::vector<std::string> ids;
  DeviceRow row;
  std::string tars;
  std::string home_assistant;
  bool replace = false;
  bool json = false;
};

std::vector<DeviceRow> RowsOf(const ProvisionOptions& options) {
  if (options.list.empty() == options.ids.empty()) {
    throw Error(ExitCode::kUsage,
                "name either devices or a list of them: dipper device provision --dir DIR gw-1, "
                "or --list devices.csv");
  }
  if (!options.list.empty()) {
    const DeviceRow& row = options.row;
    if (!row.groups.empty() || !row.models.empty() || !row.hardware.empty())
      throw Error(ExitCode::kUsage,
                  "--group, --model and --hardware are columns of the list; write them there");
    return fleet::ReadDeviceList(options.list);
  }
  std::vector<DeviceRow> rows;
  for (const std::string& id : options.ids) {
    DeviceRow row = options.row;
    row.id = id;
    const std::vector<std::string> problems = fleet::CheckDeviceRow(row);
    if (!problems.empty())
      throw Error(ExitCode::kUsage, problems.front().substr(std::string("column ").size()));
    for (const DeviceRow& other : rows) {
      if (other.id == id) throw Error(ExitCode::kUsage, fmt::format("\"{}\" is named twice", id));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

void PrintIds(const char* what, const std::vector<std::string>& ids) {
  for (const std::string& id : ids) fmt::print("{} {}\n", what, id);
}

void Provision(const ProvisionOptions& options) {
  const std::vector<DeviceRow> rows = RowsOf(options);
  if (!options.home_assistant.empty()) CheckHomeAssistant(options.home_assistant);
  FleetFolder folder = FleetFolder::Open(options.folder);
  if (!options.home_assistant.empty()) fleet::AllowHomeAssistant(&folder, options.home_assistant);
  const fleet::ProvisionResult result = fleet::Provision(&folder, rows, options.replace);
  if (!options.tars.empty()) {
    std::vector<std::string> ids;
    ids.reserve(rows.size());
    for (const DeviceRow& row : rows) ids.push_back(row.id);
    fleet::WriteTars(folder, ids, options.tars);
  }
  if (options.json) {
    Json out;
    out["fleet"] = folder.state().fleet;
    out["made"] = result.made;
    out["replaced"] = result.replaced;
    out["present"] = result.present;
    PrintJson(out);
    return;
  }
  PrintIds("made", result.made);
  PrintIds("replaced", result.replaced);
  PrintIds("present", result.present);
  if (result.made.empty() && result.replaced.empty()) {
    Note("nothing to do: every device is there with the same values");
    return;
  }
  Note(fmt::format(
      "{} made, {} replaced, {} there already. Next: copy {}/broker to the broker and reload it, and "
      "each {}/devices/ID to its device",
      result.made.size(), result.replaced.size(), result.present.size(), options.folder, options.folder));
}

std::string Day(int64_t seconds) {
  if (seconds == 0) return "-";
  const time_t time = seconds;
  struct tm parts {};
  ::gmtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

std::string Joined(const std::vector<std::string>& texts) {
  std::string text;
  for (const std::string& one : texts) text += (text.empty() ? "" : " ") + one;
  return text.empty() ? "-" : text;
}

void List(const std::string& path, bool json) {
  FleetFolder folder = FleetFolder::Open(path);
  Table table({"DEVICE", "STATE", "GROUPS", "MODELS", "HARDWARE", "MADE", "ENDS"});
  Json out = Json::array();
  for (const auto& [id, device] : folder.state().devices) {
    const char* state = device.retired ? "retired" : "active";
    if (json) {
      out.push_back({{"device", id},
                     {"state", state},
                     {"groups", device.row.groups},
                     {"models", device.row.models},
                     {"hardware", device.row.hardware},
                     {"made", device.made_s},
                     {"serial", device.serial},
                     {"not_after", device.not_after_s}});
    } else {
      table.AddRow({id, state, Joined(device.row.groups), Joined(device.row.models),
                    device.row.hardware.empty() ? "-" : device.row.hardware, Day(device.made_s),
                    device.retired ? "-" : Day(device.not_after_s)});
    }
  }
  if (json) {
    PrintJson(out);
  } else {
    table.Print();
  }
}

void AddInit(CLI::App* device) {
  const auto options = std::make_shared<InitOptions>();
  fleet::FleetPlan& plan = options->plan;
  plan.ca_days = kAuthorityDays;
  plan.device_days = kDeviceDays;
  CLI::App* init =
      device->add_subcommand("init", "Make a fleet folder: authority, roles, files for the broker");
  init->add_option("--dir", options->folder, "Folder to make (mode 0700)")->required();
  init->add_option("--fleet", plan.fleet, "Fleet name in the topics")->required();
  init->add_option("--broker", plan.broker, "mqtts://HOST:PORT, as devices reach it")->required();
  init->add_option("--broker-ca", plan.broker_ca, "Authority that signed the broker's certificate (PEM)");
  init->add_option("--root", plan.root, "Trust root that devices start with (dipper root new)")->required();
  init->add_option("--access", options->access, "How devices show who they are")
      ->check(CLI::IsMember({"certificate", "password"}))
      ->capture_default_str();
  init->add_option("--settings", plan.settings,
                   "TOML for agent.d of every device: sources, storage, limits (agent-config.md)");
  init->add_option("--home-assistant", plan.home_assistant, kHomeAssistantHelp);
  init->add_option("--ca-days", plan.ca_days, "Life of the authority")
      ->check(CLI::Range(1, 36500))
      ->capture_default_str();
  init->add_option("--days", plan.device_days, "Life of certificates")
      ->check(CLI::Range(1, 36500))
      ->capture_default_str();
  init->callback([options] { Init(options.get()); });
}

}  // namespace

void RegisterDevice(CLI::App& app, int&) {
  CLI::App* device = app.add_subcommand("device", "Provision, list, replace and retire devices");
  device->require_subcommand(1);
  AddInit(device);
  const auto options = std::make_shared<ProvisionOptions>();
  CLI::App* provision = device->add_subcommand(
      "provision", "Write identity, credentials and configuration of one device or a thousand");
  provision->add_option("--dir", options->folder, "Fleet folder")->required();
  provision->add_option("--list", options->list, "CSV: device, groups, model, hardware");
  provision->add_option("devices", options->ids, "Device ids, instead of a list");
  provision->add_option("--group", options->row.groups, "Group of the named devices (repeatable)");
  provision->add_option("--model", options->row.models, "Model of the named devices (repeatable)");
  provision->add_option("--hardware", options->row.hardware, "Hardware class of the named devices");
  provision->add_option("--tar", options->tars,
                        "Folder for an archive of each device, ID.tar, mode 0600, besides its folder");
  provision->add_option("--home-assistant", options->home_assistant, kHomeAssistantHelp);
  provision->add_flag("--replace", options->replace,
                      "New credentials also for devices that are there; the old ones end");
  provision->add_flag("--json", options->json, "Print JSON");
  provision->callback([options] { Provision(*options); });
  CLI::App* list = device->add_subcommand("list", "What the fleet folder holds");
  list->add_option("--dir", options->folder, "Fleet folder")->required();
  list->add_flag("--json", options->json, "Print JSON");
  list->callback([options] { List(options->folder, options->json); });
}

}  // namespace dipper::cli
