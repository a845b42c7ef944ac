// The fleet folder: who the devices of a fleet are, their authority, what the broker needs, and a folder for
// each device. docs/how-to/provision-devices.md shows it. One command at a time works on it (a lock). Every
// change is complete or not there: what is secret has mode 0600 from its first byte, and fleet.json, which
// says what counts, is replaced as a whole. Errors are lab::Error. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tools/fleet/certificates.h"

namespace dipper::fleet {

enum class Access : uint8_t { kCertificate, kPassword };

/// What the list of devices says of one.
struct DeviceRow {
  std::string id;
  std::vector<std::string> groups;
  std::vector<std::string> models;
  std::string hardware;
  bool operator==(const DeviceRow&) const = default;
};

/// Who may connect: a device, or a person's role.
struct Member {
  DeviceRow row;
  bool retired = false;
  std::string serial;       ///< Certificate.
  int64_t not_after_s = 0;  ///< Certificate.
  std::string hash;         ///< Password, as Mosquitto stores it.
  int64_t made_s = 0;
};

struct FleetState {
  std::string fleet;
  std::string broker;
  bool broker_tls = false;
  Access access = Access::kCertificate;
  int64_t days = 0;            ///< Of device certificates.
  std::string home_assistant;  ///< Prefix of its discovery topics, which devices may write; empty: none.
  uint64_t list_number = 0;
  std::map<std::string, Member> devices;
  std::map<std::string, Member> roles;  ///< By the names of kRoles.
  std::vector<Revoked> revoked;
};

/// Roles of people and programs at the broker. As user names they are "role.<name>": no device can be called
/// so, for its id has no dot.
inline constexpr const char* kRoles[] = {"publisher", "watcher", "operator"};
std::string RoleUser(const std::string& role);

/// Holds the lock while it lives.
class FleetFolder {
 public:
  /// An existing one. Throws: 3 not found, 1 damaged or in use.
  static FleetFolder Open(const std::string& path);
  /// A new one: `path` does not exist or is empty. Throws: 4 it is not.
  static FleetFolder Create(const std::string& path);
  ~FleetFolder();
  FleetFolder(FleetFolder&& other) noexcept;
  FleetFolder& operator=(FleetFolder&&) = delete;
  FleetFolder(const FleetFolder&) = delete;
  FleetFolder& operator=(const FleetFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  FleetState& state() { return state_; }
  Credential Authority() const;

  /// Writes the broker's files and then fleet.json: from here on the state counts.
  void Commit();

 private:
  FleetFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::string path_;
  int lock_ = -1;
  FleetState state_;
};

/// Writes a file beside and renames it; a secret one is never readable for others. `synced`: also after a
/// power cut, else only once SyncFleetFiles has been called.
void WriteFleetFile(const std::string& path, const std::string& text, bool secret, bool synced = true);
/// Everything written below `folder` survives a power cut. One call for thousands of files.
void SyncFleetFiles(const std::string& folder);
/// Throws when it cannot be made.
void MakeFleetFolder(const std::string& path, bool secret);

/// The files of Mosquitto: what docs/how-to/provision-devices.md installs.
std::string PasswordFileText(const FleetState& state);
std::string AccessListText(const FleetState& state);
std::string BrokerConfigText(const FleetState& state);

}  // namespace dipper::fleet
