// dipper root publish: puts trust roots on the broker as retained messages (docs/reference/topics.md), where
// devices that were away find every version and take them in turn.
#include <fmt/format.h>

#include <memory>

#include "agent/telemetry/topics.h"
#include "tools/cli/command.h"
#include "tools/cli/document_files.h"
#include "tools/cli/mqtt_client.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

struct PublishRootOptions {
  MqttOptions mqtt;
  std::vector<std::string> files;
};

/// Each file is the successor of the one before; that the first is one of what devices have, only they know.
void CheckChain(const std::vector<std::string>& files) {
  for (size_t i = 0; i < files.size(); ++i) {
    const package::TrustRoot root = LoadRoot(files[i]);
    if (i == 0) continue;
    package::TrustRoot next;
    if (LoadRoot(files[i - 1]).ParseSuccessor(LoadDocument(files[i]), &next) == schema::Reason::None)
      continue;
    throw Error(
        ExitCode::kVerificationFailed,
        fmt::format("{} (version {}) is no successor of {}; give them in the order of their versions, and "
                    "see `dipper root show {} --from {}`",
                    files[i], root.version(), files[i - 1], files[i], files[i - 1]));
  }
}

void PublishRoots(const PublishRootOptions& options) {
  CheckChain(options.files);
  MqttClient client(options.mqtt);
  for (const std::string& file : options.files) {
    const telemetry::Topic topic = telemetry::RootTopic(options.mqtt.fleet, LoadRoot(file).version());
    client.Publish(topic.view(), LoadDocument(file), true);
  }
  client.WaitForPublications();
  for (const std::string& file : options.files) {
    fmt::print("published {}, version {}\n", file, LoadRoot(file).version());
  }
}

}  // namespace

void RegisterRootPublish(CLI::App& app, int&) {
  const auto options = std::make_shared<PublishRootOptions>();
  CLI::App* command = app.get_subcommand("root")->add_subcommand(
      "publish", "Put trust roots on the broker, for devices to take in turn");
  command->add_option("files", options->files, "Trust roots, in the order of their versions")->required();
  AddMqttOptions(*command, options->mqtt);
  command->callback([options] { PublishRoots(*options); });
}

}  // namespace dipper::cli
