// Certificates with dates of the test's choice, which the openssl program's `x509 -req` does not offer.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <string>

#include "tests/integration/support/mosquitto.h"

namespace dipper::testing {

/// An authority that signs certificates valid from `from_s` to `to_s`, in seconds from now.
class Authority {
 public:
  explicit Authority(const std::string& folder) : folder_(folder), key_(EVP_EC_gen("P-256")) {
    certificate_.reset(Make(key_.get(), "authority", "", -3600, 10L * 365 * 86400));
    Write(ca(), certificate_.get(), nullptr);
  }
  std::string ca() const { return folder_ + "/authority.pem"; }

  /// Writes NAME.pem and NAME.key. `host`: a DNS name, an IPv4 address, or empty for a client's.
  Certificates Sign(const std::string& name, const std::string& host, long from_s, long to_s) {
    const Key key(EVP_EC_gen("P-256"));
    const Certificate made(Make(key.get(), name, host, from_s, to_s));
    const Certificates files{ca(), folder_ + "/" + name + ".pem", folder_ + "/" + name + ".key"};
    Write(files.cert, made.get(), nullptr);
    Write(files.key, nullptr, key.get());
    return files;
  }

 private:
  struct Free {
    void operator()(X509* made) const { X509_free(made); }
    void operator()(EVP_PKEY* made) const { EVP_PKEY_free(made); }
  };
  using Certificate = std::unique_ptr<X509, Free>;
  using Key = std::unique_ptr<EVP_PKEY, Free>;

  X509* Make(EVP_PKEY* key, const std::string& name, const std::string& host, long from_s, long to_s) {
    X509* made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(made), from_s);
    X509_gmtime_adj(X509_getm_notAfter(made), to_s);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(made, X509_get_subject_name(certificate_ ? certificate_.get() : made));
    X509_set_pubkey(made, key);
    if (!certificate_) Extend(made, NID_basic_constraints, "critical,CA:TRUE");
    const bool numeric = host.find_first_not_of("0123456789.") == std::string::npos;
    if (!host.empty()) Extend(made, NID_subject_alt_name, (numeric ? "IP:" : "DNS:") + host);
    X509_sign(made, key_.get(), EVP_sha256());
    return made;
  }
  static void Extend(X509* made, int what, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, what, value.c_str());
    X509_add_ext(made, extension, -1);
    X509_EXTENSION_free(extension);
  }
  // Under another name first, as whoever renews certificates should.
  static void Write(const std::string& path, X509* certificate, EVP_PKEY* key) {
    const std::string fresh = path + ".new";
    std::FILE* file = std::fopen(fresh.c_str(), "we");
    if (file == nullptr) return;
    if (certificate != nullptr) PEM_write_X509(file, certificate);
    if (key != nullptr) PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
    std::rename(fresh.c_str(), path.c_str());
  }

  std::string folder_;
  Key key_;
  Certificate certificate_;
  long serial_ = 0;
};

}  // namespace dipper::testing
