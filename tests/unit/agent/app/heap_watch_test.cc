// agent/app/heap_watch: a package whose calls keep taking heap memory is named, and nobody else.
#include "agent/app/heap_watch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "tests/unit/agent/app/digest_of.h"

namespace dipper::app {
namespace {

uint64_t g_heap_bytes = 0;
uint64_t Heap() { return g_heap_bytes; }

struct Calls final : runtime::RunMarker {
  void Enter(uint32_t model, const base::Digest& package) override {
    models.push_back(model);
    last = package;
  }
  void Leave() override { ++left; }
  std::vector<uint32_t> models;
  base::Digest last{};
  uint32_t left = 0;
};

// The wait for a measured call of the kind that grows, the window under way, and those that condemn.
constexpr uint32_t kSoon = 2 * HeapJudge::kOneIn + HeapJudge::kWindow * (HeapJudge::kWindowsOver + 1);

class HeapWatchTest : public testing::Test {
 protected:
  HeapWatchTest() { g_heap_bytes = 1 << 20; }

  void Call(uint8_t package, int64_t grows) {
    watch_.Enter(0, DigestOf(package));
    g_heap_bytes += static_cast<uint64_t>(grows);
    watch_.Leave();
  }
  bool Condemned(uint8_t package) {
    base::Digest digest{};
    return watch_.TakeCondemned(&digest) && digest == DigestOf(package);
  }

  Calls calls_;
  HeapWatch watch_{calls_, Heap};
};

TEST_F(HeapWatchTest, PassesEveryCallOn) {
  watch_.Enter(2, DigestOf(7));
  EXPECT_EQ(calls_.models, std::vector<uint32_t>{2});
  EXPECT_EQ(calls_.last, DigestOf(7));
  EXPECT_EQ(calls_.left, 0U);
  watch_.Leave();
  EXPECT_EQ(calls_.left, 1U);
}

TEST_F(HeapWatchTest, NamesThePackageThatLeaksAndSoon) {
  for (uint32_t i = 0; i < 500; ++i) {
    Call(1, 0);
    Call(2, 0);
  }
  base::Digest digest{};
  EXPECT_FALSE(watch_.TakeCondemned(&digest));
  uint32_t calls = 0;
  while (!Condemned(2)) {
    ASSERT_LT(++calls, kSoon);
    Call(1, 0);
    Call(2, 16);
  }
  EXPECT_FALSE(watch_.TakeCondemned(&digest)) << "told once";
  for (calls = 0; !Condemned(2); ++calls) {
    ASSERT_LT(calls, kSoon) << "and judged anew, for another trial of the same package";
    Call(2, 16);
  }
}

TEST_F(HeapWatchTest, LabelsThatTakeNothingHideNoLeak) {
  // Records of their own: every second call.
  for (const uint32_t first : {0U, 1U}) {
    uint32_t calls = 0;
    while (!Condemned(1)) {
      ASSERT_LT(calls, kSoon) << first;
      Call(1, calls++ % 2 == first ? 16 : 0);
    }
  }
}

TEST_F(HeapWatchTest, WhatComesAndGoesCondemnsNobody) {
  // As another thread's messages do, between the two looks and beside them.
  for (uint32_t i = 0; i < 100000; ++i) {
    Call(1, i % 3 == 0 ? 400 : -200);
    g_heap_bytes += i % 7 == 0 ? 100U : 0U;
    base::Digest digest{};
    ASSERT_FALSE(watch_.TakeCondemned(&digest)) << i;
  }
}

TEST_F(HeapWatchTest, MorePackagesThanPlacesAreJudgedByTheirNewestCalls) {
  for (uint8_t package = 1; package < 100; ++package) {
    for (uint32_t i = 0; i < 10; ++i) Call(package, 8);
  }
  uint32_t calls = 0;
  while (!Condemned(100)) {
    ASSERT_LT(++calls, 1000U);
    Call(100, 8);
  }
}

TEST(HeapBytesInUse, CountsWhatIsKept) {
  const uint64_t before = HeapBytesInUse();
  if (before == 0) GTEST_SKIP() << "this C library does not tell";
  for (const size_t bytes : {size_t{4096}, size_t{1} << 22}) {
    const uint64_t empty = HeapBytesInUse();
    void* volatile kept = std::malloc(bytes);
    EXPECT_GE(HeapBytesInUse(), empty + bytes) << bytes;
    std::free(kept);
    EXPECT_LT(HeapBytesInUse(), empty + bytes) << bytes;
  }
}

}  // namespace
}  // namespace dipper::app
