// What dipper device does: make a fleet folder, provision, retire and replace devices in it. No terminal.
// Errors are lab::Error. Not thread-safe.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tools/fleet/fleet_folder.h"

namespace dipper::fleet {

struct FleetPlan {
  std::string fleet;
  std::string broker;  ///< URL, as devices reach it.
  bool broker_tls = false;
  std::string broker_ca;       ///< File; with TLS.
  std::string root;            ///< Trust root; a file.
  std::string settings;        ///< TOML for every device's agent.d; a file, or empty.
  std::string home_assistant;  ///< Prefix of its discovery topics; empty: devices announce nothing.
  Access access = Access::kCertificate;
  int64_t ca_days = 0;
  int64_t device_days = 0;
};

/// Checks the broker's authority and the settings before anything is made. Throws (2).
/// @returns false: the settings' tables were checked and not their keys (settings_check.h).
bool CheckPlanFiles(const FleetPlan& plan);

/// Makes the folder with authority, roles and the broker's files.
void InitFleet(const std::string& path, const FleetPlan& plan);

struct ProvisionResult {
  std::vector<std::string> made;
  std::vector<std::string> replaced;
  std::vector<std::string> present;  ///< Were there with the same row: not touched.
};

/// All of `rows` or none. Devices that are there with the same row are left alone; with another row, retired
/// or with missing files they need `replace`. `replace` makes new credentials for every row and kills the
/// old. Throws: 4 when a device needs `replace`; nothing was changed.
ProvisionResult Provision(FleetFolder* folder, std::span<const DeviceRow> rows, bool replace);

/// From here on devices may announce themselves to Home Assistant below `prefix`, and those that are made are
/// configured to.
void AllowHomeAssistant(FleetFolder* folder, const std::string& prefix);

/// Writes `to`/<id>.tar for each device, mode 0600: its folder, for `tar -x` on the device. Makes `to` (mode
/// 0700).
void WriteTars(const FleetFolder& folder, std::span<const std::string> ids, const std::string& to);

/// Revokes a device: its credentials end, its folder at the desk is removed, its id stays taken.
/// @returns false: it was retired already.
/// Throws: 3 there is no such device, with a suggestion.
bool Retire(FleetFolder* folder, const std::string& id);

/// The row of a device. Throws: 3 as Retire.
const Member& FindDevice(FleetFolder* folder, const std::string& id);

/// Folder of a device or role, and the file of its certificate, key or password in it.
std::string DeviceFolder(const FleetFolder& folder, const std::string& id);
std::string RoleFolder(const FleetFolder& folder, const std::string& role);

}  // namespace dipper::fleet
