// dipper watch: what the fleet's devices say, as a live table or as JSON lines.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>

#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"
#include "tools/cli/command.h"
#include "tools/cli/fleet_view.h"
#include "tools/cli/mqtt_client.h"
#include "tools/cli/output.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using telemetry::TopicKind;

struct WatchOptions {
  MqttOptions mqtt;
  std::vector<std::string> devices;
  double for_s = 0;
  bool predictions = false;
  bool json = false;
};

volatile sig_atomic_t interrupted = 0;
void OnInterrupt(int) { interrupted = 1; }

// One line: where it came from, when, and the flat mirror of the message.
void PrintLine(const telemetry::TransportEvent& event, const telemetry::ParsedTopic& topic) {
  static std::array<uint8_t, 2 * telemetry::kJsonBufferBytes> text;
  Json line;
  line["device"] = std::string(topic.node);
  line["kind"] = std::string(telemetry::TopicLeaf(topic.kind));
  line["topic"] = std::string(event.topic);
  line["retained"] = event.retained;
  line["received_ms"] = NowMs();
  if (topic.kind == TopicKind::kState) {
    line["message"] = Json::parse(base::AsText(event.payload), nullptr, false);
  } else {
    const auto json = telemetry::ToJson(event.payload, text);
    if (!json.ok()) return;
    line["message"] = Json::parse(json.value());
  }
  fmt::print("{}\n", line.dump(-1, ' ', false, Json::error_handler_t::replace));
  std::fflush(stdout);
}

std::string StateText(const std::string& state) {
  return Styled(state, state == "online" ? "32" : state == "offline" ? "31" : "2");
}

void PrintTable(const FleetView& view, const WatchOptions& options) {
  Table table({"DEVICE", "STATE", "MODEL", "PACKAGE", "UPDATE", "SAMPLES", "LOSS", "TRIVIAL", "MISSING",
               "LAST EVENT"});
  for (const auto& [name, device] : view.devices()) {
    table.AddRow({name, StateText(device.state), device.model, device.package, device.update,
                  std::to_string(device.samples), NumberText(device.loss, 4),
                  NumberText(device.trivial_loss, 4), std::to_string(device.missing()), device.last_event});
  }
  // Home, every line to its end, then the rest of the screen: no flicker.
  std::string text = fmt::format("fleet {} at {}, {} devices; Ctrl-C ends\n\n", options.mqtt.fleet,
                                 options.mqtt.broker, view.devices().size()) +
                     table.Text();
  std::string screen = "\x1b[H";
  for (const char c : text) screen += c == '\n' ? std::string("\x1b[K\n") : std::string(1, c);
  fmt::print("{}\x1b[J", screen);
  std::fflush(stdout);
}

void Subscribe(MqttClient& client, const WatchOptions& options) {
  const std::string& fleet = options.mqtt.fleet;
  for (const TopicKind kind : {TopicKind::kState, TopicKind::kBirth, TopicKind::kMetrics, TopicKind::kEvent,
                               TopicKind::kBacklog, TopicKind::kResponse}) {
    client.Subscribe(std::string(telemetry::FleetFilter(fleet, kind, false).view()));
  }
  for (const TopicKind kind : {TopicKind::kUpdate, TopicKind::kMetrics, TopicKind::kEvent}) {
    client.Subscribe(std::string(telemetry::FleetFilter(fleet, kind, true).view()));
  }
  if (options.predictions) {
    client.Subscribe(std::string(telemetry::FleetFilter(fleet, TopicKind::kPrediction, true).view()));
  }
}

void Watch(const WatchOptions& options) {
  const bool table = !options.json && isatty(STDOUT_FILENO) == 1;
  FleetView view({options.devices.begin(), options.devices.end()});
  MqttClient client(options.mqtt);
  client.SetPatient(true);
  client.SetOnMessage([&](const telemetry::TransportEvent& event) {
    const auto topic = telemetry::ParseTopic(event.topic);
    if (topic.ok() && view.Add(topic.value(), event.payload) && !table) PrintLine(event, topic.value());
  });
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  Subscribe(client, options);
  // Whoever starts devices after this line misses nothing of what they say.
  if (!table) fmt::print(stderr, "dipper: watching\n");
  if (table) fmt::print("\x1b[2J");
  const auto end =
      MqttClient::Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(options.for_s * 1000));
  while (interrupted == 0 && (options.for_s == 0 || MqttClient::Clock::now() < end)) {
    const auto slice = std::min<MqttClient::Clock::duration>(
        std::chrono::milliseconds(500),
        options.for_s == 0 ? MqttClient::Clock::duration::max() : end - MqttClient::Clock::now());
    client.Run(slice, [] { return interrupted != 0; });
    if (table) PrintTable(view, options);
  }
  if (view.unreadable() > 0) Warn(fmt::format("{} messages could not be read", view.unreadable()));
}

}  // namespace

void RegisterWatch(CLI::App& app, int&) {
  const auto options = std::make_shared<WatchOptions>();
  CLI::App* command = app.add_subcommand("watch", "Show what devices report: a live table, or JSON lines");
  AddMqttOptions(*command, options->mqtt);
  command->add_option("--devices", options->devices, "Only these devices, separated by commas")
      ->delimiter(',');
  command->add_option(
      "--session", options->mqtt.session,
      "Client id of a lasting session: what is sent while watching is interrupted comes afterwards");
  command->add_option("--for", options->for_s, "End after so many seconds")->check(NotNegative());
  command->add_flag("--predictions", options->predictions, "Predictions too");
  command->add_flag("--json", options->json, "One JSON object a message, also on a terminal");
  command->callback([options] { Watch(*options); });
}

}  // namespace dipper::cli
