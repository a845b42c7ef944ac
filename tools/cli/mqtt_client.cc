// Implementation of mqtt_client.h.
#include "tools/cli/mqtt_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "agent/telemetry/topics.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::cli {
namespace {

using base::Status;
using lab::Error;
using lab::ExitCode;
using telemetry::TransportEvent;
using Kind = TransportEvent::Kind;

constexpr std::chrono::seconds kAnswerTime{30};
constexpr uint64_t kMaxPasswordBytes = 4096;

std::string ReadPassword(const std::string& path) {
  std::string text = lab::ReadTextFile(path, kMaxPasswordBytes);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

// Two commands at once, also on machines that share a broker, are two clients.
uint32_t Nonce() {
  uint32_t nonce = 0;
  if (getentropy(&nonce, sizeof nonce) != 0) nonce = static_cast<uint32_t>(NowMs());
  return nonce;
}

/// What the link says of a configuration, in the words of this program's options.
std::string InOptions(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {{"ca_file", "--ca"},
                                                                      {"cert_file", "--cert"},
                                                                      {"key_file", "--key"},
                                                                      {"password_file", "--password-file"}};
  for (const auto& [name, option] : kNames) {
    for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += option.size())
      text.replace(at, name.size(), option);
  }
  return text;
}

link::MqttConfig MakeConfig(const MqttOptions& options) {
  if (!telemetry::IsTopicId(options.fleet)) {
    throw Error(ExitCode::kUsage,
                fmt::format("fleet \"{}\" is not a name; use 1 to 64 of A-Z a-z 0-9 _ -", options.fleet));
  }
  link::MqttConfig config;
  config.url = options.broker;
  config.client_id =
      options.session.empty() ? fmt::format("dipper-cli-{}-{:08x}", getpid(), Nonce()) : options.session;
  config.username = options.user;
  if (!options.password_file.empty()) config.password = ReadPassword(options.password_file);
  config.ca_file = options.ca;
  config.cert_file = options.cert;
  config.key_file = options.key;
  config.version = options.version == "5" ? link::MqttVersion::k5 : link::MqttVersion::k311;
  config.persistent_session = !options.session.empty();
  config.incoming_messages = 10000;
  // Somebody waits at a desk, and desks are few: no need for a fleet's patience.
  config.max_backoff_ms = 4000;
  config.incoming_bytes = 16 * 1024 * 1024;
  const std::string problem = link::CheckMqttConfig(config);
  if (!problem.empty()) throw Error(ExitCode::kUsage, InOptions(problem));
  return config;
}

}  // namespace

void AddMqttOptions(CLI::App& command, MqttOptions& options) {
  command.add_option("--broker", options.broker, "mqtts://HOST:PORT or mqtt://HOST:PORT")
      ->envname("DIPPER_BROKER")
      ->required();
  command.add_option("--ca", options.ca,
                     "Authority that signed the broker's certificate (PEM); needed for mqtts");
  command.add_option("--user", options.user, "User name at the broker");
  command.add_option("--password-file", options.password_file, "File whose first line is the password");
  command.add_option("--cert", options.cert, "Client certificate (PEM), with --key");
  command.add_option("--key", options.key, "Client certificate's private key (PEM)");
  command.add_option("--fleet", options.fleet, "Fleet name in the topics")->capture_default_str();
  command.add_option("--mqtt-version", options.version, "5 or 311")
      ->check(CLI::IsMember({"5", "311"}))
      ->capture_default_str();
}

uint64_t NowMs() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

MqttClient::MqttClient(const MqttOptions& options)
    : broker_(options.broker), session_(std::make_unique<link::MqttSession>(MakeConfig(options))) {
  const auto end = Clock::now() + kAnswerTime;
  while (!session_->connected()) {
    if (session_->stats().failed_connects > 0 || Clock::now() > end) {
      const std::string why = InOptions(session_->last_error());
      throw Error(ExitCode::kUnreachable,
                  fmt::format("cannot reach the broker: {}", why.empty() ? broker_ + ": no answer" : why));
    }
    Step(Clock::now() + std::chrono::milliseconds(50));
  }
}

// Handles the next event, waiting for it until `end`. False: none came.
bool MqttClient::Step(Clock::time_point end) {
  TransportEvent event;
  while (session_->Poll(&event) == Status::kNotFound) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return false;
    pollfd entry{session_->event_fd(), POLLIN, 0};
    poll(&entry, 1, static_cast<int>(std::min<int64_t>(left, 1000)));
  }
  OnEvent(event);
  return true;
}

void MqttClient::OnEvent(const TransportEvent& event) {
  switch (event.kind) {
    case Kind::kConnected:
      for (const std::string& filter : filters_) {
        if (session_->Subscribe(filter, telemetry::Qos::kAtLeastOnce) != Status::kOk) {
          throw Error(ExitCode::kFailure, fmt::format("too many subscriptions at {}", broker_));
        }
      }
      break;
    case Kind::kDisconnected:
      if (patient_) {
        waiting_.clear();  // void: whoever published looks again
        break;
      }
      throw Error(ExitCode::kUnreachable,
                  fmt::format("{}: {}; run the command again", broker_, event.detail));
    case Kind::kMessage:
      if (on_message_) on_message_(event);
      break;
    case Kind::kPublished: {
      if (event.reason < 0) {  // it never reached the broker
        NoteLoss(event);
        break;
      }
      const auto found = waiting_.find(event.token);
      if (found == waiting_.end()) break;
      if (event.reason != 0) {
        throw Error(ExitCode::kFailure, fmt::format("{} refused {}: {}; check the broker's access list",
                                                    broker_, found->second, event.detail));
      }
      waiting_.erase(found);
      ++acknowledged_;
      if (on_progress_) on_progress_(acknowledged_);
      break;
    }
    case Kind::kSubscribed:
      if (event.reason < 0) {
        NoteLoss(event);
        break;
      }
      if (event.reason != 0) {
        throw Error(ExitCode::kFailure,
                    fmt::format("{} refused to subscribe {}: {}; check the broker's access list", broker_,
                                event.topic, event.detail));
      }
      ++subscribed_;
      break;
    case Kind::kNone:
      break;
  }
}

void MqttClient::NoteLoss(const TransportEvent& event) const {
  // The patient wait for the end of the connection, which follows.
  if (patient_) return;
  throw Error(ExitCode::kUnreachable, fmt::format("{}: {}; run the command again", broker_, event.detail));
}

void MqttClient::Publish(std::string_view topic, base::ByteView payload, bool retain) {
  const auto end = Clock::now() + kAnswerTime;
  while (true) {
    uint32_t token = 0;
    const Status status = session_->Publish(topic, payload, telemetry::Qos::kAtLeastOnce, retain, &token);
    if (status == Status::kOk) {
      waiting_[token] = topic;
      return;
    }
    if (status == Status::kInvalidArgument) {
      throw Error(ExitCode::kUsage, fmt::format("cannot publish {} bytes to \"{}\"", payload.size(), topic));
    }
    if (!Step(end))
      throw Error(ExitCode::kUnreachable, fmt::format("{} does not acknowledge messages", broker_));
  }
}

void MqttClient::WaitForPublications() {
  while (!waiting_.empty()) {
    if (!Step(Clock::now() + kAnswerTime)) {
      throw Error(ExitCode::kUnreachable, fmt::format("{} does not acknowledge messages", broker_));
    }
  }
}

void MqttClient::Subscribe(const std::string& filter) {
  const uint64_t before = subscribed_;
  if (session_->Subscribe(filter, telemetry::Qos::kAtLeastOnce) != Status::kOk) {
    const std::string why = session_->last_error();
    throw Error(ExitCode::kUnreachable,
                fmt::format("{}: not connected{}{}", broker_, why.empty() ? "" : ": ", why));
  }
  filters_.push_back(filter);
  WaitForSubscription(before);
}

void MqttClient::Unsubscribe(const std::string& filter) {
  std::erase(filters_, filter);
  const uint64_t before = subscribed_;
  // Without a connection there is nothing to end.
  if (session_->Unsubscribe(filter) == Status::kOk) WaitForSubscription(before);
}

void MqttClient::WaitForSubscription(uint64_t before) {
  while (subscribed_ == before && session_->connected()) {
    if (!Step(Clock::now() + kAnswerTime)) {
      throw Error(ExitCode::kUnreachable, fmt::format("{} does not answer", broker_));
    }
  }
}

void MqttClient::Run(Clock::duration time, const std::function<bool()>& done) {
  const auto end = Clock::now() + time;
  while (Clock::now() < end && !(done && done())) {
    Step(std::min(end, Clock::now() + std::chrono::milliseconds(100)));
  }
}

}  // namespace dipper::cli
