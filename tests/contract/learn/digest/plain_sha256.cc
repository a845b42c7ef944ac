// agent/base/sha256.h without mbedTLS, for probes that are linked for other machines, where no crypto library
// is at hand. Slow and plain; that it is right is shown by golden.txt, which agent/base/sha256.cc reaches
// too. Source: FIPS 180-4, sections 4.1.2, 4.2.2, 5.1.1, 5.3.3 and 6.2.2. Thread-safe: one object per thread.
#include <bit>
#include <cstring>

#include "agent/base/sha256.h"

namespace dipper::base {
namespace {

constexpr uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

struct State {
  uint32_t words[8];
  uint64_t bytes;
  uint8_t block[64];
};
static_assert(sizeof(State) <= 128);

State Read(const std::array<uint8_t, 128>& from) {
  State state;
  std::memcpy(&state, from.data(), sizeof state);
  return state;
}

void Write(const State& state, std::array<uint8_t, 128>* to) {
  std::memcpy(to->data(), &state, sizeof state);
}

void Compress(State* state) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i) {
    const uint8_t* at = state->block + 4 * i;
    w[i] = uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
  }
  for (int i = 16; i < 64; ++i) {
    const uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  uint32_t v[8];
  std::memcpy(v, state->words, sizeof v);
  for (int i = 0; i < 64; ++i) {
    const uint32_t s1 = std::rotr(v[4], 6) ^ std::rotr(v[4], 11) ^ std::rotr(v[4], 25);
    const uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + kRound[i] + w[i];
    const uint32_t s0 = std::rotr(v[0], 2) ^ std::rotr(v[0], 13) ^ std::rotr(v[0], 22);
    const uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    for (int k = 7; k > 0; --k) v[k] = v[k - 1];
    v[4] += t1;
    v[0] = t1 + t2;
  }
  for (int k = 0; k < 8; ++k) state->words[k] += v[k];
}

void Add(State* state, uint8_t byte) {
  state->block[state->bytes++ % 64] = byte;
  if (state->bytes % 64 == 0) Compress(state);
}

}  // namespace

Sha256::Sha256() : state_{} {
  Write({{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19},
         0,
         {}},
        &state_);
}

void Sha256::Update(ByteView bytes) {
  State state = Read(state_);
  for (const uint8_t byte : bytes) Add(&state, byte);
  Write(state, &state_);
}

Digest Sha256::Finish() {
  State state = Read(state_);
  const uint64_t bits = state.bytes * 8;
  Add(&state, 0x80);
  while (state.bytes % 64 != 56) Add(&state, 0);
  for (int shift = 56; shift >= 0; shift -= 8) Add(&state, static_cast<uint8_t>(bits >> shift));
  Digest digest;
  for (size_t i = 0; i < digest.bytes.size(); ++i) {
    digest.bytes[i] = static_cast<uint8_t>(state.words[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

Digest Sha256Of(ByteView bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

}  // namespace dipper::base
