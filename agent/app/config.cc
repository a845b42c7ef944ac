// TOML to Config: every key has a reader, every unknown key is a problem with a suggestion, every problem has
// a line.
#include "agent/app/config.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>

#define TOML_HEADER_ONLY 0
#define TOML_SHARED_LIB 1
#include <toml++/toml.h>

#include "agent/base/number.h"
#include "agent/base/suggest.h"

namespace dipper::app {
namespace {

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
    static constexpr std::string_view kTables[] = {"device", "mqtt",   "storage",   "model",
                                                   "trust",  "source", "telemetry", "health"};
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
    LoadModel(OpenOnly(root, "model"));
    Section trust = Open(root, "trust");
    Path(trust, "root", &config_.trust.root, true);
    trust.Finish();
    LoadSource(OpenOnly(root, "source"));
    Section telemetry = Open(root, "telemetry");
    telemetry.Integer("interval_ms", &config_.telemetry.interval_ms, 100, 86400000);
    telemetry.Finish();
    Section health = Open(root, "health");
    health.Integer("healthy_after_s", &config_.health.healthy_after_s, 1, 86400);
    health.Finish();
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

  void Path(Section& section, const char* key, std::string* value, bool required = false) {
    section.String(key, value, required);
    if (value->empty() || value->front() == '/') return;
    *value = (std::filesystem::path(file_).parent_path() / *value).string();
  }

  void LoadDevice(Section section) {
    section.String("id", &config_.device.id, true);
    section.String("fleet", &config_.device.fleet, true);
    section.Strings("groups", &config_.device.groups);
    section.String("hardware", &config_.device.hardware);
    if (config_.device.groups.size() > 8) section.Problem(nullptr, "device.groups may hold at most 8 groups");
    std::vector<std::string> ids = {config_.device.id, config_.device.fleet};
    ids.insert(ids.end(), config_.device.groups.begin(), config_.device.groups.end());
    for (const std::string& id : ids) {
      const bool good = id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
                          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                                 c == '_' || c == '-';
                        });
      if (!good) {
        section.Problem(nullptr, "\"" + id +
                                     "\": ids of devices, fleets and groups are topic levels: at most 64 of "
                                     "letters, digits, '-' and '_'");
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
    section.Finish();
  }

  void LoadModel(Section section) {
    ModelConfig& model = config_.model;
    section.String("id", &model.id);
    Path(section, "slot_a", &model.slot_a, true);
    Path(section, "slot_b", &model.slot_b, true);
    Path(section, "factory", &model.factory);
    section.ByteCount("max_image_bytes", &model.max_image_bytes, 4096, 64 << 20);
    section.ByteCount("slot_bytes", &model.slot_bytes, 64 * 1024, 1 << 30);
    section.Integer("checkpoint_interval_s", &model.checkpoint_interval_s, 1, 86400 * 30);
    section.Integer("max_latency_us", &model.max_latency_us, 0, 60000000);
    section.Finish();
  }

  void LoadSource(Section section) {
    SourceConfig& source = config_.source;
    section.String("kind", &source.kind, true);
    Path(section, "path", &source.path, true);
    section.Number("rate_hz", &source.rate_hz, 0.001, 100000);
    section.String("truth", &source.truth);
    section.Bool("resume", &source.resume);
    if (!source.kind.empty() && source.kind != "csv_replay") {
      section.Problem(nullptr, "source.kind \"" + source.kind + "\" is unknown; this version has csv_replay");
    }
    section.Finish();
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
