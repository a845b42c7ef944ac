// agent/app/self_check: every single flipped bit is found within one pass, an unchanged program never is.
#include "agent/app/self_check.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace dipper::app {
namespace {

// Steps until everything was read once more.
bool Pass(SelfCheck& check) {
  bool good = true;
  for (const uint64_t before = check.passes(); check.passes() == before;) good = check.Step() && good;
  return good;
}

TEST(SelfCheck, FindsAnyFlippedBit) {
  std::mt19937 random(1);
  std::vector<uint8_t> bytes(3 * SelfCheck::kStepBytes + 1234);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (int round = 0; round < 200; ++round) {
    SelfCheck check;
    check.Watch("a table", bytes, false);
    ASSERT_TRUE(Pass(check)) << "first read";
    ASSERT_TRUE(Pass(check));
    const size_t bit = random() % (bytes.size() * 8);
    const auto flip = static_cast<uint8_t>(1U << bit % 8);
    bytes[bit / 8] ^= flip;
    EXPECT_FALSE(Pass(check)) << bit;
    EXPECT_NE(check.trouble().find("a table changed in memory"), std::string::npos);
    bytes[bit / 8] ^= flip;
  }
}

TEST(SelfCheck, TheProgramItself) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer puts forbidden gaps between constants; the check build runs it";
#endif
  SelfCheck check;
  check.WatchProgram();
  EXPECT_GT(check.watched_bytes(), 100u * 1024);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Pass(check)) << check.trouble();
  EXPECT_EQ(check.trouble(), "");
}

TEST(SelfCheck, NothingToWatchIsGood) {
  SelfCheck check;
  EXPECT_TRUE(check.Step());
}

}  // namespace
}  // namespace dipper::app
