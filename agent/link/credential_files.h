// CredentialFiles: the certificate, key, authority and password files of a session, and whether they were
// exchanged since. Exceptions stay inside. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "agent/link/mqtt_session.h"

namespace dipper::link {

/// First line of a file, without its end. False: it cannot be read or is empty.
bool ReadSecret(const std::string& path, std::string* secret);

/// Why the files cannot be used for a connection as they are now: a certificate whose key is another's, one
/// that is half written, no password. Empty: they can.
std::string CheckCredentialFiles(const MqttConfig& config);

class CredentialFiles {
 public:
  /// @param config  Outlives this.
  explicit CredentialFiles(const MqttConfig& config) : config_(config) {}

  /// What is on disk now is in use from here on.
  void Taken() { taken_ = Look(); }
  /// Another content is there than was taken.
  bool Changed() const { return Look() != taken_; }

 private:
  /// Of one file; all zero when there is none.
  struct Stamp {
    uint64_t device = 0, node = 0, bytes = 0;
    int64_t changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  using Stamps = std::array<Stamp, 4>;
  Stamps Look() const;

  const MqttConfig& config_;
  Stamps taken_{};
};

}  // namespace dipper::link
