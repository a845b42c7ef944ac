// The contract of hal::Partition: one suite for every implementation. A fixture gives a fresh partition and
// can open it again, as a restart would.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hal/api/partition.h"

namespace dipper::hal {

struct PartitionUnderTest {
  virtual ~PartitionUnderTest() = default;
  virtual Partition& partition() = 0;
  /// After a successful Sync: closes and opens again.
  virtual void Reopen() = 0;
};

/// How the suite gets at one implementation.
struct PartitionMaker {
  const char* name;
  /// Empty reason: available. Otherwise why this machine cannot run it.
  std::function<std::string()> unavailable;
  std::function<std::unique_ptr<PartitionUnderTest>()> make;
};

class PartitionContract : public testing::TestWithParam<PartitionMaker> {
 protected:
  void SetUp() override {
    const std::string reason = GetParam().unavailable ? GetParam().unavailable() : "";
    if (!reason.empty()) GTEST_SKIP() << reason;
    subject_ = GetParam().make();
    ASSERT_NE(subject_, nullptr);
  }
  Partition& partition() { return subject_->partition(); }
  std::vector<uint8_t> ReadAll() {
    std::vector<uint8_t> bytes(partition().geometry().size_bytes);
    EXPECT_EQ(partition().Read(0, bytes), base::Status::kOk);
    return bytes;
  }
  static std::vector<uint8_t> Pattern(size_t size, uint8_t seed) {
    std::vector<uint8_t> bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + seed);
    return bytes;
  }
  std::unique_ptr<PartitionUnderTest> subject_;
};

TEST_P(PartitionContract, GeometryIsWholeUnits) {
  const Geometry geometry = partition().geometry();
  EXPECT_GT(geometry.size_bytes, 0U);
  EXPECT_GE(geometry.write_unit_bytes, 1U);
  EXPECT_EQ(geometry.size_bytes % geometry.erase_unit_bytes, 0U);
  EXPECT_EQ(geometry.erase_unit_bytes % geometry.write_unit_bytes, 0U);
}

TEST_P(PartitionContract, WrittenBytesAreReadBeforeAndAfterReopen) {
  const uint32_t unit = partition().geometry().write_unit_bytes;
  const auto bytes = Pattern(uint64_t{unit} * 1500, 3);
  ASSERT_EQ(partition().Write(unit, bytes), base::Status::kOk);
  std::vector<uint8_t> back(bytes.size());
  ASSERT_EQ(partition().Read(unit, back), base::Status::kOk);
  EXPECT_EQ(back, bytes);
  ASSERT_EQ(partition().Sync(), base::Status::kOk);
  subject_->Reopen();
  std::fill(back.begin(), back.end(), uint8_t{0});
  ASSERT_EQ(partition().Read(unit, back), base::Status::kOk);
  EXPECT_EQ(back, bytes);
}

TEST_P(PartitionContract, AWriteTouchesNothingElse) {
  const auto before = ReadAll();
  const uint32_t unit = partition().geometry().write_unit_bytes;
  const auto bytes = Pattern(unit, 91);
  const uint64_t offset = uint64_t{unit} * 777;
  ASSERT_EQ(partition().Write(offset, bytes), base::Status::kOk);
  auto expected = before;
  std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<ptrdiff_t>(offset));
  EXPECT_EQ(ReadAll(), expected);
}

TEST_P(PartitionContract, TheLastByteCanBeUsedAndNothingBehindIt) {
  const Geometry geometry = partition().geometry();
  const auto unit = Pattern(geometry.write_unit_bytes, 5);
  const uint64_t last = geometry.size_bytes - unit.size();
  EXPECT_EQ(partition().Write(last, unit), base::Status::kOk);
  std::vector<uint8_t> back(unit.size());
  EXPECT_EQ(partition().Read(last, back), base::Status::kOk);
  EXPECT_EQ(back, unit);
  const auto before = ReadAll();
  const auto two = Pattern(2 * unit.size(), 6);
  EXPECT_EQ(partition().Write(last, two), base::Status::kOutOfRange);
  EXPECT_EQ(partition().Write(UINT64_MAX - unit.size() + 1, unit), base::Status::kOutOfRange);
  EXPECT_EQ(ReadAll(), before) << "a refused write must not write a part";
  std::vector<uint8_t> too_many(two.size(), 0xA5);
  EXPECT_EQ(partition().Read(last, too_many), base::Status::kOutOfRange);
  EXPECT_EQ(partition().Read(UINT64_MAX, back), base::Status::kOutOfRange);
}

TEST_P(PartitionContract, EraseHidesWhatWasThereAndOnlyThat) {
  const Geometry geometry = partition().geometry();
  const uint64_t unit = geometry.erase_unit_bytes;
  const auto bytes = Pattern(3 * unit, 40);
  ASSERT_EQ(partition().Write(0, bytes), base::Status::kOk);
  ASSERT_EQ(partition().Erase(unit, unit), base::Status::kOk);
  ASSERT_EQ(partition().Sync(), base::Status::kOk);
  subject_->Reopen();
  std::vector<uint8_t> back(3 * unit);
  ASSERT_EQ(partition().Read(0, back), base::Status::kOk);
  const auto at = [](std::vector<uint8_t>& v, uint64_t i) { return v.begin() + static_cast<ptrdiff_t>(i); };
  auto expected = bytes;
  std::fill(at(expected, unit), at(expected, 2 * unit), uint8_t{0xFF});
  EXPECT_EQ(back, expected);
}

TEST_P(PartitionContract, EraseTakesWholeUnitsInRangeOnly) {
  const Geometry geometry = partition().geometry();
  const uint64_t unit = geometry.erase_unit_bytes;
  const auto before = ReadAll();
  EXPECT_EQ(partition().Erase(1, unit), base::Status::kInvalidArgument);
  EXPECT_EQ(partition().Erase(0, unit - 1), base::Status::kInvalidArgument);
  EXPECT_EQ(partition().Erase(geometry.size_bytes, unit), base::Status::kOutOfRange);
  EXPECT_EQ(partition().Erase(0, geometry.size_bytes + unit), base::Status::kOutOfRange);
  EXPECT_EQ(ReadAll(), before);
  EXPECT_EQ(partition().Erase(0, geometry.size_bytes), base::Status::kOk);
}

TEST_P(PartitionContract, LaterWritesWin) {
  const uint32_t unit = partition().geometry().write_unit_bytes;
  ASSERT_EQ(partition().Write(0, Pattern(uint64_t{unit} * 600, 1)), base::Status::kOk);
  const auto second = Pattern(uint64_t{unit} * 600, 2);
  ASSERT_EQ(partition().Write(0, second), base::Status::kOk);
  ASSERT_EQ(partition().Sync(), base::Status::kOk);
  subject_->Reopen();
  std::vector<uint8_t> back(second.size());
  ASSERT_EQ(partition().Read(0, back), base::Status::kOk);
  EXPECT_EQ(back, second);
}

TEST_P(PartitionContract, EmptyTransfersAreFine) {
  EXPECT_EQ(partition().Write(0, {}), base::Status::kOk);
  EXPECT_EQ(partition().Read(0, {}), base::Status::kOk);
  EXPECT_EQ(partition().Read(partition().geometry().size_bytes, {}), base::Status::kOk);
  EXPECT_EQ(partition().Erase(0, 0), base::Status::kOk);
  EXPECT_EQ(partition().Sync(), base::Status::kOk);
}

}  // namespace dipper::hal
