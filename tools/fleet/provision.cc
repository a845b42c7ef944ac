// Implementation of provision.h.
//
// Order of a change: new device folders are made complete beside the real ones, then put in place, then the
// broker's files and fleet.json are written (FleetFolder::Commit). A run that is cut off before the end left
// folders whose credentials no broker knows; the next run of the same list makes them anew.
#include "tools/fleet/provision.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "agent/telemetry/topics.h"
#include "tools/fleet/settings_check.h"
#include "tools/fleet/tar_file.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::fleet {
namespace {

using lab::Error;
using lab::ExitCode;
namespace fs = std::filesystem;

constexpr const char* kSettings = "settings.toml";
constexpr const char* kBrokerCa = "broker-ca.pem";
constexpr const char* kRoot = "root.dproot";

std::string TextList(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "\"" : ", \"") + text + "\"";
  return "[" + list + "]";
}

std::string AgentToml(const FleetState& state, const DeviceRow& row) {
  std::string text = fmt::format(
      "# Made by dipper device provision. What differs here goes into agent.d/*.toml.\n"
      "[device]\nid = \"{}\"\nfleet = \"{}\"\ngroups = {}\n",
      row.id, state.fleet, TextList(row.groups));
  if (!row.hardware.empty()) text += fmt::format("hardware = \"{}\"\n", row.hardware);
  text += fmt::format("\n[mqtt]\nurl = \"{}\"\n", state.broker);
  if (state.broker_tls) text += fmt::format("ca_file = \"{}\"\n", kBrokerCa);
  text += state.access == Access::kPassword
              ? fmt::format("username = \"{}\"\npassword_file = \"mqtt.password\"\n", row.id)
              : "cert_file = \"device.pem\"\nkey_file = \"device.key\"\n";
  if (!state.home_assistant.empty())
    text += fmt::format("json_mirror = true\nhome_assistant = \"{}\"\n", state.home_assistant);
  text +=
      "\n[storage]\nboot = \"state/boot.img\"\ndata = \"state/data.img\"\ncreate = true\n\n[trust]\nroot = "
      "\"root.dproot\"\n";
  const std::vector<std::string> models = row.models.empty() ? std::vector<std::string>{"main"} : row.models;
  for (const std::string& model : models)
    text += fmt::format(
        "\n[[model]]\nid = \"{0}\"\nslot_a = \"state/{0}_a.img\"\nslot_b = \"state/{0}_b.img\"\n", model);
  return text + "\n[[source]]\nkind = \"system\"\n";
}

// Credentials of `user` as files in `folder`, and what the fleet keeps of them.
void WriteCredentials(const FleetState& state, const Credential& authority, const std::string& user,
                      const std::string& folder, Member* member) {
  member->made_s = std::time(nullptr);
  if (state.access == Access::kPassword) {
    const std::string password = MakePassword();
    member->hash = HashPassword(password);
    WriteFleetFile(folder + "/mqtt.password", password + "\n", true, false);
    return;
  }
  const Credential credential = MakeClientCertificate(authority, user, state.days);
  member->serial = credential.serial;
  member->not_after_s = credential.not_after_s;
  WriteFleetFile(folder + "/device.key", credential.key, true, false);
  WriteFleetFile(folder + "/device.pem", credential.certificate, false, false);
}

void CopyCommon(const FleetFolder& folder, bool tls, const std::string& to) {
  WriteFleetFile(to + "/" + kRoot, lab::ReadTextFile(folder / kRoot), false, false);
  if (tls) WriteFleetFile(to + "/" + kBrokerCa, lab::ReadTextFile(folder / kBrokerCa), false, false);
  if (::access((folder / kSettings).c_str(), F_OK) != 0) return;
  MakeFleetFolder(to + "/agent.d", false);
  WriteFleetFile(to + "/agent.d/50-fleet.toml", lab::ReadTextFile(folder / kSettings), false, false);
}

void MakeDevice(FleetFolder* folder, const Credential& authority, const std::string& at, Member* member) {
  const FleetState& state = folder->state();
  MakeFleetFolder(at, true);
  MakeFleetFolder(at + "/state", true);
  WriteCredentials(state, authority, member->row.id, at, member);
  CopyCommon(*folder, state.broker_tls, at);
  WriteFleetFile(at + "/agent.toml", AgentToml(state, member->row), false, false);
}

void Put(const std::string& from, const std::string& to) {
  fs::remove_all(to);
  if (::rename(from.c_str(), to.c_str()) != 0) {
    throw Error(ExitCode::kFailure, fmt::format("cannot make {}: {}; nothing of it counts, run it again", to,
                                                std::strerror(errno)));
  }
}

// Why a device that is there cannot stay as it is; empty: it can.
std::string Difference(const FleetFolder& folder, const Member& there, const DeviceRow& row) {
  if (there.retired) return "is retired";
  if (!(there.row == row)) {
    return fmt::format("is there with groups {}, models {}, hardware \"{}\"", TextList(there.row.groups),
                       TextList(there.row.models), there.row.hardware);
  }
  if (::access((DeviceFolder(folder, row.id) + "/agent.toml").c_str(), F_OK) != 0)
    return "is there, but its folder was moved away";
  return {};
}

// Which rows are made; the others are there already.
std::vector<DeviceRow> RowsToMake(FleetFolder* folder, std::span<const DeviceRow> rows, bool replace,
                                  ProvisionResult* result) {
  std::vector<DeviceRow> make;
  std::string differences;
  for (const DeviceRow& row : rows) {
    const auto there = folder->state().devices.find(row.id);
    if (there == folder->state().devices.end()) {
      make.push_back(row);
      result->made.push_back(row.id);
    } else if (replace) {
      make.push_back(row);
      result->replaced.push_back(row.id);
    } else if (const std::string difference = Difference(*folder, there->second, row); difference.empty()) {
      result->present.push_back(row.id);
    } else {
      differences += row.id + " " + difference + "\n";
    }
  }
  if (!differences.empty()) {
    throw Error(ExitCode::kNeedsConfirmation,
                differences +
                    "nothing was provisioned; --replace makes new credentials for every device of the list "
                    "and ends the old ones");
  }
  return make;
}

void Revoke(FleetState* state, Member* member) {
  if (!member->serial.empty()) state->revoked.push_back({member->serial, std::time(nullptr)});
  member->serial.clear();
  member->hash.clear();
}

}  // namespace

std::string DeviceFolder(const FleetFolder& folder, const std::string& id) {
  return folder / ("devices/" + id);
}
std::string RoleFolder(const FleetFolder& folder, const std::string& role) {
  return folder / ("roles/" + role);
}

bool CheckPlanFiles(const FleetPlan& plan) {
  if (plan.broker_tls) {
    const std::string problem = CertificatesProblem(lab::ReadTextFile(plan.broker_ca));
    if (!problem.empty())
      throw Error(ExitCode::kUsage, fmt::format("--broker-ca {}: {}", plan.broker_ca, problem));
  }
  if (plan.settings.empty()) return true;
  const std::string settings = lab::ReadTextFile(plan.settings);
  FleetState state;
  state.fleet = plan.fleet;
  state.broker = plan.broker;
  state.broker_tls = plan.broker_tls;
  state.access = plan.access;
  state.home_assistant = plan.home_assistant;
  // A device that has every model which the settings say something about.
  const DeviceRow row{
      .id = "device", .groups = {}, .models = ReadSettings(plan.settings, settings), .hardware = {}};
  return CheckSettings(plan.settings, settings, AgentToml(state, row));
}

void InitFleet(const std::string& path, const FleetPlan& plan) {
  // Read first: a wrong name changes nothing.
  const std::string root = lab::ReadTextFile(plan.root);
  const std::string broker_ca = plan.broker_tls ? lab::ReadTextFile(plan.broker_ca) : "";
  const std::string settings = plan.settings.empty() ? "" : lab::ReadTextFile(plan.settings);
  FleetFolder folder = FleetFolder::Create(path);
  FleetState& state = folder.state();
  state = {.fleet = plan.fleet,
           .broker = plan.broker,
           .broker_tls = plan.broker_tls,
           .access = plan.access,
           .days = plan.device_days,
           .home_assistant = plan.home_assistant,
           .list_number = 0,
           .devices = {},
           .roles = {},
           .revoked = {}};
  Credential authority;
  if (plan.access == Access::kCertificate) {
    authority = MakeAuthority("dipper fleet " + plan.fleet, plan.ca_days);
    WriteFleetFile(folder / "ca.key", authority.key, true);
    WriteFleetFile(folder / "ca.pem", authority.certificate, false);
  }
  WriteFleetFile(folder / kRoot, root, false);
  if (plan.broker_tls) WriteFleetFile(folder / kBrokerCa, broker_ca, false);
  if (!plan.settings.empty()) WriteFleetFile(folder / kSettings, settings, false);
  MakeFleetFolder(folder / "devices", true);
  MakeFleetFolder(folder / "roles", true);
  for (const char* role : kRoles) {
    MakeFleetFolder(RoleFolder(folder, role), true);
    Member& member = state.roles[role];
    WriteCredentials(state, authority, RoleUser(role), RoleFolder(folder, role), &member);
  }
  SyncFleetFiles(path);
  folder.Commit();
}

ProvisionResult Provision(FleetFolder* folder, std::span<const DeviceRow> rows, bool replace) {
  ProvisionResult result;
  const std::vector<DeviceRow> make = RowsToMake(folder, rows, replace, &result);
  if (make.empty()) return result;
  const std::string staging = *folder / ".new";
  fs::remove_all(staging);
  MakeFleetFolder(staging, true);
  FleetState state = folder->state();
  const Credential authority = state.access == Access::kCertificate ? folder->Authority() : Credential();
  for (const DeviceRow& row : make) {
    Member& member = state.devices[row.id];
    Revoke(&state, &member);
    member = {.row = row, .retired = false, .serial = {}, .not_after_s = 0, .hash = {}, .made_s = 0};
    MakeDevice(folder, authority, staging + "/" + row.id, &member);
  }
  SyncFleetFiles(staging);
  for (const DeviceRow& row : make) Put(staging + "/" + row.id, DeviceFolder(*folder, row.id));
  fs::remove_all(staging);
  folder->state() = std::move(state);
  folder->Commit();
  return result;
}

void AllowHomeAssistant(FleetFolder* folder, const std::string& prefix) {
  if (folder->state().home_assistant == prefix) return;
  folder->state().home_assistant = prefix;
  folder->Commit();
}

void WriteTars(const FleetFolder& folder, std::span<const std::string> ids, const std::string& to) {
  if (ids.empty()) return;
  MakeFleetFolder(to, true);
  for (const std::string& id : ids)
    WriteFleetFile(to + "/" + id + ".tar", TarOfFolder(DeviceFolder(folder, id)), true, false);
  SyncFleetFiles(to);
}

const Member& FindDevice(FleetFolder* folder, const std::string& id) {
  const auto& devices = folder->state().devices;
  const auto found = devices.find(id);
  if (found != devices.end()) return found->second;
  std::vector<std::string> names;
  names.reserve(devices.size());
  for (const auto& [name, device] : devices) names.push_back(name);
  throw Error(ExitCode::kNotFound, fmt::format("there is no device \"{}\" in {}{}", id, folder->path(),
                                               lab::Suggestion(id, names)));
}

bool Retire(FleetFolder* folder, const std::string& id) {
  (void)FindDevice(folder, id);
  Member& member = folder->state().devices[id];
  if (member.retired) return false;
  Revoke(&folder->state(), &member);
  member.retired = true;
  folder->Commit();
  fs::remove_all(DeviceFolder(*folder, id));
  return true;
}

}  // namespace dipper::fleet
