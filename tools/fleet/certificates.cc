// Implementation of certificates.h.
#include "tools/fleet/certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <ctime>
#include <memory>
#include <vector>

#include "tools/lab/error.h"

namespace dipper::fleet {
namespace {

constexpr int64_t kDaySeconds = 86400;
constexpr int64_t kClockSlackSeconds = 3600;
constexpr int kSerialBytes = 20;
// mosquitto_passwd's own; passwords made here have too many bits to be guessed at any speed.
constexpr int kIterations = 101;
constexpr size_t kSaltBytes = 12;
constexpr size_t kHashBytes = 64;

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using List = std::unique_ptr<X509_CRL, Free<X509_CRL_free>>;
using Entry = std::unique_ptr<X509_REVOKED, Free<X509_REVOKED_free>>;
using Memory = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;
using Integer = std::unique_ptr<ASN1_INTEGER, Free<ASN1_INTEGER_free>>;
using Time = std::unique_ptr<ASN1_TIME, Free<ASN1_TIME_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;

void Check(bool good, const char* what) {
  if (!good) {
    throw lab::Error(lab::ExitCode::kFailure, std::string("cannot ") + what +
                                                  ": OpenSSL refused; is there enough memory, and are the "
                                                  "fleet's ca.key and ca.pem as they were made?");
  }
}

std::string Text(const Memory& memory) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(memory.get(), &data);
  return {data, static_cast<size_t>(length)};
}

Memory NewMemory() {
  Memory memory(BIO_new(BIO_s_mem()));
  Check(memory != nullptr, "allocate");
  return memory;
}

Memory Reader(const std::string& text) {
  Memory memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  Check(memory != nullptr, "allocate");
  return memory;
}

std::string KeyPem(EVP_PKEY* key) {
  const Memory memory = NewMemory();
  Check(PEM_write_bio_PrivateKey(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
        "write a key");
  return Text(memory);
}

Key ReadKey(const std::string& pem) {
  Key key(PEM_read_bio_PrivateKey(Reader(pem).get(), nullptr, nullptr, nullptr));
  Check(key != nullptr, "read the authority's key");
  return key;
}

Certificate ReadCertificate(const std::string& pem) {
  Certificate certificate(PEM_read_bio_X509(Reader(pem).get(), nullptr, nullptr, nullptr));
  Check(certificate != nullptr, "read the authority's certificate");
  return certificate;
}

Key NewKey() {
  Key key(EVP_EC_gen("P-256"));
  Check(key != nullptr, "make a key");
  return key;
}

std::string Hex(const ASN1_INTEGER* value) {
  const Number number(ASN1_INTEGER_to_BN(value, nullptr));
  Check(number != nullptr, "read a serial number");
  std::array<unsigned char, kSerialBytes> bytes{};
  Check(BN_bn2binpad(number.get(), bytes.data(), kSerialBytes) == kSerialBytes, "read a serial number");
  std::string text;
  for (const unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4U];
    text += "0123456789abcdef"[byte & 15U];
  }
  return text;
}

Integer SerialOf(const std::string& hex) {
  BIGNUM* raw = nullptr;
  Check(BN_hex2bn(&raw, hex.c_str()) == static_cast<int>(hex.size()), "read a serial number");
  const Number number(raw);
  Integer serial(BN_to_ASN1_INTEGER(number.get(), nullptr));
  Check(serial != nullptr, "write a serial number");
  return serial;
}

Integer RandomSerial() {
  std::array<unsigned char, kSerialBytes> bytes{};
  Check(RAND_bytes(bytes.data(), kSerialBytes) == 1, "get random bytes");
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x3fU) | 0x40U);  // positive and of full length
  const Number number(BN_bin2bn(bytes.data(), kSerialBytes, nullptr));
  Integer serial(BN_to_ASN1_INTEGER(number.get(), nullptr));
  Check(serial != nullptr, "write a serial number");
  return serial;
}

Time At(int64_t seconds) {
  Time time(ASN1_TIME_set(nullptr, static_cast<time_t>(seconds)));
  Check(time != nullptr, "write a time");
  return time;
}

int64_t SecondsOf(const ASN1_TIME* time) {
  struct tm parts {};
  Check(ASN1_TIME_to_tm(time, &parts) == 1, "read a time");
  return static_cast<int64_t>(::timegm(&parts));
}

void Extend(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  Check(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, "extend a certificate");
}

// Everything that authority and client have in common; not signed yet.
Certificate Draft(EVP_PKEY* key, const std::string& name, int64_t not_before_s, int64_t not_after_s) {
  Certificate draft(X509_new());
  Check(draft != nullptr, "allocate");
  X509_NAME* subject = X509_get_subject_name(draft.get());
  Check(X509_set_version(draft.get(), X509_VERSION_3) == 1 &&
            X509_set_serialNumber(draft.get(), RandomSerial().get()) == 1 &&
            X509_set1_notBefore(draft.get(), At(not_before_s).get()) == 1 &&
            X509_set1_notAfter(draft.get(), At(not_after_s).get()) == 1 &&
            X509_set_pubkey(draft.get(), key) == 1 &&
            X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                       reinterpret_cast<const unsigned char*>(name.data()),
                                       static_cast<int>(name.size()), -1, 0) == 1,
        "fill in a certificate");
  return draft;
}

Credential Finish(const Certificate& certificate, EVP_PKEY* key, EVP_PKEY* signer) {
  Check(X509_sign(certificate.get(), signer, EVP_sha256()) > 0, "sign a certificate");
  const Memory memory = NewMemory();
  Check(PEM_write_bio_X509(memory.get(), certificate.get()) == 1, "write a certificate");
  return {.key = KeyPem(key),
          .certificate = Text(memory),
          .serial = Hex(X509_get0_serialNumber(certificate.get())),
          .not_after_s = SecondsOf(X509_get0_notAfter(certificate.get()))};
}

std::string Base64(std::span<const unsigned char> bytes) {
  std::vector<unsigned char> text(4 * ((bytes.size() + 2) / 3) + 1);
  const int length = EVP_EncodeBlock(text.data(), bytes.data(), static_cast<int>(bytes.size()));
  return {text.begin(), text.begin() + length};
}

}  // namespace

Credential MakeAuthority(const std::string& name, int64_t days) {
  const Key key = NewKey();
  const int64_t now = std::time(nullptr);
  const Certificate draft = Draft(key.get(), name, now - kClockSlackSeconds, now + days * kDaySeconds);
  Check(X509_set_issuer_name(draft.get(), X509_get_subject_name(draft.get())) == 1, "name an issuer");
  Extend(draft.get(), draft.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  Extend(draft.get(), draft.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  Extend(draft.get(), draft.get(), NID_subject_key_identifier, "hash");
  return Finish(draft, key.get(), key.get());
}

Credential MakeClientCertificate(const Credential& authority, const std::string& name, int64_t days) {
  const Certificate issuer = ReadCertificate(authority.certificate);
  const Key signer = ReadKey(authority.key);
  const Key key = NewKey();
  const int64_t now = std::time(nullptr);
  const int64_t end = std::min(now + days * kDaySeconds, SecondsOf(X509_get0_notAfter(issuer.get())));
  if (end <= now) {
    throw lab::Error(
        lab::ExitCode::kFailure,
        "the fleet's authority (ca.pem) has expired; make a new fleet folder with: dipper device "
        "init, and provision the devices anew");
  }
  const Certificate draft = Draft(key.get(), name, now - kClockSlackSeconds, end);
  Check(X509_set_issuer_name(draft.get(), X509_get_subject_name(issuer.get())) == 1, "name an issuer");
  Extend(draft.get(), issuer.get(), NID_basic_constraints, "critical,CA:FALSE");
  Extend(draft.get(), issuer.get(), NID_key_usage, "critical,digitalSignature");
  Extend(draft.get(), issuer.get(), NID_ext_key_usage, "clientAuth");
  Extend(draft.get(), issuer.get(), NID_subject_key_identifier, "hash");
  Extend(draft.get(), issuer.get(), NID_authority_key_identifier, "keyid:always");
  return Finish(draft, key.get(), signer.get());
}

std::string MakeRevocationList(const Credential& authority, std::span<const Revoked> revoked,
                               uint64_t number) {
  const Certificate issuer = ReadCertificate(authority.certificate);
  const Key signer = ReadKey(authority.key);
  const List list(X509_CRL_new());
  Check(list != nullptr && X509_CRL_set_version(list.get(), X509_CRL_VERSION_2) == 1 &&
            X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(issuer.get())) == 1 &&
            X509_CRL_set1_lastUpdate(list.get(), At(std::time(nullptr) - kClockSlackSeconds).get()) == 1 &&
            X509_CRL_set1_nextUpdate(list.get(), X509_get0_notAfter(issuer.get())) == 1,
        "make a revocation list");
  for (const Revoked& one : revoked) {
    Entry entry(X509_REVOKED_new());
    Check(entry != nullptr && X509_REVOKED_set_serialNumber(entry.get(), SerialOf(one.serial).get()) == 1 &&
              X509_REVOKED_set_revocationDate(entry.get(), At(one.time_s).get()) == 1 &&
              X509_CRL_add0_revoked(list.get(), entry.get()) == 1,
          "list a revoked certificate");
    (void)entry.release();  // the list owns it
  }
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer.get(), nullptr, nullptr, list.get(), 0);
  const Extension key_id(
      X509V3_EXT_conf_nid(nullptr, &context, NID_authority_key_identifier, "keyid:always"));
  Check(key_id != nullptr && X509_CRL_add_ext(list.get(), key_id.get(), -1) == 1,
        "extend the revocation list");
  const Integer serial(ASN1_INTEGER_new());
  Check(serial != nullptr && ASN1_INTEGER_set_uint64(serial.get(), number) == 1 &&
            X509_CRL_add1_ext_i2d(list.get(), NID_crl_number, serial.get(), 0, 0) == 1 &&
            X509_CRL_sort(list.get()) == 1 && X509_CRL_sign(list.get(), signer.get(), EVP_sha256()) > 0,
        "sign the revocation list");
  const Memory memory = NewMemory();
  Check(PEM_write_bio_X509_CRL(memory.get(), list.get()) == 1, "write the revocation list");
  return Text(memory);
}

std::string CertificatesProblem(const std::string& pem) {
  if (pem.find("PRIVATE KEY-----") != std::string::npos)
    return "it holds a private key, which every device would get; give the certificate alone";
  const Memory memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Check(memory != nullptr, "read certificates");
  int count = 0;
  ERR_clear_error();
  for (;; ++count) {
    char* name = nullptr;
    char* header = nullptr;
    unsigned char* data = nullptr;
    long length = 0;
    if (PEM_read_bio(memory.get(), &name, &header, &data, &length) != 1) break;
    const std::string kind(name);
    const unsigned char* at = data;
    const Certificate certificate(d2i_X509(nullptr, &at, length));
    // OpenSSL passes over bytes behind a certificate; a device's own reader need not.
    const bool whole = certificate != nullptr && at == data + length;
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    if (kind != PEM_STRING_X509) return "it holds a " + kind + "; only certificates belong there";
    if (!whole) return "certificate " + std::to_string(count + 1) + " in it is damaged";
  }
  const bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!end) return "certificate " + std::to_string(count + 1) + " in it is cut short or damaged";
  return count > 0 ? "" : "it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)";
}

std::string MakePassword() {
  static constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr size_t kLength = 32;
  // Above it the last letters of the alphabet would be rarer than the first.
  constexpr unsigned kFair = 256 - 256 % 62;
  std::string password;
  while (password.size() < kLength) {
    unsigned char byte = 0;
    Check(RAND_bytes(&byte, 1) == 1, "get random bytes");
    if (byte < kFair) password += kLetters[byte % kLetters.size()];
  }
  return password;
}

std::string HashPassword(std::string_view password) {
  std::array<unsigned char, kSaltBytes> salt{};
  std::array<unsigned char, kHashBytes> hash{};
  Check(RAND_bytes(salt.data(), static_cast<int>(salt.size())) == 1, "get random bytes");
  Check(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), salt.data(),
                          static_cast<int>(salt.size()), kIterations, EVP_sha512(),
                          static_cast<int>(hash.size()), hash.data()) == 1,
        "hash a password");
  return "$7$" + std::to_string(kIterations) + "$" + Base64(salt) + "$" + Base64(hash);
}

}  // namespace dipper::fleet
