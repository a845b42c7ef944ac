// The table of keys. In the order in which --print-config and agent-config.md list them.
#include "agent/app/config/keys.h"

#include <algorithm>

#include "agent/base/number.h"

namespace dipper::app {
namespace {

using config_keys::Bytes;
using config_keys::Flag;
using config_keys::Mode;
using config_keys::Number;
using config_keys::Path;
using config_keys::Paths;
using config_keys::Text;
using config_keys::Texts;
using config_keys::Whole;

constexpr double kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;
constexpr double kDaySeconds = 86400;

constexpr ConfigKey kDevice[] = {
    Text<&DeviceConfig::id>("id").Required(),
    Text<&DeviceConfig::fleet>("fleet").Required(),
    Texts<&DeviceConfig::groups>("groups"),
    Text<&DeviceConfig::hardware>("hardware"),
};

constexpr ConfigKey kMqtt[] = {
    Text<&MqttConfig::url>("url").Required(),
    Text<&MqttConfig::client_id>("client_id").Otherwise("dipper-<fleet>-<id>"),
    Text<&MqttConfig::username>("username"),
    Path<&MqttConfig::password_file>("password_file"),
    Path<&MqttConfig::ca_file>("ca_file"),
    Path<&MqttConfig::cert_file>("cert_file"),
    Path<&MqttConfig::key_file>("key_file"),
    Whole<&MqttConfig::version>("version", 5, 311).OneOf("5 311"),
    Whole<&MqttConfig::keepalive_s>("keepalive_s", 5, 3600),
    Flag<&MqttConfig::json_mirror>("json_mirror"),
    Text<&MqttConfig::home_assistant>("home_assistant"),
    Flag<&MqttConfig::publish_predictions>("publish_predictions"),
    Whole<&MqttConfig::backlog_bytes_per_s>("backlog_bytes_per_s", 256, 100000000),
    Whole<&MqttConfig::transfer_bytes_per_s>("transfer_bytes_per_s", 0, 100000000),
};

constexpr ConfigKey kStorage[] = {
    Path<&StorageConfig::boot>("boot").Required(),
    Path<&StorageConfig::data>("data").Required(),
    Flag<&StorageConfig::create>("create"),
    Bytes<&StorageConfig::boot_bytes>("boot_bytes", 32 * kKiB, 64 * kMiB),
    Bytes<&StorageConfig::data_bytes>("data_bytes", 64 * kKiB, kGiB),
    Texts<&StorageConfig::forget_models>("forget_models"),
};

constexpr ConfigKey kModel[] = {
    Text<&ModelConfig::id>("id"),
    Path<&ModelConfig::slot_a>("slot_a").Required(),
    Path<&ModelConfig::slot_b>("slot_b").Required(),
    Path<&ModelConfig::factory>("factory"),
    Bytes<&ModelConfig::slot_bytes>("slot_bytes", 64 * kKiB, kGiB),
    Bytes<&ModelConfig::max_image_bytes>("max_image_bytes", 4 * kKiB, 64 * kMiB),
    Whole<&ModelConfig::checkpoint_interval_s>("checkpoint_interval_s", 1, 30 * kDaySeconds),
    Whole<&ModelConfig::max_latency_us>("max_latency_us", 0, 60000000),
};

constexpr ConfigKey kTrust[] = {
    Path<&TrustConfig::root>("root").Required(),
    Paths<&TrustConfig::group_keys>("group_keys"),
};

// A key that another kind of source has is an error: it would be silently without effect.
constexpr ConfigKey kSource[] = {
    Text<&SourceConfig::kind>("kind").Required().OneOf("csv_replay stdin socket system iio mqtt"),
    Path<&SourceConfig::path>("path").Required().For("csv_replay socket"),
    Number<&SourceConfig::rate_hz>("rate_hz", 0.001, 100000).For("csv_replay system iio"),
    Flag<&SourceConfig::resume>("resume").For("csv_replay"),
    Mode<&SourceConfig::mode>("mode").For("socket"),
    Text<&SourceConfig::device>("device").Required().For("iio"),
    Texts<&SourceConfig::channels>("channels").For("iio"),
    Whole<&SourceConfig::buffer_samples>("buffer_samples", 0, 65536).For("iio"),
    Texts<&SourceConfig::topics>("topics").For("mqtt"),
    Texts<&SourceConfig::fields>("fields").For("mqtt"),
    Whole<&SourceConfig::qos>("qos", 0, 1).For("mqtt"),
    Flag<&SourceConfig::answer>("answer").For("mqtt"),
    Bytes<&SourceConfig::queue_bytes>("queue_bytes", 16 * kKiB, kMiB).For("mqtt"),
    Text<&SourceConfig::truth>("truth"),
    Text<&SourceConfig::name>("name").Otherwise("<source.kind>"),
    Texts<&SourceConfig::columns>("columns").For("csv_replay stdin socket system iio"),
    Whole<&SourceConfig::max_age_ms>("max_age_ms", 0, kDaySeconds * 1000),
};

constexpr ConfigKey kJoin[] = {
    Text<&JoinConfig::primary>("primary").Otherwise("<name of the first source>"),
    Text<&JoinConfig::tick>("tick").OneOf("primary slowest"),
    Text<&JoinConfig::missing>("missing").OneOf("values sample"),
};

constexpr ConfigKey kLabels[] = {
    Flag<&LabelsConfig::mqtt>("mqtt"),
    Number<&LabelsConfig::max_per_s>("max_per_s", 0, 100000),
};

constexpr ConfigKey kPrivacy[] = {
    Whole<&PrivacyConfig::uncertain_samples>("uncertain_samples", 0, 32),
    Texts<&PrivacyConfig::uncertain_features>("uncertain_features"),
};

constexpr ConfigKey kTelemetry[] = {
    Whole<&TelemetryConfig::interval_ms>("interval_ms", 100, kDaySeconds * 1000),
    Whole<&TelemetryConfig::repeat_s>("repeat_s", 0, kDaySeconds),
    Bytes<&TelemetryConfig::max_bytes_per_day>("max_bytes_per_day", 0, kGiB),
};

constexpr ConfigKey kHealth[] = {
    Whole<&HealthConfig::healthy_after_s>("healthy_after_s", 1, kDaySeconds),
};

constexpr ConfigKey kWatchdog[] = {
    Path<&WatchdogConfig::device>("device"),
    Whole<&WatchdogConfig::timeout_s>("timeout_s", 2, 3600),
};

constexpr ConfigKey kControl[] = {
    Flag<&ControlConfig::enabled>("enabled"),
    Path<&ControlConfig::socket>("socket").Otherwise("<storage.boot>.sock, or /run/dipper/<device.id>.sock"),
};

constexpr ConfigKey kRecorder[] = {
    Bytes<&RecorderConfig::bytes>("bytes", 0, kGiB),
    Whole<&RecorderConfig::segments>("segments", 2, 64),
    Bytes<&RecorderConfig::bytes_per_day>("bytes_per_day", 64 * kKiB, 1024.0 * kGiB),
};

constexpr ConfigKey kSnapshot[] = {
    Flag<&SnapshotConfig::upload>("upload"),
    Flag<&SnapshotConfig::upload_recording>("upload_recording"),
    Whole<&SnapshotConfig::bytes_per_s>("bytes_per_s", 1024, 100000000),
};

template <auto kMember>
void* One(Config* config, size_t) {
  return &(config->*kMember);
}
void* Model(Config* config, size_t index) {
  if (index >= config->models.size()) config->models.resize(index + 1);
  return &config->models[index];
}

void* Source(Config* config, size_t index) {
  if (index >= config->sources.size()) config->sources.resize(index + 1);
  return &config->sources[index];
}
size_t SourceCount(const Config& config) { return config.sources.size(); }

size_t ModelCount(const Config& config) { return config.models.size(); }

static_assert(kMaxModels == 4 && kMaxSources == 8, "the texts of too_many say it");

constexpr ConfigTable kTables[] = {
    {.name = "device", .keys = kDevice, .entry = One<&Config::device>},
    {.name = "mqtt", .keys = kMqtt, .entry = One<&Config::mqtt>},
    {.name = "storage", .keys = kStorage, .entry = One<&Config::storage>},
    {.name = "model",
     .keys = kModel,
     .entry = Model,
     .count = ModelCount,
     .most_entries = kMaxModels,
     .what = "a model's slots and limits",
     .too_many = "a device runs at most 4 models, boot has no place for more; remove this [[model]]",
     .identity = "id",
     .default_identity = "main"},
    {.name = "trust", .keys = kTrust, .entry = One<&Config::trust>},
    {.name = "source",
     .keys = kSource,
     .entry = Source,
     .count = SourceCount,
     .most_entries = kMaxSources,
     .what = "where samples come from",
     .too_many = "at most 8 sources are joined; remove this [[source]]",
     .kind_key = "kind"},
    {.name = "join", .keys = kJoin, .entry = One<&Config::join>},
    {.name = "labels", .keys = kLabels, .entry = One<&Config::labels>},
    {.name = "privacy", .keys = kPrivacy, .entry = One<&Config::privacy>},
    {.name = "telemetry", .keys = kTelemetry, .entry = One<&Config::telemetry>},
    {.name = "health", .keys = kHealth, .entry = One<&Config::health>},
    {.name = "watchdog", .keys = kWatchdog, .entry = One<&Config::watchdog>},
    {.name = "control", .keys = kControl, .entry = One<&Config::control>},
    {.name = "recorder", .keys = kRecorder, .entry = One<&Config::recorder>},
    {.name = "snapshot", .keys = kSnapshot, .entry = One<&Config::snapshot>},
};

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') quoted += '\\';
    quoted += letter;
  }
  return quoted + '"';
}

std::string ListText(const std::vector<std::string>& texts) {
  std::string text = "[";
  for (const std::string& one : texts) text += (text.size() > 1 ? ", " : "") + Quoted(one);
  return text + "]";
}

std::string ModeText(uint32_t mode) {
  std::string text = "\"0";
  for (int shift = 6; shift >= 0; shift -= 3)
    text += static_cast<char>('0' + ((mode >> static_cast<unsigned>(shift)) & 7U));
  return text + '"';
}

// Whole numbers in full: the shortest text of 100000 is 1e+05.
std::string NumberText(double number) {
  const auto whole = static_cast<int64_t>(number);
  if (static_cast<double>(whole) == number) return std::to_string(whole);
  return std::string(base::FormatJsonNumber(number).view());
}

std::string BytesText(uint64_t count) {
  for (const auto& [unit, name] :
       {std::pair<uint64_t, const char*>{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}}) {
    if (count >= unit && count % unit == 0) return std::to_string(count / unit) + name;
  }
  return std::to_string(count);
}

std::string UpperName(std::string_view text) {
  std::string upper(text);
  for (char& letter : upper) {
    if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
  }
  return upper;
}

}  // namespace

std::span<const ConfigTable> ConfigTables() { return kTables; }

const ConfigTable* FindConfigTable(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTables), std::end(kTables),
                                   [name](const ConfigTable& table) { return table.name == name; });
  return found != std::end(kTables) ? found : nullptr;
}

const ConfigKey* FindConfigKey(const ConfigTable& table, std::string_view name) {
  for (const ConfigKey& key : table.keys) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::string ConfigRange(const ConfigKey& key) {
  if (!key.words.empty()) {
    std::string text;
    const std::vector<std::string_view> words = Words(key.words);
    for (size_t i = 0; i < words.size(); ++i)
      text += std::string(i == 0 ? "" : i + 1 < words.size() ? ", " : " or ") + std::string(words[i]);
    return text;
  }
  switch (key.kind) {
    case KeyKind::kText:
      return "a text that is not empty, for example \"x\"";
    case KeyKind::kTexts:
      return "a list of texts, for example [\"canary\"]";
    case KeyKind::kPath:
      return "a text that is not empty, a file's path, for example \"x.pem\"";
    case KeyKind::kPaths:
      return "a list of texts, files' paths, for example [\"x.pem\"]";
    case KeyKind::kFlag:
      return "true or false";
    case KeyKind::kWhole:
      return "a whole number from " + NumberText(key.least) + " to " + NumberText(key.most);
    case KeyKind::kNumber:
      return "a number from " + NumberText(key.least) + " to " + NumberText(key.most);
    case KeyKind::kBytes:
      return "a byte count from " + BytesText(static_cast<uint64_t>(key.least)) + " to " +
             BytesText(static_cast<uint64_t>(key.most)) + ", for example \"256KiB\"";
    case KeyKind::kMode:
      return "four octal digits as a text, for example \"0660\"";
  }
  return {};
}

std::string ConfigValue(const ConfigKey& key, void* table) {
  void* const field = key.field(table);
  switch (key.kind) {
    case KeyKind::kText:
    case KeyKind::kPath: {
      const auto& text = *static_cast<std::string*>(field);
      return text.empty() ? std::string() : Quoted(text);
    }
    case KeyKind::kTexts:
    case KeyKind::kPaths:
      return ListText(*static_cast<std::vector<std::string>*>(field));
    case KeyKind::kFlag:
      return *static_cast<bool*>(field) ? "true" : "false";
    case KeyKind::kWhole:
      return std::to_string(*static_cast<int64_t*>(field));
    case KeyKind::kNumber:
      return NumberText(*static_cast<double*>(field));
    case KeyKind::kBytes:
      return Quoted(BytesText(*static_cast<uint64_t*>(field)));
    case KeyKind::kMode:
      return ModeText(*static_cast<uint32_t*>(field));
  }
  return {};
}

std::string ConfigDefault(const ConfigTable& table, const ConfigKey& key) {
  if (key.required) return {};
  if (!key.fallback.empty()) return std::string(key.fallback);
  Config fresh;
  return ConfigValue(key, table.entry(&fresh, 0));
}

std::string ConfigVariable(const ConfigTable& table, const ConfigKey& key) {
  std::string text = "DIPPER_" + UpperName(table.name) + "__";
  if (table.most_entries > 0) text += table.identity.empty() ? "<number>__" : "<id>__";
  return text + UpperName(key.name);
}

}  // namespace dipper::app
