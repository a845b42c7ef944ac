// TOML to Config: every key has a reader, every unknown key is a problem with a suggestion, every problem has
// a line.
#include "agent/app/config.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>

#define TOML_HEADER_ONLY 0
#define TOML_SHARED_LIB 1
#include <toml++/toml.h>

#include "agent/base/number.h"
#include "agent/base/suggest.h"
#include "agent/telemetry/topics.h"

namespace dipper::app {
namespace {

// Of a boot file that the agent makes, in erase units of 4096 bytes: two root documents and two counters
// pages, and the two records of each model (docs/reference/storage.md).
constexpr uint64_t kBootBytesWithoutModels = 24 * 1024;
constexpr uint64_t kBootBytesOfModel = 8 * 1024;

bool IsTopicLevel(const std::string& id) { return telemetry::IsTopicId(id); }

// Reads the keys of one table, remembers which names it knows, and complains about the rest at the end.
class Section {
 public:
  Section(const toml::table* table, std::string name, const std::string& file,
          std::vector<std::string>* problems)
      : table_(table), name_(std::move(name)), file_(file), problems_(problems) {}

  void Problem(const toml::node* at, const std::string& text) const {
    const auto line =
        at != nullptr ? at->source().begin.line : (table_ != nullptr ? table_->source().begin.line : 0);
    problems_->push_back(file_ + ":" + std::to_string(line) + ": " + text);
  }

  void String(const char* key, std::string* value, bool required = false) {
    const toml::node* node = Find(key, required);
    if (node == nullptr) return;
    if (const auto text = node->value_exact<std::string>(); text && !text->empty()) {
      *value = *text;
    } else {
      Problem(node, Name(key) + " must be a text that is not empty, for example \"x\"");
    }
  }

  void Strings(const char* key, std::vector<std::string>* values) {
    const toml::node* node = Find(key, false);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    bool good = array != nullptr;
    for (size_t i = 0; good && i < array->size(); ++i) {
      const auto text = array->get(i)->value_exact<std::string>();
      good = text.has_value();
      if (good) values->push_back(*text);
    }
    if (!good) Problem(node, Name(key) + " must be a list of texts, for example [\"canary\"]");
  }

  void Bool(const char* key, bool* value) {
    const toml::node* node = Find(key, false);
    if (node == nullptr) return;
    if (const auto flag = node->value_exact<bool>()) {
      *value = *flag;
    } else {
      Problem(node, Name(key) + " must be true or false");
    }
  }

  void Integer(const char* key, int64_t* value, int64_t least, int64_t most) {
    const toml::node* node = Find(key, false);
    if (node == nullptr) return;
    const auto number = node->value_exact<int64_t>();
    if (!number || *number < least || *number > most) {
      Problem(node, Name(key) + " must be a whole number from " + std::to_string(least) + " to " +
                        std::to_string(most));
      return;
    }
    *value = *number;
  }

  void Number(const char* key, double* value, double least, double most) {
    const toml::node* node = Find(key, false);
    if (node == nullptr) return;
    const auto number = node->value<double>();
    if (!number || !(*number >= least && *number <= most)) {
      Problem(node, Name(key) + " must be a number from " +
                        std::string(base::FormatJsonNumber(least).view()) + " to " +
                        std::string(base::FormatJsonNumber(most).view()));
      return;
    }
    *value = *number;
  }

  void ByteCount(const char* key, uint64_t* value, uint64_t least, uint64_t most) {
    const toml::node* node = Find(key, false);
    if (node == nullptr) return;
    base::Result<uint64_t> count = base::Status::kInvalidArgument;
    if (const auto text = node->value_exact<std::string>()) count = base::ParseByteCount(*text);
    if (const auto number = node->value_exact<int64_t>(); number && *number >= 0)
      count = static_cast<uint64_t>(*number);
    if (!count.ok() || *count < least || *count > most) {
      Problem(node, Name(key) + " must be a byte count from " + std::to_string(least) + " to " +
                        std::to_string(most) + ", for example \"256KiB\"");
      return;
    }
    *value = *count;
  }

  void Finish() const {
    if (table_ == nullptr) return;
    std::vector<std::string_view> names(known_.begin(), known_.end());
    for (const auto& [key, node] : *table_) {
      if (known_.count(std::string(key.str())) != 0) continue;
      std::string text = "unknown key " + Name(key.str());
      const std::string_view near = base::ClosestName(key.str(), names);
      if (!near.empty()) text += "; did you mean " + std::string(near) + "?";
      Problem(&node, text);
    }
  }

 private:
  std::string Name(std::string_view key) const {
    return name_.empty() ? std::string(key) : name_ + "." + std::string(key);
  }
  const toml::node* Find(const char* key, bool required) {
    known_.insert(key);
    const toml::node* node = table_ != nullptr ? table_->get(key) : nullptr;
    if (node == nullptr && required) {
      Problem(nullptr, Name(key) + " is missing; docs/reference/agent-config.md says what it is for");
    }
    return node;
  }

  const toml::table* table_;
  std::string name_;
  const std::string& file_;
  std::vector<std::string>* problems_;
  std::set<std::string> known_;
};

class Loader {
 public:
  Loader(const std::string& file, std::vector<std::string>* problems) : file_(file), problems_(problems) {}

  Config Load(const toml::table& root) {
    static constexpr std::string_view kTables[] = {"device", "mqtt",      "storage", "model",  "trust",
                                                   "source", "telemetry", "health",  "control"};
    for (const auto& [key, node] : root) {
      if (std::find(std::begin(kTables), std::end(kTables), key.str()) != std::end(kTables)) continue;
      std::string text = "unknown table or key " + std::string(key.str());
      const std::string_view near = base::ClosestName(key.str(), kTables);
      if (!near.empty()) text += "; did you mean [" + std::string(near) + "]?";
      problems_->push_back(file_ + ":" + std::to_string(node.source().begin.line) + ": " + text);
    }
    LoadDevice(Open(root, "device"));
    LoadMqtt(Open(root, "mqtt"));
    LoadStorage(Open(root, "storage"));
    LoadModels(root);
    Section trust = Open(root, "trust");
    Path(trust, "root", &config_.trust.root, true);
    trust.Strings("group_keys", &config_.trust.group_keys);
    for (std::string& path : config_.trust.group_keys) path = Absolute(path);
    trust.Finish();
    LoadSource(OpenOnly(root, "source"));
    Section telemetry = Open(root, "telemetry");
    telemetry.Integer("interval_ms", &config_.telemetry.interval_ms, 100, 86400000);
    telemetry.Finish();
    Section health = Open(root, "health");
    health.Integer("healthy_after_s", &config_.health.healthy_after_s, 1, 86400);
    health.Finish();
    LoadControl(Open(root, "control"));
    return config_;
  }

 private:
  Section Open(const toml::table& root, const char* name) {
    const toml::node* node = root.get(name);
    const toml::table* table = node != nullptr ? node->as_table() : nullptr;
    Section section(table, name, file_, problems_);
    if (node != nullptr && table == nullptr)
      section.Problem(node, std::string(name) + " must be a table, [" + name + "]");
    return section;
  }

  // [[name]]: a list of tables in the format; this version runs one.
  Section OpenOnly(const toml::table& root, const char* name) {
    const toml::node* node = root.get(name);
    const toml::array* array = node != nullptr ? node->as_array() : nullptr;
    const toml::table* table = array != nullptr && !array->empty() ? array->get(0)->as_table() : nullptr;
    Section section(table, name, file_, problems_);
    if (table == nullptr) section.Problem(node, std::string("one [[") + name + "]] table is needed");
    if (array != nullptr && array->size() > 1) {
      section.Problem(array->get(1),
                      std::string("this version runs one [[") + name + "]]; remove the others");
    }
    return section;
  }

  // [[model]], one table a model; [model] is the same for a device that has one.
  void LoadModels(const toml::table& root) {
    const toml::node* node = root.get("model");
    const toml::array* array = node != nullptr ? node->as_array() : nullptr;
    std::vector<const toml::table*> tables;
    if (node != nullptr && node->is_table()) tables.push_back(node->as_table());
    for (size_t i = 0; array != nullptr && i < array->size(); ++i) {
      if (array->get(i)->is_table()) tables.push_back(array->get(i)->as_table());
    }
    const Section list(nullptr, "", file_, problems_);
    if (tables.empty())
      list.Problem(node, "at least one [[model]] table is needed: a model's slots and limits");
    if (tables.size() > kMaxModels) {
      list.Problem(tables[kMaxModels], "a device runs at most " + std::to_string(kMaxModels) +
                                           " models, boot has no place for more; remove this [[model]]");
      tables.resize(kMaxModels);
    }
    for (const toml::table* table : tables) LoadModel(Section(table, "model", file_, problems_), table);
    CheckModels(tables);
  }

  // What the models may not have in common.
  void CheckModels(const std::vector<const toml::table*>& tables) {
    const Section list(nullptr, "", file_, problems_);
    std::map<std::string, std::string> users = {{Normal(config_.storage.boot), "storage.boot"},
                                                {Normal(config_.storage.data), "storage.data"}};
    users.erase("");
    std::set<std::string> ids;
    for (size_t i = 0; i < tables.size(); ++i) {
      const ModelConfig& model = config_.models[i];
      if (!ids.insert(model.id).second) {
        list.Problem(tables[i], "two models have the id \"" + model.id +
                                    "\"; give each its own with model.id: it is what offers name");
      }
      const std::pair<const char*, const std::string*> paths[] = {
          {"slot_a", &model.slot_a}, {"slot_b", &model.slot_b}, {"factory", &model.factory}};
      for (const auto& [key, path] : paths) {
        if (path->empty()) continue;
        const std::string user = "model \"" + model.id + "\" " + key;
        const auto [other, fresh] = users.emplace(Normal(*path), user);
        if (fresh) continue;
        list.Problem(tables[i]->get(key), "model." + std::string(key) + ": " + *path + " is also " +
                                              other->second + "; every partition has one use");
      }
    }
    for (const std::string& name : config_.storage.forget_models) {
      if (ids.count(name) == 0) continue;
      list.Problem(nullptr, "storage.forget_models names \"" + name +
                                "\", which is configured; remove it from one of the two places");
    }
    CheckBootRoom(tables);
  }

  void CheckBootRoom(const std::vector<const toml::table*>& tables) {
    const uint64_t needed = kBootBytesWithoutModels + tables.size() * kBootBytesOfModel;
    if (!config_.storage.create || config_.storage.boot_bytes >= needed) return;
    const Section list(nullptr, "", file_, problems_);
    list.Problem(tables.back(), "storage.boot_bytes is too small for " + std::to_string(tables.size()) +
                                    " models: give it at least " + std::to_string(needed));
  }

  static std::string Normal(const std::string& path) {
    return path.empty() ? path : std::filesystem::path(path).lexically_normal().string();
  }

  void Path(Section& section, const char* key, std::string* value, bool required = false) {
    section.String(key, value, required);
    *value = Absolute(*value);
  }
  std::string Absolute(const std::string& path) const {
    if (path.empty() || path.front() == '/') return path;
    return (std::filesystem::path(file_).parent_path() / path).string();
  }

  void LoadDevice(Section section) {
    section.String("id", &config_.device.id, true);
    section.String("fleet", &config_.device.fleet, true);
    section.Strings("groups", &config_.device.groups);
    section.String("hardware", &config_.device.hardware);
    if (config_.device.groups.size() > 8) section.Problem(nullptr, "device.groups may hold at most 8 groups");
    std::vector<std::string> ids = config_.device.groups;
    // Without a text they have been complained about already.
    if (!config_.device.id.empty()) ids.push_back(config_.device.id);
    if (!config_.device.fleet.empty()) ids.push_back(config_.device.fleet);
    for (const std::string& id : ids) {
      if (!IsTopicLevel(id)) {
        section.Problem(nullptr, "\"" + id +
                                     "\": ids of devices, fleets and groups are topic levels: 1 to 64 of "
                                     "letters, digits, '-' and '_'");
      } else if (telemetry::IsReservedId(id) && id != config_.device.fleet) {
        section.Problem(nullptr, "\"" + id +
                                     "\" is a word of the topic tree; give the device or group another name "
                                     "than all, offer, pkg, root, json and m");
      }
    }
    section.Finish();
  }

  void LoadMqtt(Section section) {
    MqttConfig& mqtt = config_.mqtt;
    section.String("url", &mqtt.url, true);
    section.String("client_id", &mqtt.client_id);
    section.String("username", &mqtt.username);
    Path(section, "password_file", &mqtt.password_file);
    Path(section, "ca_file", &mqtt.ca_file);
    Path(section, "cert_file", &mqtt.cert_file);
    Path(section, "key_file", &mqtt.key_file);
    section.Integer("version", &mqtt.version, 5, 311);
    section.Integer("keepalive_s", &mqtt.keepalive_s, 5, 3600);
    section.Bool("json_mirror", &mqtt.json_mirror);
    section.Bool("publish_predictions", &mqtt.publish_predictions);
    section.Integer("backlog_bytes_per_s", &mqtt.backlog_bytes_per_s, 256, 100000000);
    section.Integer("transfer_bytes_per_s", &mqtt.transfer_bytes_per_s, 0, 100000000);
    if (mqtt.version != 5 && mqtt.version != 311)
      section.Problem(nullptr, "mqtt.version must be 5, or 311 for MQTT 3.1.1");
    const bool tls = mqtt.url.rfind("mqtts://", 0) == 0 || mqtt.url.rfind("wss://", 0) == 0;
    const bool plain = mqtt.url.rfind("mqtt://", 0) == 0 || mqtt.url.rfind("ws://", 0) == 0;
    if (!mqtt.url.empty() && !tls && !plain) {
      section.Problem(nullptr, "mqtt.url must begin with mqtts://, mqtt://, wss:// or ws://");
    }
    if (tls && mqtt.ca_file.empty()) {
      section.Problem(nullptr,
                      "mqtt.ca_file is missing: with TLS the broker's certificate is always checked");
    }
    if (mqtt.cert_file.empty() != mqtt.key_file.empty()) {
      section.Problem(nullptr, "mqtt.cert_file and mqtt.key_file go together");
    }
    if (mqtt.client_id.empty()) mqtt.client_id = "dipper-" + config_.device.fleet + "-" + config_.device.id;
    section.Finish();
  }

  void LoadStorage(Section section) {
    StorageConfig& storage = config_.storage;
    Path(section, "boot", &storage.boot, true);
    Path(section, "data", &storage.data, true);
    section.Bool("create", &storage.create);
    section.ByteCount("boot_bytes", &storage.boot_bytes, 32 * 1024, 64 << 20);
    section.ByteCount("data_bytes", &storage.data_bytes, 64 * 1024, 1 << 30);
    section.Strings("forget_models", &storage.forget_models);
    section.Finish();
  }

  void LoadModel(Section section, const toml::table* table) {
    ModelConfig& model = config_.models.emplace_back();
    section.String("id", &model.id);
    Path(section, "slot_a", &model.slot_a, true);
    Path(section, "slot_b", &model.slot_b, true);
    Path(section, "factory", &model.factory);
    section.ByteCount("max_image_bytes", &model.max_image_bytes, 4096, 64 << 20);
    section.ByteCount("slot_bytes", &model.slot_bytes, 64 * 1024, 1 << 30);
    section.Integer("checkpoint_interval_s", &model.checkpoint_interval_s, 1, 86400 * 30);
    section.Integer("max_latency_us", &model.max_latency_us, 0, 60000000);
    if (!IsTopicLevel(model.id)) {
      section.Problem(
          table->get("id"),
          "model.id \"" + model.id + "\" is a topic level: at most 64 of letters, digits, '-' and '_'");
    }
    section.Finish();
  }

  void LoadControl(Section section) {
    ControlConfig& control = config_.control;
    section.Bool("enabled", &control.enabled);
    Path(section, "socket", &control.socket);
    if (control.socket.empty()) {
      const std::string& boot = config_.storage.boot;
      const bool device = boot.rfind("/dev/", 0) == 0 || boot.find("PARTLABEL=") != std::string::npos;
      control.socket = device ? "/run/dipper/" + config_.device.id + ".sock" : boot + ".sock";
    }
    section.Finish();
  }

  void LoadSource(Section section) {
    SourceConfig& source = config_.source;
    section.String("kind", &source.kind, true);
    const bool csv = source.kind == "csv_replay", socket = source.kind == "socket",
               iio = source.kind == "iio";
    if (!source.kind.empty() && !csv && !socket && !iio && source.kind != "stdin" &&
        source.kind != "system") {
      section.Problem(nullptr, "source.kind \"" + source.kind +
                                   "\" is unknown; there are csv_replay, stdin, socket, system and iio");
    }
    section.String("truth", &source.truth);
    // What another kind would take is an unknown key here: it would be silently without effect.
    if (csv || socket) Path(section, "path", &source.path, true);
    if (csv || iio || source.kind == "system") section.Number("rate_hz", &source.rate_hz, 0.001, 100000);
    if (csv) section.Bool("resume", &source.resume);
    if (socket) LoadSocketMode(section);
    if (iio) {
      section.String("device", &source.device, true);
      section.Strings("channels", &source.channels);
      section.Integer("buffer_samples", &source.buffer_samples, 0, 65536);
    }
    section.Finish();
  }

  void LoadSocketMode(Section& section) {
    std::string mode = "0660";
    section.String("mode", &mode);
    const bool octal =
        mode.size() == 4 && mode[0] == '0' && mode.find_first_not_of("01234567") == std::string::npos;
    if (!octal) {
      section.Problem(nullptr, "source.mode must be four octal digits as a text, for example \"0660\"");
      return;
    }
    config_.source.mode = static_cast<uint32_t>((mode[1] - '0') * 64 + (mode[2] - '0') * 8 + (mode[3] - '0'));
  }

  const std::string& file_;
  std::vector<std::string>* problems_;
  Config config_;
};

}  // namespace

Config LoadConfig(const std::string& path, std::vector<std::string>* problems) {
  try {
    return Loader(path, problems).Load(toml::parse_file(path));
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;
    problems->push_back(path + (line > 0 ? ":" + std::to_string(line) : "") + ": " +
                        std::string(error.description()));
  }
  return {};
}

}  // namespace dipper::app
