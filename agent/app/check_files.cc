// Implementation of check_files.h: stat and access, and the readers that the agent itself uses.
#include "agent/app/check_files.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "agent/app/config/partition_path.h"
#include "agent/app/devices.h"
#include "agent/app/group_keys.h"
#include "agent/app/read_whole.h"
#include "agent/link/credential_files.h"
#include "agent/package/root.h"

namespace dipper::app {
namespace {

constexpr uint64_t kEraseBytes = 4096;

bool IsMissing(int error) { return error == ENOENT || error == ENOTDIR; }

/// As in ConfigReading::origins.
std::string Of(const char* table, size_t index, const char* key) {
  return std::string(table) + "[" + std::to_string(index) + "]." + key;
}

/// Empty: a file that can be read.
std::string WhyNotReadable(const std::string& path) {
  struct stat about {};
  if (::stat(path.c_str(), &about) != 0) {
    return IsMissing(errno) ? "there is no such file; put it there, or correct the path"
                            : std::string("it cannot be looked at: ") + std::strerror(errno);
  }
  if (S_ISDIR(about.st_mode)) return "it is a folder; name the file in it";
  if (::access(path.c_str(), R_OK) == 0) return {};
  return std::string("it cannot be read: ") + std::strerror(errno) +
         "; give the agent's user the right, and run this check as that user";
}

/// Empty: files can be made there, their folders too.
std::string WhyNotMade(const std::string& path) {
  std::filesystem::path folder = std::filesystem::absolute(path).parent_path();
  struct stat about {};
  while (::stat(folder.c_str(), &about) != 0) {
    if (!IsMissing(errno) || folder == folder.parent_path())
      return folder.string() + " cannot be looked at: " + std::strerror(errno);
    folder = folder.parent_path();
  }
  if (!S_ISDIR(about.st_mode)) return folder.string() + " is no folder; choose another path";
  struct statfs system {};
  const bool kernels = ::statfs(folder.c_str(), &system) == 0 &&
                       (system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC ||
                        system.f_type == CGROUP2_SUPER_MAGIC || system.f_type == DEVPTS_SUPER_MAGIC);
  if (kernels) return folder.string() + " is the kernel's own and keeps no files; choose another path";
  if (::access(folder.c_str(), W_OK | X_OK) == 0) return {};
  return "no file can be made in " + folder.string() + ": " + std::strerror(errno) +
         "; give the agent's user the right, and run this check as that user";
}

class FileCheck {
 public:
  FileCheck(const ConfigReading& reading, const std::string& path)
      : reading_(reading), config_(reading.config), path_(path) {}

  FileFindings Run() {
    CheckMqtt();
    CheckPartitions();
    CheckTrust();
    CheckSources();
    CheckOthers();
    return std::move(findings_);
  }

 private:
  /// @param name  As in ConfigReading::origins.
  std::string Line(const std::string& name, const std::string& what) const {
    const auto found = reading_.origins.find(name);
    return (found != reading_.origins.end() ? found->second : path_) + ": " + what;
  }
  void Problem(const std::string& name, const std::string& what) {
    findings_.problems.push_back(Line(name, what));
  }
  void Note(const std::string& name, const std::string& what) { findings_.notes.push_back(Line(name, what)); }

  bool IsCredential(const std::string& path) const {
    return path.rfind(std::string(kUnitCredentials) + "/", 0) == 0;
  }

  /// @param name  Of the table and key, "mqtt.ca_file". True: it is there, or only systemd can tell.
  bool Readable(const std::string& name, const std::string& path) {
    if (path.empty() || IsCredential(path)) return true;
    const std::string why = WhyNotReadable(path);
    if (!why.empty()) Problem(name, name + ": " + path + ": " + why);
    return why.empty();
  }

  void CheckMqtt() {
    const MqttConfig& mqtt = config_.mqtt;
    bool all = Readable("mqtt.ca_file", mqtt.ca_file);
    all = Readable("mqtt.cert_file", mqtt.cert_file) && all;
    all = Readable("mqtt.key_file", mqtt.key_file) && all;
    if (Readable("mqtt.password_file", mqtt.password_file) && !mqtt.password_file.empty() &&
        !IsCredential(mqtt.password_file)) {
      link::MqttConfig files;
      files.password_file = mqtt.password_file;
      Fit(files, "password_file");
    }
    if (!all || IsCredential(mqtt.ca_file) || mqtt.ca_file.empty()) return;
    link::MqttConfig files;
    files.ca_file = mqtt.ca_file;
    if (!Fit(files, "ca_file") || IsCredential(mqtt.cert_file) || IsCredential(mqtt.key_file)) return;
    files.cert_file = mqtt.cert_file;
    files.key_file = mqtt.key_file;
    Fit(files, "cert_file");
  }

  /// Whether the files of one connection can be used together; by the agent's own check.
  bool Fit(const link::MqttConfig& files, std::string key) {
    const std::string why = link::CheckCredentialFiles(files);
    if (why.rfind("key_file", 0) == 0) key = "key_file";
    if (!why.empty()) Problem("mqtt." + key, "mqtt." + why + "; is it the right file, whole, and PEM?");
    return why.empty();
  }

  void CheckPartitions() {
    const StorageConfig& storage = config_.storage;
    CheckPartition("storage.boot", "storage.boot", storage.boot, kLeastBootBytes);
    CheckPartition("storage.data", "storage.data", storage.data, kLeastPartitionBytes);
    for (size_t i = 0; i < config_.models.size(); ++i) {
      const ModelConfig& model = config_.models[i];
      CheckPartition(Of("model", i, "slot_a"), "model.slot_a", model.slot_a, kLeastPartitionBytes);
      CheckPartition(Of("model", i, "slot_b"), "model.slot_b", model.slot_b, kLeastPartitionBytes);
      if (model.factory.empty()) continue;
      const std::string why = WhyNotReadable(model.factory);
      if (!why.empty()) Problem(Of("model", i, "factory"), "model.factory: " + model.factory + ": " + why);
    }
  }

  void CheckPartition(const std::string& name, const std::string& key, const std::string& path,
                      uint64_t least) {
    const std::string why = WhyNoPartition(path, least);
    if (!why.empty()) Problem(name, key + ": " + path + ": " + why);
  }

  std::string WhyNoPartition(const std::string& path, uint64_t least) const {
    const auto [target, by_name] = ReadPartitionPath(path);
    struct stat about {};
    if (by_name) {
      return ::stat(("/dev/disk/by-partlabel/" + target).c_str(), &about) == 0
                 ? ""
                 : "no partition has the label " + target + "; see /dev/disk/by-partlabel";
    }
    if (::lstat(path.c_str(), &about) != 0) {
      if (!IsMissing(errno)) return std::string("it cannot be looked at: ") + std::strerror(errno);
      if (!config_.storage.create)
        return "there is no such file or device; make it, or set storage.create = true";
      return path.rfind("/dev/", 0) == 0 ? "there is no such device; storage.create makes files only"
                                         : WhyNotMade(path);
    }
    if (S_ISDIR(about.st_mode)) return WhyUnusable(EISDIR);
    if (S_ISLNK(about.st_mode)) return WhyUnusable(ELOOP);
    if (!S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode)) return WhyUnusable(ENOTBLK);
    const auto bytes = static_cast<uint64_t>(about.st_size);
    if (S_ISREG(about.st_mode) && (bytes < least || bytes % kEraseBytes != 0))
      return "it has " + std::to_string(bytes) + " bytes; a partition has whole units of 4096, at least " +
             std::to_string(least);
    // One that can only be read is served from.
    if (::access(path.c_str(), R_OK | W_OK) == 0 || errno == EROFS) return {};
    return std::string("it cannot be read and written: ") + std::strerror(errno) +
           "; run the agent, and this check, as the partition's owner";
  }

  void CheckTrust() {
    const std::string& root = config_.trust.root;
    if (!root.empty() && Readable("trust.root", root) && !IsCredential(root)) {
      std::vector<uint8_t> bytes;
      package::TrustRoot parsed;
      if (!ReadWhole(root, package::kMaxRootBytes, &bytes) ||
          package::TrustRoot::Parse(bytes, &parsed) != schema::Reason::None) {
        Problem("trust.root",
                "trust.root: " + root +
                    ": it is no trust root; name the file that dipper root new wrote for the fleet");
      }
    }
    package::GroupKeys keys;
    std::string message;
    for (const std::string& key : config_.trust.group_keys) {
      if (!IsCredential(key) && !LoadGroupKeys({key}, &keys, &message)) Problem("trust.group_keys", message);
    }
  }

  void CheckSources() {
    for (size_t i = 0; i < config_.sources.size(); ++i) {
      const SourceConfig& source = config_.sources[i];
      const std::string name = Of("source", i, "path");
      if (source.kind == "csv_replay") {
        const std::string why = WhyNotReadable(source.path);
        if (!why.empty())
          Note(name,
               "source.path: " + source.path + ": " + why + "; until then the agent runs without samples");
      }
      if (source.kind == "socket") CheckSocketPath(name, "source.path", source.path);
    }
  }

  void CheckSocketPath(const std::string& name, const std::string& key, const std::string& path) {
    struct stat about {};
    if (::lstat(path.c_str(), &about) != 0 || S_ISSOCK(about.st_mode)) return;
    Problem(name,
            key + ": " + path + ": a file that is no socket lies there; move it, or choose another path");
  }

  void CheckOthers() {
    if (config_.control.enabled) CheckSocketPath("control.socket", "control.socket", config_.control.socket);
    const std::string& watchdog = config_.watchdog.device;
    struct stat about {};
    if (watchdog.empty() || (::stat(watchdog.c_str(), &about) == 0 && S_ISCHR(about.st_mode))) return;
    Problem("watchdog.device",
            "watchdog.device: " + watchdog + ": there is no such device; load its driver, or remove the key");
  }

  const ConfigReading& reading_;
  const Config& config_;
  const std::string& path_;
  FileFindings findings_;
};

}  // namespace

FileFindings CheckFiles(const ConfigReading& reading, const std::string& path) {
  return FileCheck(reading, path).Run();
}

}  // namespace dipper::app
