// Implementation of fleet_folder.h: fleet.json, the lock, files that are whole and private.
#include "tools/fleet/fleet_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::fleet {
namespace {

using lab::Error;
using lab::ExitCode;
using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr mode_t kSecretMode = 0600, kOpenMode = 0644;
constexpr mode_t kSecretFolderMode = 0700, kOpenFolderMode = 0755;

[[noreturn]] void Fail(const std::string& what, const std::string& path) {
  throw Error(ExitCode::kFailure, fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

Json MemberJson(const Member& member) {
  Json json;
  json["groups"] = member.row.groups;
  json["models"] = member.row.models;
  json["hardware"] = member.row.hardware;
  json["retired"] = member.retired;
  json["serial"] = member.serial;
  json["not_after"] = member.not_after_s;
  json["hash"] = member.hash;
  json["made"] = member.made_s;
  return json;
}

Member MemberOf(const std::string& id, const Json& json) {
  Member member;
  member.row.id = id;
  json.at("groups").get_to(member.row.groups);
  json.at("models").get_to(member.row.models);
  json.at("hardware").get_to(member.row.hardware);
  json.at("retired").get_to(member.retired);
  json.at("serial").get_to(member.serial);
  json.at("not_after").get_to(member.not_after_s);
  json.at("hash").get_to(member.hash);
  json.at("made").get_to(member.made_s);
  return member;
}

Json Members(const std::map<std::string, Member>& members) {
  Json json = Json::object();
  for (const auto& [id, member] : members) json[id] = MemberJson(member);
  return json;
}

std::string StateText(const FleetState& state) {
  Json json;
  json["format"] = kFormat;
  json["fleet"] = state.fleet;
  json["broker"] = state.broker;
  json["broker_tls"] = state.broker_tls;
  json["access"] = state.access == Access::kPassword ? "password" : "certificate";
  json["days"] = state.days;
  if (!state.home_assistant.empty()) json["home_assistant"] = state.home_assistant;
  json["list_number"] = state.list_number;
  json["devices"] = Members(state.devices);
  json["roles"] = Members(state.roles);
  json["revoked"] = Json::array();
  for (const Revoked& one : state.revoked)
    json["revoked"].push_back({{"serial", one.serial}, {"time", one.time_s}});
  return json.dump(1) + "\n";
}

FleetState ParseState(const std::string& text) {
  const Json json = Json::parse(text);
  FleetState state;
  if (json.at("format").get<int>() != kFormat) {
    throw Error(ExitCode::kFailure,
                "fleet.json has a format that this dipper does not know; use the newer dipper that wrote it");
  }
  json.at("fleet").get_to(state.fleet);
  json.at("broker").get_to(state.broker);
  json.at("broker_tls").get_to(state.broker_tls);
  state.access =
      json.at("access").get<std::string>() == "password" ? Access::kPassword : Access::kCertificate;
  json.at("days").get_to(state.days);
  state.home_assistant = json.value("home_assistant", "");
  json.at("list_number").get_to(state.list_number);
  for (const auto& [id, member] : json.at("devices").items()) state.devices[id] = MemberOf(id, member);
  for (const auto& [role, member] : json.at("roles").items()) state.roles[role] = MemberOf(role, member);
  for (const Json& one : json.at("revoked"))
    state.revoked.push_back({one.at("serial").get<std::string>(), one.at("time").get<int64_t>()});
  return state;
}

int Lock(const std::string& folder) {
  const std::string path = folder + "/.lock";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kSecretMode);
  if (file < 0) Fail("make", path);
  if (::flock(file, LOCK_EX | LOCK_NB) == 0) return file;
  ::close(file);
  throw Error(ExitCode::kFailure,
              fmt::format("another dipper device works on {}; wait until it is done and try again", folder));
}

}  // namespace

void MakeFleetFolder(const std::string& path, bool secret) {
  const mode_t mode = secret ? kSecretFolderMode : kOpenFolderMode;
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) Fail("make the folder", path);
  if (::chmod(path.c_str(), mode) != 0) Fail("make the folder", path);
}

void WriteFleetFile(const std::string& path, const std::string& text, bool secret, bool synced) {
  const std::string beside = path + ".part";
  ::unlink(beside.c_str());  // of a run that was cut off; the lock says that nobody writes it now
  const mode_t mode = secret ? kSecretMode : kOpenMode;
  const int file = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (file < 0) Fail("write", path);
  bool good = ::fchmod(file, mode) == 0;
  for (size_t at = 0; good && at < text.size();) {
    const ssize_t written = ::write(file, text.data() + at, text.size() - at);
    good = written > 0 || (written < 0 && errno == EINTR);
    if (written > 0) at += static_cast<size_t>(written);
  }
  good = good && (!synced || ::fsync(file) == 0);
  good = ::close(file) == 0 && good && ::rename(beside.c_str(), path.c_str()) == 0;
  if (good) return;
  const int error = errno;
  ::unlink(beside.c_str());
  errno = error;
  Fail("write", path);
}

void SyncFleetFiles(const std::string& folder) {
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool good = file >= 0 && ::syncfs(file) == 0;
  const int error = errno;
  if (file >= 0) ::close(file);
  errno = error;
  if (!good) Fail("write out", folder);
}

FleetFolder::FleetFolder(FleetFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(other.lock_), state_(std::move(other.state_)) {
  other.lock_ = -1;
}

FleetFolder::~FleetFolder() {
  if (lock_ >= 0) ::close(lock_);
}

FleetFolder FleetFolder::Create(const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error) && !std::filesystem::is_empty(path, error)) {
    throw Error(ExitCode::kNeedsConfirmation,
                fmt::format("{} is there and not empty; choose another folder: a fleet's authority that is "
                            "lost cannot be made again",
                            path));
  }
  MakeFleetFolder(path, true);
  return {path, Lock(path)};
}

FleetFolder FleetFolder::Open(const std::string& path) {
  const std::string file = path + "/fleet.json";
  if (::access(file.c_str(), F_OK) != 0) {
    throw Error(
        ExitCode::kNotFound,
        fmt::format("{} is no fleet folder (it has no fleet.json); make one with: dipper device init", path));
  }
  FleetFolder folder(path, Lock(path));
  try {
    folder.state_ = ParseState(lab::ReadTextFile(file, uint64_t{256} << 20U));
  } catch (const nlohmann::json::exception& error) {
    throw Error(ExitCode::kFailure,
                fmt::format("{} is damaged ({}); restore it from a backup", file, error.what()));
  }
  return folder;
}

Credential FleetFolder::Authority() const {
  return {.key = lab::ReadTextFile(path_ + "/ca.key"),
          .certificate = lab::ReadTextFile(path_ + "/ca.pem"),
          .serial = {},
          .not_after_s = 0};
}

void FleetFolder::Commit() {
  const std::string broker = path_ + "/broker";
  MakeFleetFolder(broker, true);
  if (state_.access == Access::kCertificate) {
    const Credential authority = Authority();
    ++state_.list_number;
    WriteFleetFile(broker + "/revoked.pem", MakeRevocationList(authority, state_.revoked, state_.list_number),
                   false);
    WriteFleetFile(broker + "/devices-ca.pem", authority.certificate, false);
  } else {
    WriteFleetFile(broker + "/passwords", PasswordFileText(state_), true);
  }
  WriteFleetFile(broker + "/acl", AccessListText(state_), true);
  WriteFleetFile(broker + "/dipper.conf", BrokerConfigText(state_), false);
  WriteFleetFile(path_ + "/fleet.json", StateText(state_), true);
}

}  // namespace dipper::fleet
