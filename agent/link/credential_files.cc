// Files are told apart by what stat says of them; whether they fit together, OpenSSL knows.
#include "agent/link/credential_files.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <fstream>
#include <memory>

#include "agent/base/time.h"

namespace dipper::link {
namespace {

std::string WithReason(const std::string& what) {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? what : what + ": " + reason;
}

}  // namespace

bool ReadSecret(const std::string& path, std::string* secret) {
  std::ifstream file(path);
  if (!file || !std::getline(file, *secret)) return false;
  if (!secret->empty() && secret->back() == '\r') secret->pop_back();
  return !secret->empty();
}

std::string CheckCredentialFiles(const MqttConfig& config) {
  std::string ignored;
  if (!config.password_file.empty() && !ReadSecret(config.password_file, &ignored)) {
    return "password_file " + config.password_file + " has no password in its first line";
  }
  if (config.ca_file.empty()) return {};
  ERR_clear_error();
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (!context) return WithReason("TLS cannot start");
  if (SSL_CTX_load_verify_locations(context.get(), config.ca_file.c_str(), nullptr) != 1) {
    return WithReason("ca_file " + config.ca_file + " cannot be read");
  }
  if (config.cert_file.empty()) return {};
  if (SSL_CTX_use_certificate_chain_file(context.get(), config.cert_file.c_str()) != 1) {
    return WithReason("cert_file " + config.cert_file + " cannot be used");
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), config.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return WithReason("key_file " + config.key_file + " is not the key of cert_file " + config.cert_file);
  }
  return {};
}

CredentialFiles::Stamps CredentialFiles::Look() const {
  Stamps stamps;
  size_t at = 0;
  for (const std::string* path :
       {&config_.ca_file, &config_.cert_file, &config_.key_file, &config_.password_file}) {
    Stamp& stamp = stamps[at++];
    struct stat about {};
    if (path->empty() || ::stat(path->c_str(), &about) != 0) continue;
    stamp = {.device = about.st_dev,
             .node = about.st_ino,
             .bytes = static_cast<uint64_t>(about.st_size),
             .changed_ns = about.st_ctim.tv_sec * base::kSecondNs + about.st_ctim.tv_nsec};
  }
  return stamps;
}

}  // namespace dipper::link
