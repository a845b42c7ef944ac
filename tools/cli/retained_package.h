// RetainedPackage: a package's head and blocks as retained messages on a broker: put there, looked after
// while devices fetch them, and taken away (docs/reference/topics.md). Errors as MqttClient. Not thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tools/cli/mqtt_client.h"
#include "tools/cli/trust_files.h"

namespace dipper::cli {

class RetainedPackage {
 public:
  /// Both outlive this.
  RetainedPackage(MqttClient& client, std::string fleet, const PackageFile& file);

  /// The offer belongs to it too: restored where its topics hold none, never in another one's place.
  void AddOffer(std::vector<std::string> topics, package::Bytes offer);
  /// Blocks and head, each message acknowledged; the head last.
  void Publish();
  /// Asks the broker for every message, group by group, and publishes those that are missing or are others'.
  /// @returns how many.
  uint32_t Restore();
  /// Takes the offer away and every message below the package's topic, also those that are not the package's.
  void Clear();

 private:
  enum class Held : uint8_t { kNothing, kRight, kOther };
  Held Look(const std::string& topic, base::ByteView right);
  base::ByteView Block(uint32_t index) const;
  std::set<std::string> Wrong(const std::string& filter, uint32_t begin, uint32_t end);
  std::string Topic(uint32_t index) const;

  MqttClient& client_;
  const std::string fleet_;
  const PackageFile& file_;
  const package::Manifest& manifest_;
  std::vector<std::string> offer_topics_;
  package::Bytes offer_;
};

/// Whose end of the offer is waited for.
struct KeepWatch {
  std::string fleet, model;
  uint64_t number = 0;               ///< Of the offer.
  std::vector<std::string> devices;  ///< These; or, when empty,
  size_t count = 0;                  ///< so many, whoever they are; 0: nobody knows who is meant.
};

/// How it went when the watch ended.
struct KeepOutcome {
  std::map<std::string, schema::UpdateState> ended;  ///< By device; of `devices` when they were named.
  std::vector<std::string> missing;                  ///< Of `devices`.
  bool complete = false;
};

/// Restores what the broker loses, after each new connection and once a minute, until every device has ended
/// the offer or the time is over.
KeepOutcome KeepRetained(MqttClient& client, RetainedPackage& package, const KeepWatch& watch,
                         std::chrono::seconds time, const std::function<void(uint32_t)>& restored);

}  // namespace dipper::cli
