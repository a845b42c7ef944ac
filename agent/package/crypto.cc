// Implementation of crypto.h. The accessors under MBEDTLS_ALLOW_PRIVATE_ACCESS have the same names in 2.28
// and 3.x.
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include "agent/package/crypto.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/gcm.h>
#include <mbedtls/hkdf.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/version.h>

#include <algorithm>

#include "agent/base/sha256.h"

namespace dipper::package {
namespace {

using base::Result;
using base::Status;
using namespace std::string_view_literals;

constexpr size_t kPointBytes = 65;
constexpr std::array<std::string_view, 4> kPrefixes = {"dipper/package/1"sv, "dipper/root/1\0\0\0"sv,
                                                       "dipper/offer/1\0\0"sv, "dipper/command/1"sv};

/// An mbedTLS object with its init and free calls.
template <typename T, void (*kInit)(T*), void (*kFree)(T*)>
class Owned {
 public:
  Owned() { kInit(&object_); }
  ~Owned() { kFree(&object_); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  T* get() { return &object_; }

 private:
  T object_;
};
using Mpi = Owned<mbedtls_mpi, mbedtls_mpi_init, mbedtls_mpi_free>;
using Point = Owned<mbedtls_ecp_point, mbedtls_ecp_point_init, mbedtls_ecp_point_free>;
using Group = Owned<mbedtls_ecp_group, mbedtls_ecp_group_init, mbedtls_ecp_group_free>;
using Pk = Owned<mbedtls_pk_context, mbedtls_pk_init, mbedtls_pk_free>;
using Entropy = Owned<mbedtls_entropy_context, mbedtls_entropy_init, mbedtls_entropy_free>;
using Gcm = Owned<mbedtls_gcm_context, mbedtls_gcm_init, mbedtls_gcm_free>;
using Drbg = Owned<mbedtls_ctr_drbg_context, mbedtls_ctr_drbg_init, mbedtls_ctr_drbg_free>;

/// A random generator seeded from the system.
class Random {
 public:
  Random() : ok_(mbedtls_ctr_drbg_seed(drbg_.get(), mbedtls_entropy_func, entropy_.get(), nullptr, 0) == 0) {}
  bool ok() const { return ok_; }
  mbedtls_ctr_drbg_context* get() { return drbg_.get(); }

 private:
  Entropy entropy_;
  Drbg drbg_;
  bool ok_;
};

std::array<uint8_t, kPointBytes> Uncompressed(const PublicKey& key) {
  std::array<uint8_t, kPointBytes> bytes{};
  bytes[0] = 0x04;
  std::copy(key.xy.begin(), key.xy.end(), bytes.begin() + 1);
  return bytes;
}

/// Loads P-256 and a point that is checked to lie on it.
bool LoadPoint(const PublicKey& key, mbedtls_ecp_group* group, mbedtls_ecp_point* point) {
  const auto bytes = Uncompressed(key);
  return mbedtls_ecp_point_read_binary(group, point, bytes.data(), bytes.size()) == 0 &&
         mbedtls_ecp_check_pubkey(group, point) == 0;
}

bool StorePoint(mbedtls_ecp_group* group, mbedtls_ecp_point* point, PublicKey* key) {
  std::array<uint8_t, kPointBytes> bytes{};
  size_t length = 0;
  if (mbedtls_ecp_point_write_binary(group, point, MBEDTLS_ECP_PF_UNCOMPRESSED, &length, bytes.data(),
                                     bytes.size()) != 0 ||
      length != kPointBytes) {
    return false;
  }
  std::copy(bytes.begin() + 1, bytes.end(), key->xy.begin());
  return true;
}

int ParsePrivate(mbedtls_pk_context* pk, const std::string& pem, [[maybe_unused]] Random& random) {
  const auto* text = reinterpret_cast<const unsigned char*>(pem.c_str());
#if MBEDTLS_VERSION_NUMBER < 0x03000000
  return mbedtls_pk_parse_key(pk, text, pem.size() + 1, nullptr, 0);
#else
  return mbedtls_pk_parse_key(pk, text, pem.size() + 1, nullptr, 0, mbedtls_ctr_drbg_random, random.get());
#endif
}

/// The elliptic-curve half of a parsed key, or null when it is another kind or curve.
mbedtls_ecp_keypair* P256Of(mbedtls_pk_context* pk) {
  if (!mbedtls_pk_can_do(pk, MBEDTLS_PK_ECKEY)) return nullptr;
  mbedtls_ecp_keypair* pair = mbedtls_pk_ec(*pk);
  return pair->grp.id == MBEDTLS_ECP_DP_SECP256R1 ? pair : nullptr;
}

/// Fills `pk` with a public key, and with `scalar` if it is not empty.
bool FillPk(mbedtls_pk_context* pk, const PublicKey& key, base::ByteView scalar) {
  if (mbedtls_pk_setup(pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) != 0) return false;
  mbedtls_ecp_keypair* pair = mbedtls_pk_ec(*pk);
  if (mbedtls_ecp_group_load(&pair->grp, MBEDTLS_ECP_DP_SECP256R1) != 0) return false;
  if (!LoadPoint(key, &pair->grp, &pair->Q)) return false;
  return scalar.empty() || mbedtls_mpi_read_binary(&pair->d, scalar.data(), scalar.size()) == 0;
}

template <typename Writer>
Result<std::string> WritePem(const PublicKey& key, base::ByteView scalar, Writer writer) {
  Pk pk;
  if (!FillPk(pk.get(), key, scalar)) return Status::kInvalidArgument;
  std::array<unsigned char, 1024> text{};
  const bool written = writer(pk.get(), text.data(), text.size()) == 0;
  std::string pem = written ? reinterpret_cast<const char*>(text.data()) : "";
  mbedtls_platform_zeroize(text.data(), text.size());
  if (!written) return Status::kInternal;
  return pem;
}

}  // namespace

base::Digest KeyId(const PublicKey& key) { return base::Sha256Of(Uncompressed(key)); }

std::string_view SigningPrefix(Domain domain) {
  const std::string_view prefix = kPrefixes[static_cast<size_t>(domain)];
  DIPPER_CHECK(prefix.size() == 16);
  return prefix;
}

base::Digest SigningDigest(Domain domain, base::ByteView first, base::ByteView second) {
  base::Sha256 hash;
  hash.Update(base::AsBytes(SigningPrefix(domain)));
  hash.Update(first);
  hash.Update(second);
  return hash.Finish();
}

bool VerifySignature(const PublicKey& key, const base::Digest& signing_digest,
                     const SignatureValue& signature) {
  Group group;
  Point point;
  Mpi r;
  Mpi s;
  return mbedtls_ecp_group_load(group.get(), MBEDTLS_ECP_DP_SECP256R1) == 0 &&
         LoadPoint(key, group.get(), point.get()) &&
         mbedtls_mpi_read_binary(r.get(), signature.rs.data(), 32) == 0 &&
         mbedtls_mpi_read_binary(s.get(), signature.rs.data() + 32, 32) == 0 &&
         mbedtls_ecdsa_verify(group.get(), signing_digest.bytes.data(), signing_digest.bytes.size(),
                              point.get(), r.get(), s.get()) == 0;
}

Status CheckPublicKey(const PublicKey& key) {
  Group group;
  Point point;
  const bool good = mbedtls_ecp_group_load(group.get(), MBEDTLS_ECP_DP_SECP256R1) == 0 &&
                    LoadPoint(key, group.get(), point.get());
  return good ? Status::kOk : Status::kInvalidArgument;
}

PrivateKey::~PrivateKey() { mbedtls_platform_zeroize(scalar_.data(), scalar_.size()); }

Result<PrivateKey> GenerateKey() {
  Random random;
  if (!random.ok()) return Status::kUnavailable;
  Group group;
  Mpi d;
  Point q;
  PrivateKey key;
  if (mbedtls_ecp_group_load(group.get(), MBEDTLS_ECP_DP_SECP256R1) != 0 ||
      mbedtls_ecp_gen_keypair(group.get(), d.get(), q.get(), mbedtls_ctr_drbg_random, random.get()) != 0 ||
      mbedtls_mpi_write_binary(d.get(), key.scalar_.data(), key.scalar_.size()) != 0 ||
      !StorePoint(group.get(), q.get(), &key.public_key_)) {
    return Status::kUnavailable;
  }
  return key;
}

Result<PrivateKey> ParsePrivateKey(std::string_view pem) {
  Random random;
  if (!random.ok()) return Status::kUnavailable;
  Pk pk;
  std::string text(pem);
  const int parsed = ParsePrivate(pk.get(), text, random);
  mbedtls_platform_zeroize(text.data(), text.size());
  if (parsed != 0) return Status::kInvalidArgument;
  mbedtls_ecp_keypair* pair = P256Of(pk.get());
  if (pair == nullptr || mbedtls_ecp_check_privkey(&pair->grp, &pair->d) != 0)
    return Status::kInvalidArgument;
  PrivateKey key;
  // The point is computed again: a file whose halves do not belong together would sign what nobody can
  // verify.
  if (mbedtls_ecp_mul(&pair->grp, &pair->Q, &pair->d, &pair->grp.G, mbedtls_ctr_drbg_random, random.get()) !=
          0 ||
      mbedtls_mpi_write_binary(&pair->d, key.scalar_.data(), key.scalar_.size()) != 0 ||
      !StorePoint(&pair->grp, &pair->Q, &key.public_key_)) {
    return Status::kInvalidArgument;
  }
  return key;
}

Result<PublicKey> ParsePublicKey(std::string_view pem) {
  if (pem.find("PRIVATE KEY") != std::string_view::npos) {
    DIPPER_ASSIGN_OR_RETURN(const PrivateKey key, ParsePrivateKey(pem));
    return key.public_key();
  }
  Pk pk;
  const std::string text(pem);
  if (mbedtls_pk_parse_public_key(pk.get(), reinterpret_cast<const unsigned char*>(text.c_str()),
                                  text.size() + 1) != 0) {
    return Status::kInvalidArgument;
  }
  mbedtls_ecp_keypair* pair = P256Of(pk.get());
  PublicKey key;
  if (pair == nullptr || mbedtls_ecp_check_pubkey(&pair->grp, &pair->Q) != 0 ||
      !StorePoint(&pair->grp, &pair->Q, &key)) {
    return Status::kInvalidArgument;
  }
  return key;
}

Result<std::string> PrivateKeyPem(const PrivateKey& key) {
  return WritePem(key.public_key(), key.scalar(), mbedtls_pk_write_key_pem);
}

Result<std::string> PublicKeyPem(const PublicKey& key) {
  return WritePem(key, {}, mbedtls_pk_write_pubkey_pem);
}

Result<SignatureValue> Sign(const PrivateKey& key, const base::Digest& signing_digest) {
  Random random;
  if (!random.ok()) return Status::kUnavailable;
  Group group;
  Mpi d;
  Mpi r;
  Mpi s;
  SignatureValue signature;
  // Deterministic (RFC 6979): equal inputs give equal signatures; randomness only blinds the computation.
  if (mbedtls_ecp_group_load(group.get(), MBEDTLS_ECP_DP_SECP256R1) != 0 ||
      mbedtls_mpi_read_binary(d.get(), key.scalar().data(), key.scalar().size()) != 0 ||
      mbedtls_ecdsa_sign_det_ext(group.get(), r.get(), s.get(), d.get(), signing_digest.bytes.data(),
                                 signing_digest.bytes.size(), MBEDTLS_MD_SHA256, mbedtls_ctr_drbg_random,
                                 random.get()) != 0 ||
      mbedtls_mpi_write_binary(r.get(), signature.rs.data(), 32) != 0 ||
      mbedtls_mpi_write_binary(s.get(), signature.rs.data() + 32, 32) != 0) {
    return Status::kInvalidArgument;
  }
  return signature;
}

Secret::~Secret() { mbedtls_platform_zeroize(bytes.data(), bytes.size()); }

Status FillRandom(base::MutableBytes to) {
  Random random;
  if (!random.ok()) return Status::kUnavailable;
  while (!to.empty()) {
    const size_t take = std::min<size_t>(to.size(), MBEDTLS_CTR_DRBG_MAX_REQUEST);
    if (mbedtls_ctr_drbg_random(random.get(), to.data(), take) != 0) return Status::kUnavailable;
    to = to.subspan(take);
  }
  return Status::kOk;
}

Status SharedSecret(const PrivateKey& mine, const PublicKey& other, Secret* x) {
  Random random;
  if (!random.ok()) return Status::kUnavailable;
  Group group;
  Mpi d;
  Mpi shared;
  Point point;
  const bool agreed = mbedtls_ecp_group_load(group.get(), MBEDTLS_ECP_DP_SECP256R1) == 0 &&
                      LoadPoint(other, group.get(), point.get()) &&
                      mbedtls_mpi_read_binary(d.get(), mine.scalar().data(), mine.scalar().size()) == 0 &&
                      mbedtls_ecdh_compute_shared(group.get(), shared.get(), point.get(), d.get(),
                                                  mbedtls_ctr_drbg_random, random.get()) == 0 &&
                      mbedtls_mpi_write_binary(shared.get(), x->bytes.data(), x->bytes.size()) == 0;
  return agreed ? Status::kOk : Status::kInvalidArgument;
}

Secret DeriveKey(const Secret& from, base::ByteView salt, base::ByteView info) {
  Secret key;
  const int failed =
      mbedtls_hkdf(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), salt.data(), salt.size(), from.bytes.data(),
                   from.bytes.size(), info.data(), info.size(), key.bytes.data(), key.bytes.size());
  DIPPER_CHECK(failed == 0);  // only memory and wrong lengths can fail it
  return key;
}

void GcmSeal(const Secret& key, const GcmNonce& nonce, base::ByteView extra, base::MutableBytes bytes,
             GcmTag* tag) {
  Gcm gcm;
  const bool sealed = mbedtls_gcm_setkey(gcm.get(), MBEDTLS_CIPHER_ID_AES, key.bytes.data(), 256) == 0 &&
                      mbedtls_gcm_crypt_and_tag(gcm.get(), MBEDTLS_GCM_ENCRYPT, bytes.size(), nonce.data(),
                                                nonce.size(), extra.data(), extra.size(), bytes.data(),
                                                bytes.data(), tag->size(), tag->data()) == 0;
  DIPPER_CHECK(sealed);
}

Status GcmOpen(const Secret& key, const GcmNonce& nonce, base::ByteView extra, const GcmTag& tag,
               base::MutableBytes bytes) {
  Gcm gcm;
  const bool opened =
      mbedtls_gcm_setkey(gcm.get(), MBEDTLS_CIPHER_ID_AES, key.bytes.data(), 256) == 0 &&
      mbedtls_gcm_auth_decrypt(gcm.get(), bytes.size(), nonce.data(), nonce.size(), extra.data(),
                               extra.size(), tag.data(), tag.size(), bytes.data(), bytes.data()) == 0;
  return opened ? Status::kOk : Status::kDataLoss;
}

}  // namespace dipper::package
