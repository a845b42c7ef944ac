// Columns to features, cells to values, and every bad record as a counted outcome.
#include "agent/stream/decoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/agent/stream/sample_spec.h"

namespace dipper::stream {
namespace {

using base::Status;

class DecoderTest : public testing::Test {
 protected:
  void Build(schema::Task task, uint16_t spare) {
    spec_ = std::make_unique<SampleSpec>(task, spare, std::vector<std::string>{"eco", "boost"});
    decoder_ = std::make_unique<SampleDecoder>(spec_->table(), "", "truth");
  }

  void SetUp() override { Build(schema::Task::Classification, 1); }

  Status Header(const std::string& line) { return decoder_->ReadHeader(line, &match_); }
  Status Line(const std::string& line) { return decoder_->DecodeLine(line, values_, &sample_); }

  std::unique_ptr<SampleSpec> spec_;
  std::unique_ptr<SampleDecoder> decoder_;
  HeaderMatch match_;
  DecodedSample sample_;
  std::array<float, 3> values_{};
};

TEST_F(DecoderTest, MatchesColumnsByNameInAnyOrder) {
  ASSERT_EQ(Header("\xEF\xBB\xBFstate,humidity,extra,temperature,mode,truth\r\n"), Status::kOk);
  EXPECT_EQ(match_.columns, 6U);
  EXPECT_EQ(match_.extra_columns, 1U);
  EXPECT_EQ(match_.missing_features, 0U);
  EXPECT_TRUE(match_.has_label);
  EXPECT_TRUE(match_.has_truth);
  ASSERT_EQ(Line("ok,40.5,zzz,21.25,boost,1\r\n"), Status::kOk);
  EXPECT_EQ(values_, (std::array<float, 3>{21.25F, 1.0F, 40.5F}));
  EXPECT_EQ(sample_.label.state, LabelState::kPresent);
  EXPECT_EQ(sample_.label.value, 0.0);
  EXPECT_EQ(sample_.truth.value, 1.0);
  EXPECT_EQ(decoder_->counters().records, 1U);
}

TEST_F(DecoderTest, TakesSemicolonsAndQuotes) {
  ASSERT_EQ(Header("\"temperature\";mode;humidity"), Status::kOk);
  ASSERT_EQ(Line("1;\"eco\";\"2.5\""), Status::kOk);
  EXPECT_EQ(values_, (std::array<float, 3>{1.0F, 0.0F, 2.5F}));
  EXPECT_EQ(sample_.label.state, LabelState::kAbsent);
}

TEST_F(DecoderTest, CountsMissingBadAndUnseenCells) {
  ASSERT_EQ(Header("temperature,mode,humidity"), Status::kOk);
  ASSERT_EQ(Line("?,turbo,12x"), Status::kOk);
  EXPECT_TRUE(IsCanonicalMissing(values_[0]));
  EXPECT_EQ(values_[1], 2.0F);  // one past the listed ones: other
  EXPECT_TRUE(IsCanonicalMissing(values_[2]));
  EXPECT_EQ(sample_.missing_cells, 1U);
  EXPECT_EQ(sample_.unseen_cells, 1U);
  EXPECT_EQ(sample_.bad_cells, 1U);
  ASSERT_EQ(Line("-nan,,inf"), Status::kOk);
  for (float value : values_) EXPECT_TRUE(IsCanonicalMissing(value));
  ASSERT_EQ(Line("1e300,eco,-1e300"), Status::kOk);  // beyond float32
  EXPECT_TRUE(IsCanonicalMissing(values_[0]));
  EXPECT_EQ(decoder_->counters().bad_cells, 5U);
}

TEST_F(DecoderTest, MissingColumnsStayMissing) {
  ASSERT_EQ(Header("mode,other"), Status::kOk);
  EXPECT_EQ(match_.missing_features, 2U);
  EXPECT_EQ(match_.first_missing, 0U);
  ASSERT_EQ(Line("eco,5"), Status::kOk);
  EXPECT_TRUE(IsCanonicalMissing(values_[0]));
  EXPECT_EQ(values_[1], 0.0F);
}

TEST_F(DecoderTest, RefusesBadHeaders) {
  EXPECT_EQ(Header("a,b"), Status::kNotFound);
  EXPECT_EQ(Header("temperature,temperature"), Status::kInvalidArgument);
  EXPECT_EQ(Header("temperature,\"mode"), Status::kInvalidArgument);
  EXPECT_EQ(Header("temperature" + std::string(kMaxColumns, ',')), Status::kResourceExhausted);
  EXPECT_EQ(Header("temperature," + std::string(kMaxLineBytes, 'a')), Status::kResourceExhausted);
  EXPECT_EQ(Header(""), Status::kNotFound);
  EXPECT_EQ(Line("1,eco,2"), Status::kFailedPrecondition);
}

TEST_F(DecoderTest, RefusesAndCountsBadLines) {
  ASSERT_EQ(Header("temperature,mode,humidity"), Status::kOk);
  values_ = {7, 7, 7};
  EXPECT_EQ(Line("1,eco"), Status::kInvalidArgument);
  EXPECT_EQ(Line("1,eco,2,3"), Status::kInvalidArgument);
  EXPECT_EQ(Line("1,\"eco,2"), Status::kInvalidArgument);
  EXPECT_EQ(Line(std::string(1U << 20U, 'x')), Status::kResourceExhausted);
  EXPECT_EQ(decoder_->counters().wrong_columns, 2U);
  EXPECT_EQ(decoder_->counters().malformed, 2U);
  EXPECT_EQ(decoder_->counters().records, 0U);
  EXPECT_EQ(values_, (std::array<float, 3>{7, 7, 7}));
  EXPECT_EQ(Line("1,eco,2"), Status::kOk);  // and goes on
}

TEST_F(DecoderTest, ReadsClasses) {
  EXPECT_EQ(decoder_->DecodeLabel("ok").value, 0.0);
  EXPECT_EQ(decoder_->DecodeLabel(" 1 ").value, 1.0);
  EXPECT_EQ(decoder_->DecodeLabel("1.0").value, 1.0);
  EXPECT_EQ(decoder_->DecodeLabel("").state, LabelState::kAbsent);
  const Label other = decoder_->DecodeLabel("new");
  EXPECT_EQ(other.state, LabelState::kPresent);
  EXPECT_TRUE(other.is_other);
  EXPECT_EQ(other.value, 2.0);
  EXPECT_EQ(decoder_->counters().other_labels, 1U);
}

TEST_F(DecoderTest, WithoutSpareClassesAnUnseenOneIsUnknown) {
  Build(schema::Task::Classification, 0);
  EXPECT_EQ(decoder_->DecodeLabel("new").state, LabelState::kUnknown);
  EXPECT_EQ(decoder_->counters().unknown_labels, 1U);
}

TEST_F(DecoderTest, ReadsTargets) {
  Build(schema::Task::Regression, 0);
  EXPECT_EQ(decoder_->DecodeLabel("-2.5e1").value, -25.0);
  EXPECT_EQ(decoder_->DecodeLabel("high").state, LabelState::kUnknown);
  EXPECT_EQ(decoder_->DecodeLabel("inf").state, LabelState::kUnknown);
  EXPECT_EQ(decoder_->DecodeLabel("NA").state, LabelState::kAbsent);
}

TEST_F(DecoderTest, DecodesFloats) {
  ASSERT_EQ(Header("temperature,mode,humidity,state"), Status::kOk);
  const std::array<float, 4> row = {1.5F, 9.0F, std::numeric_limits<float>::infinity(), 1.0F};
  std::array<uint8_t, sizeof row> bytes{};
  std::memcpy(bytes.data(), row.data(), bytes.size());
  ASSERT_EQ(decoder_->DecodeFloats(bytes, values_, &sample_), Status::kOk);
  EXPECT_EQ(values_[0], 1.5F);
  EXPECT_EQ(values_[1], 2.0F);
  EXPECT_TRUE(IsCanonicalMissing(values_[2]));
  EXPECT_EQ(sample_.label.value, 1.0);
  EXPECT_EQ(sample_.unseen_cells, 1U);
  EXPECT_EQ(decoder_->DecodeFloats(base::ByteView(bytes).first(15), values_, &sample_),
            Status::kInvalidArgument);
}

}  // namespace
}  // namespace dipper::stream
