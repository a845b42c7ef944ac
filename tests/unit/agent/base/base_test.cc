// agent/base: published test vectors, round trips and refused input.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "agent/base/bytes.h"
#include "agent/base/crc32c.h"
#include "agent/base/fixed.h"
#include "agent/base/number.h"
#include "agent/base/security_version.h"
#include "agent/base/sha256.h"
#include "agent/base/status.h"
#include "agent/base/suggest.h"

namespace dipper::base {
namespace {

TEST(Crc32c, MatchesPublishedVectors) {
  EXPECT_EQ(Crc32c(AsBytes("123456789")), 0xE3069283U);
  const std::array<uint8_t, 32> zeros{};
  EXPECT_EQ(Crc32c(zeros), 0x8A9136AAU);  // RFC 3720 B.4
  std::array<uint8_t, 32> ones;
  ones.fill(0xFF);
  EXPECT_EQ(Crc32c(ones), 0x62A8AB43U);
}

TEST(Crc32c, ContinuesFromASeed) {
  const std::string_view text = "a record in two pieces";
  EXPECT_EQ(Crc32c(AsBytes(text.substr(7)), Crc32c(AsBytes(text.substr(0, 7)))), Crc32c(AsBytes(text)));
}

TEST(Sha256, MatchesFips180Vectors) {
  EXPECT_EQ(ToHex(Sha256Of(AsBytes("abc"))).view(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(ToHex(Sha256Of({})).view(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const std::string million(1000000, 'a');
  Sha256 hash;
  for (size_t at = 0; at < million.size(); at += 777) {
    hash.Update(AsBytes(std::string_view(million).substr(at, 777)));
  }
  EXPECT_EQ(ToHex(hash.Finish()).view(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Digest, HexRoundTripAndRefusals) {
  const Digest digest = Sha256Of(AsBytes("x"));
  const auto back = DigestFromHex(ToHex(digest).view());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, digest);
  EXPECT_EQ(DigestFromHex("12").status(), Status::kInvalidArgument);
  EXPECT_EQ(DigestFromHex(std::string(63, 'a') + "g").status(), Status::kInvalidArgument);
  EXPECT_TRUE(Digest{}.IsZero());
  EXPECT_FALSE(digest.IsZero());
}

TEST(ByteReader, PastTheEndIsZeroAndRemembered) {
  std::array<uint8_t, 6> memory{};
  ByteWriter writer(memory);
  writer.Put<uint32_t>(0x01020304);
  EXPECT_FALSE(writer.overflow());
  writer.Put<uint32_t>(5);
  EXPECT_TRUE(writer.overflow());
  EXPECT_EQ(writer.position(), 4U);
  EXPECT_EQ(memory[0], 4);  // little-endian
  ByteReader reader(memory);
  EXPECT_EQ(reader.Get<uint32_t>(), 0x01020304U);
  EXPECT_EQ(reader.Get<uint64_t>(), 0U);
  EXPECT_TRUE(reader.overflow());
}

TEST(ParseDouble, TakesWholeTextsOnly) {
  EXPECT_EQ(*ParseDouble(" -2.5e3 "), -2500.0);
  EXPECT_EQ(*ParseDouble("+3"), 3.0);
  EXPECT_TRUE(std::isnan(*ParseDouble("nan")));
  for (const char* bad : {"", " ", "1x", "x", "1 2", "+-1", "++1", "0x10", "1,5", "--1"}) {
    EXPECT_EQ(ParseDouble(bad).status(), Status::kInvalidArgument) << bad;
  }
  EXPECT_EQ(ParseDouble("1e999").status(), Status::kOutOfRange);
}

TEST(ParseUint, RefusesSignsAndOverflow) {
  EXPECT_EQ(*ParseUint("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(ParseUint("18446744073709551616").status(), Status::kOutOfRange);
  EXPECT_EQ(ParseUint("-1").status(), Status::kInvalidArgument);
}

TEST(ParseByteCount, KnowsUnits) {
  EXPECT_EQ(*ParseByteCount("65536"), 65536U);
  EXPECT_EQ(*ParseByteCount("64KiB"), 65536U);
  EXPECT_EQ(*ParseByteCount("2 MiB"), 2U << 20U);
  EXPECT_EQ(*ParseByteCount("10kB"), 10000U);
  for (const char* bad : {"", "KiB", "64 kib", "1.5MiB", "-1", "64KiBs"}) {
    EXPECT_EQ(ParseByteCount(bad).status(), Status::kInvalidArgument) << bad;
  }
  EXPECT_EQ(ParseByteCount("18446744073709551615GiB").status(), Status::kOutOfRange);
}

TEST(FormatJsonNumber, RoundTripsAndSaysNull) {
  for (double value : {0.0, 0.1, -1.0 / 3, 1e300, 5e-324, 123456789.0}) {
    EXPECT_EQ(*ParseDouble(FormatJsonNumber(value).view()), value);
  }
  EXPECT_EQ(FormatJsonNumber(std::nan("")).view(), "null");
  EXPECT_EQ(FormatJsonNumber(std::numeric_limits<double>::infinity()).view(), "null");
  EXPECT_EQ(FormatInt(INT64_MIN).view(), "-9223372036854775808");
  EXPECT_EQ(FormatUint(UINT64_MAX).view(), "18446744073709551615");
}

TEST(Result, MovesValuesAndKeepsStatus) {
  Result<std::unique_ptr<int>> owner(std::make_unique<int>(7));
  ASSERT_TRUE(owner.ok());
  std::unique_ptr<int> taken = std::move(owner).value();
  EXPECT_EQ(*taken, 7);
  Result<std::string> text(Status::kNotFound);
  EXPECT_FALSE(text.ok());
  text = Result<std::string>(std::string(100, 'x'));
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text->size(), 100U);
  text = Result<std::string>(Status::kDataLoss);
  EXPECT_EQ(text.status(), Status::kDataLoss);
}

TEST(ResultDeathTest, ReadingAFailureIsAProgrammerError) {
  Result<int> none(Status::kNotFound);
  EXPECT_DEATH((void)none.value(), "check failed: ok");
}

TEST(FixedString, RefusesWhatDoesNotFit) {
  FixedString<4> text;
  EXPECT_EQ(text.Assign("abcd"), Status::kOk);
  EXPECT_EQ(text.Assign("abcde"), Status::kResourceExhausted);
  EXPECT_EQ(text.view(), "abcd");
  text.AssignTruncated("xyzuvw");
  EXPECT_EQ(text.view(), "xyzu");
}

TEST(FixedQueue, WrapsAroundInOrder) {
  FixedQueue<int, 3> queue;
  int next_in = 0;
  int next_out = 0;
  for (int round = 0; round < 10; ++round) {
    while (!queue.full()) ASSERT_EQ(queue.Push(next_in++), Status::kOk);
    EXPECT_EQ(queue.Push(99), Status::kResourceExhausted);
    EXPECT_EQ(queue.Front(), next_out++);
    queue.Pop();
  }
}

TEST(FixedVector, ErasesInOrder) {
  FixedVector<int, 3> values;
  for (int i = 0; i < 3; ++i) ASSERT_EQ(values.PushBack(i), Status::kOk);
  EXPECT_EQ(values.PushBack(3), Status::kResourceExhausted);
  values.EraseAt(1);
  ASSERT_EQ(values.size(), 2U);
  EXPECT_EQ(values[0], 0);
  EXPECT_EQ(values[1], 2);
}

TEST(ClosestName, FindsTyposAndRefusesStrangers) {
  static constexpr std::string_view kNames[] = {"password_file", "username", "url", "ca_file"};
  EXPECT_EQ(ClosestName("pasword_file", kNames), "password_file");
  EXPECT_EQ(ClosestName("usernmae", kNames), "username");
  EXPECT_EQ(ClosestName("ulr", kNames), "url");
  EXPECT_EQ(ClosestName("temperature", kNames), "");
  EXPECT_EQ(ClosestName("", kNames), "");
  EXPECT_EQ(ClosestName(std::string(500, 'u'), kNames), "");
}

TEST(SecurityVersion, ComparesEpochFirst) {
  EXPECT_LT((SecurityVersion{1, 900}), (SecurityVersion{2, 1}));
  EXPECT_LT((SecurityVersion{1, 1}), (SecurityVersion{1, 2}));
}

}  // namespace
}  // namespace dipper::base
