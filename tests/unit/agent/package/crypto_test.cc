// Signatures and key files. Vectors: RFC 6979 appendix A.2.5 (P-256, SHA-256, message "sample").
#include <gtest/gtest.h>

#include "agent/base/sha256.h"
#include "tests/unit/agent/package/fixture.h"

namespace dipper::package::test {
namespace {

constexpr const char* kSec1 =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIMmvqdhFunUWa1whV2ex1pNOUMPbNuibEnuKYisSD2choAoGCCqGSM49\n"
    "AwEHoUQDQgAEYP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Z5A/4QCLi8\n"
    "maQa6elWKLxk8vGyDC1+n1F3o8KU1EYimQ==\n"
    "-----END EC PRIVATE KEY-----\n";
constexpr const char* kPkcs8 =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgya+p2EW6dRZrXCFX\n"
    "Z7HWk05Qw9s26JsSe4piKxIPZyGhRANCAARg/tS6JVqdMclh63TGNW1owEm4kjth\n"
    "+mzmaWIuYPKftnkD/hAIuLyZpBrp6VYovGTy8bIMLX6fUXejwpTURiKZ\n"
    "-----END PRIVATE KEY-----\n";
constexpr const char* kP384 =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MIGkAgEBBDDVm8VauSOR0hAFNprIgU4WopFOa5gfJRjsRZ9y07ueBhc7Git3sy0N\n"
    "cKLzyHFgZOigBwYFK4EEACKhZANiAAQTm978dBL65PvyaInYKvhDOiwZRJQHOwNK\n"
    "X5FyClUDJQ7ydywVA4YgAHeJ0pGg/u+YC1X9fnLsQZ7kXzlUwOjJK/pqWvtOxOeb\n"
    "/87G2kBWo4cI988fTHB+/pvHLYIF3I4=\n"
    "-----END EC PRIVATE KEY-----\n";
constexpr const char* kSampleSignature =
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";

SignatureValue Parse(std::string_view hex) {
  SignatureValue value;
  const base::Digest r = base::DigestFromHex(hex.substr(0, 64)).value();
  const base::Digest s = base::DigestFromHex(hex.substr(64)).value();
  std::copy(r.bytes.begin(), r.bytes.end(), value.rs.begin());
  std::copy(s.bytes.begin(), s.bytes.end(), value.rs.begin() + 32);
  return value;
}

TEST(CryptoTest, Rfc6979Vector) {
  const auto key = ParsePrivateKey(kSec1);
  ASSERT_TRUE(key.ok());
  const base::Digest digest = base::Sha256Of(base::AsBytes("sample"));
  const auto signature = Sign(*key, digest);
  ASSERT_TRUE(signature.ok());
  EXPECT_EQ(signature.value().rs, Parse(kSampleSignature).rs);
  EXPECT_TRUE(VerifySignature(key.value().public_key(), digest, Parse(kSampleSignature)));
}

TEST(CryptoTest, EveryChangeToASignatureIsRefused) {
  const auto key = ParsePrivateKey(kSec1);
  base::Digest digest = base::Sha256Of(base::AsBytes("sample"));
  const SignatureValue good = Parse(kSampleSignature);
  for (size_t i = 0; i < good.rs.size(); ++i) {
    SignatureValue bad = good;
    bad.rs[i] ^= 0x10;
    ASSERT_FALSE(VerifySignature(key.value().public_key(), digest, bad)) << i;
  }
  EXPECT_FALSE(VerifySignature(key.value().public_key(), digest, SignatureValue{}));
  EXPECT_FALSE(VerifySignature(TestKeys().root.public_key(), digest, good));
  EXPECT_FALSE(VerifySignature(PublicKey{}, digest, good));
  digest.bytes[31] ^= 1;
  EXPECT_FALSE(VerifySignature(key.value().public_key(), digest, good));
}

TEST(CryptoTest, ReadsSec1AndPkcs8) {
  const auto sec1 = ParsePrivateKey(kSec1);
  const auto pkcs8 = ParsePrivateKey(kPkcs8);
  ASSERT_TRUE(sec1.ok());
  ASSERT_TRUE(pkcs8.ok());
  EXPECT_EQ(sec1.value().public_key(), pkcs8.value().public_key());
}

TEST(CryptoTest, PemRoundTrip) {
  const auto key = GenerateKey();
  ASSERT_TRUE(key.ok());
  const auto pem = PrivateKeyPem(*key);
  ASSERT_TRUE(pem.ok());
  EXPECT_EQ(pem.value().rfind("-----BEGIN EC PRIVATE KEY-----\n", 0), 0U);
  const auto back = ParsePrivateKey(*pem);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back.value().public_key(), key.value().public_key());
  const auto public_pem = PublicKeyPem(key.value().public_key());
  ASSERT_TRUE(public_pem.ok());
  EXPECT_EQ(ParsePublicKey(*public_pem).value(), key.value().public_key());
  EXPECT_EQ(ParsePublicKey(*pem).value(), key.value().public_key());
  EXPECT_FALSE(ParsePrivateKey(*public_pem).ok());
}

TEST(CryptoTest, OtherFilesAreRefused) {
  EXPECT_FALSE(ParsePrivateKey("").ok());
  EXPECT_FALSE(ParsePrivateKey("hello").ok());
  EXPECT_FALSE(ParsePrivateKey(kP384).ok());
  EXPECT_FALSE(ParsePublicKey(kP384).ok());
  EXPECT_FALSE(ParsePublicKey("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n").ok());
  std::string cut(kSec1);
  cut.erase(60, 20);
  EXPECT_FALSE(ParsePrivateKey(cut).ok());
}

TEST(CryptoTest, PointsOffTheCurveAreRefused) {
  PublicKey key = TestKeys().root.public_key();
  EXPECT_TRUE(Ok(CheckPublicKey(key)));
  key.xy[63] ^= 1;
  EXPECT_FALSE(Ok(CheckPublicKey(key)));
  EXPECT_FALSE(Ok(CheckPublicKey(PublicKey{})));
  key.xy.fill(0xff);
  EXPECT_FALSE(Ok(CheckPublicKey(key)));
}

TEST(CryptoTest, DomainsDoNotMix) {
  const Bytes bytes = {1, 2, 3};
  std::vector<base::Digest> digests;
  for (const Domain domain : {Domain::kPackage, Domain::kRoot, Domain::kOffer, Domain::kCommand}) {
    for (const base::Digest& other : digests) EXPECT_NE(SigningDigest(domain, bytes), other);
    digests.push_back(SigningDigest(domain, bytes));
  }
}

}  // namespace
}  // namespace dipper::package::test
