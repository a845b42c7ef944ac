// The one place that calls mbedTLS's SHA-256; the calls used are the ones 2.28 and 3.x share.
#include "agent/base/sha256.h"

#include <mbedtls/sha256.h>
#include <mbedtls/version.h>

namespace dipper::base {
namespace {

#if MBEDTLS_VERSION_NUMBER < 0x03000000
int Starts(mbedtls_sha256_context* c) { return mbedtls_sha256_starts_ret(c, 0); }
int Updates(mbedtls_sha256_context* c, ByteView b) {
  return mbedtls_sha256_update_ret(c, b.data(), b.size());
}
int Finishes(mbedtls_sha256_context* c, uint8_t* out) { return mbedtls_sha256_finish_ret(c, out); }
#else
int Starts(mbedtls_sha256_context* c) { return mbedtls_sha256_starts(c, 0); }
int Updates(mbedtls_sha256_context* c, ByteView b) { return mbedtls_sha256_update(c, b.data(), b.size()); }
int Finishes(mbedtls_sha256_context* c, uint8_t* out) { return mbedtls_sha256_finish(c, out); }
#endif

mbedtls_sha256_context* Context(std::array<uint8_t, 128>& state) {
  static_assert(sizeof(mbedtls_sha256_context) <= 128);
  static_assert(alignof(mbedtls_sha256_context) <= 8);
  return reinterpret_cast<mbedtls_sha256_context*>(state.data());
}

}  // namespace

Sha256::Sha256() : state_{} {
  mbedtls_sha256_init(Context(state_));
  DIPPER_CHECK(Starts(Context(state_)) == 0);
}

void Sha256::Update(ByteView bytes) {
  if (bytes.empty()) return;
  DIPPER_CHECK(Updates(Context(state_), bytes) == 0);
}

Digest Sha256::Finish() {
  Digest digest;
  DIPPER_CHECK(Finishes(Context(state_), digest.bytes.data()) == 0);
  return digest;
}

Digest Sha256Of(ByteView bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

}  // namespace dipper::base
