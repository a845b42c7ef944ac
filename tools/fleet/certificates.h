// The authority of a fleet: P-256 keys, device certificates, revocation list, and Mosquitto's password hash.
// certificates.cc is the one file of the tools that knows OpenSSL, which also writes revocation lists
// (mbedTLS does not). Errors are lab::Error. Thread-safe: pure functions. Source: RFC 5280; RFC 8018
// section 5.2.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace dipper::fleet {

/// A private key and its certificate, PEM. The key is not encrypted: files that hold it have mode 0600.
struct Credential {
  std::string key;
  std::string certificate;
  std::string serial;       ///< Of the certificate: 40 hex digits, 159 random bits (RFC 5280, 4.1.2.2).
  int64_t not_after_s = 0;  ///< Seconds since 1970.
};

/// A self-signed authority that may sign devices and revocation lists and no other authority.
Credential MakeAuthority(const std::string& name, int64_t days);

/// A client certificate for `name` (its common name, which Mosquitto takes as the user name), valid from an
/// hour ago, so that a device with a slow clock is let in, and never longer than the authority's.
Credential MakeClientCertificate(const Credential& authority, const std::string& name, int64_t days);

/// Why a PEM text does not do as authorities that a device is given; empty: it has certificates and nothing
/// else, above all no private key.
std::string CertificatesProblem(const std::string& pem);

struct Revoked {
  std::string serial;
  int64_t time_s = 0;
};

/// The list that the authority signs. `number` rises with each. It names no end before the authority's own:
/// a broker refuses everybody when the list has run out.
std::string MakeRevocationList(const Credential& authority, std::span<const Revoked> revoked,
                               uint64_t number);

/// A password of 32 letters and digits, 190 random bits.
std::string MakePassword();

/// As mosquitto_passwd writes it: $7$<iterations>$<salt>$<PBKDF2 with HMAC-SHA-512>.
std::string HashPassword(std::string_view password);

}  // namespace dipper::fleet
