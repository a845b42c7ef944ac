// Bad data of every kind, as CSV and as JSON, all the way into a model: a counted, clear outcome each, and
// the model stays finite and goes on learning.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "agent/stream/decoder.h"
#include "agent/stream/json.h"
#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::stream {
namespace {

using base::Status;

enum class Format { kCsv, kJson };

constexpr uint64_t kWarmUp = 200;

/// A classifier of f0, f1 and `kind` behind one of the two decoders. Cells are given as both formats write
/// them.
class DataFaults : public testing::TestWithParam<Format> {
 protected:
  DataFaults() : fixture_(Spec()) {
    if (csv()) {
      csv_ = std::make_unique<SampleDecoder>(fixture_.spec().table());
      EXPECT_EQ(csv_->ReadHeader("f0,f1,kind,label\n", &match_), Status::kOk);
    } else {
      json_ = std::make_unique<JsonDecoder>(fixture_.spec().table());
      EXPECT_EQ(json_->Bind({}), Status::kOk);
    }
  }

  static schema::SpecT Spec() {
    schema::SpecT spec = learn::testing::MakeSpec("linear", 2, 2);
    learn::testing::AddFeature(&spec, "kind", {"a", "b"});
    learn::testing::AddStage(&spec, schema::OneHotT());
    learn::testing::AddStage(&spec, schema::StandardScalerT());
    spec.target->name = "label";
    return spec;
  }
  static bool csv() { return GetParam() == Format::kCsv; }

  /// One record; the model observes it and, when a label came, learns it.
  Status Feed(const std::string& csv_line, const std::string& json_record) {
    std::array<float, 3> values{};
    const Status status = csv() ? csv_->DecodeLine(csv_line, values, &sample_)
                                : json_->DecodeSample(json_record, values, &json_sample_);
    if (!csv()) sample_ = json_sample_;
    if (!base::Ok(status)) return status;
    EXPECT_EQ(fixture_->Observe(++id_, 0, values, &out_), Status::kOk);
    EXPECT_TRUE(learn::IsFinite(out_));
    if (sample_.label.state != LabelState::kPresent) return status;
    EXPECT_EQ(fixture_->Learn(id_, sample_.label.value, 1.0, nullptr), Status::kOk);
    return status;
  }
  Status FeedNumbers(const std::string& f0, const std::string& f1, const std::string& kind,
                     const std::string& label) {
    return Feed(
        f0 + "," + f1 + "," + kind + "," + label,
        R"({"f0":)" + f0 + R"(,"f1":)" + f1 + R"(,"kind":")" + kind + R"(","label":")" + label + "\"}");
  }
  void WarmUp() {
    for (uint64_t i = 0; i < kWarmUp; ++i) {
      const std::string x = std::to_string(static_cast<double>(i * 37 % 100) / 10.0);
      ASSERT_EQ(FeedNumbers(x, "1.5", i % 3 == 0 ? "a" : "b", i * 37 % 100 < 50 ? "c0" : "c1"), Status::kOk);
    }
  }
  /// The model has kept what it knew: both classes are told apart.
  void ExpectStillKnows() {
    EXPECT_TRUE(fixture_->AllFinite());
    EXPECT_EQ(ClassAt(1.0F), 0);
    EXPECT_EQ(ClassAt(9.0F), 1);
  }
  int ClassAt(float x) {
    const std::array<float, 3> values = {x, 1.5F, 1.0F};
    EXPECT_EQ(fixture_->Predict(values, &out_), Status::kOk);
    return out_.class_index;
  }
  uint64_t Malformed() const { return csv() ? csv_->counters().malformed : json_->counters().malformed; }
  uint64_t BadCells() const { return csv() ? csv_->counters().bad_cells : json_->counters().bad_cells; }
  uint64_t MissingCells() const {
    return csv() ? csv_->counters().missing_cells : json_->counters().missing_cells;
  }
  uint64_t UnseenCells() const {
    return csv() ? csv_->counters().unseen_cells : json_->counters().unseen_cells;
  }

  learn::testing::Fixture fixture_;
  HeaderMatch match_;
  std::unique_ptr<SampleDecoder> csv_;
  std::unique_ptr<JsonDecoder> json_;
  DecodedSample sample_;
  JsonSample json_sample_;
  learn::Output out_;
  uint64_t id_ = 0;
};

TEST_P(DataFaults, NotANumberIsMissing) {
  WarmUp();
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(Feed("NaN,nan,-nan,c0", R"({"f0":"NaN","f1":null,"kind":"","label":"c0"})"), Status::kOk);
  }
  EXPECT_GE(MissingCells(), 100U);
  EXPECT_TRUE(fixture_->AllFinite());
  EXPECT_EQ(fixture_->ReadMetrics().missing_values,
            csv() ? 100U : 150U);  // "-nan" is a category like any other
}

TEST_P(DataFaults, InfinityIsABadCell) {
  WarmUp();
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(Feed("inf,-Infinity,a,c0", R"({"f0":"inf","f1":"-Infinity","kind":"a","label":"c0"})"),
              Status::kOk);
  }
  EXPECT_EQ(BadCells(), 100U);
  EXPECT_TRUE(fixture_->AllFinite());
}

TEST_P(DataFaults, HugeValuesDoNotPoison) {
  WarmUp();
  for (const char* huge : {"1e39", "-1e300", "3e38", "-3e38", "1e-45", "9e30"}) {
    ASSERT_EQ(FeedNumbers(huge, huge, "a", "c1"), Status::kOk) << huge;
  }
  EXPECT_EQ(BadCells(), 4U);                              // two values beyond float32
  EXPECT_EQ(fixture_->ReadMetrics().clamped_values, 6U);  // cut to 1e30
  EXPECT_TRUE(fixture_->AllFinite());
}

TEST_P(DataFaults, NumbersBeyondDouble) {
  const Status status = FeedNumbers("1e400", "1", "a", "c0");
  EXPECT_EQ(status, csv() ? Status::kOk : Status::kInvalidArgument);
  EXPECT_EQ(csv() ? BadCells() : Malformed(), 1U);
  const uint64_t bad = BadCells();
  ASSERT_EQ(FeedNumbers("1e-400", "1", "a", "c0"), Status::kOk);
  EXPECT_EQ(BadCells(), bad + 1);
}

TEST_P(DataFaults, ConstantColumns) {
  for (uint64_t i = 0; i < 2 * kWarmUp; ++i) {
    ASSERT_EQ(FeedNumbers("5", "5", "a", i % 2 == 0 ? "c0" : "c1"), Status::kOk);
  }
  EXPECT_TRUE(fixture_->AllFinite());
  WarmUp();
  ExpectStillKnows();
}

TEST_P(DataFaults, OneClassOnly) {
  for (uint64_t i = 0; i < 2 * kWarmUp; ++i) ASSERT_EQ(FeedNumbers("5", "1", "b", "c1"), Status::kOk);
  EXPECT_TRUE(fixture_->AllFinite());
  EXPECT_EQ(ClassAt(5.0F), 1);
}

TEST_P(DataFaults, MissingColumns) {
  if (csv()) {
    ASSERT_EQ(csv_->ReadHeader("f0,label", &match_), Status::kOk);
    EXPECT_EQ(match_.missing_features, 2U);
    EXPECT_EQ(match_.first_missing, 1U);
  }
  for (uint64_t i = 0; i < kWarmUp; ++i) ASSERT_EQ(Feed("2,c0", R"({"f0":2,"label":"c0"})"), Status::kOk);
  EXPECT_EQ(fixture_->ReadMetrics().missing_values, 2 * kWarmUp);
  EXPECT_TRUE(fixture_->AllFinite());
}

TEST_P(DataFaults, ExtraColumnsAreIgnored) {
  if (csv()) {
    ASSERT_EQ(csv_->ReadHeader("x,f0,f1,kind,label,y", &match_), Status::kOk);
    EXPECT_EQ(match_.extra_columns, 2U);
  }
  ASSERT_EQ(Feed("9,1,2,a,c0,zz", R"({"x":9,"f0":1,"f1":2,"kind":"a","label":"c0","y":{"f0":[1]}})"),
            Status::kOk);
  EXPECT_EQ(sample_.missing_cells + sample_.bad_cells + sample_.unseen_cells, 0U);
  if (!csv()) {
    EXPECT_EQ(json_->counters().extra_members, 2U);
  }
}

TEST_P(DataFaults, UnseenCategoriesGoToOther) {
  WarmUp();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(FeedNumbers("1", "1.5", "turbo", "c0"), Status::kOk);
  EXPECT_EQ(UnseenCells(), 20U);
  ExpectStillKnows();
}

TEST_P(DataFaults, UnknownLabelsTeachNothing) {
  WarmUp();
  const uint64_t learned = fixture_->labels_learned();
  ASSERT_EQ(FeedNumbers("1", "1.5", "a", "c9"), Status::kOk);
  EXPECT_EQ(sample_.label.state, LabelState::kUnknown);
  EXPECT_EQ(csv() ? csv_->counters().unknown_labels : json_->counters().unknown_labels, 1U);
  EXPECT_EQ(fixture_->labels_learned(), learned);
}

TEST_P(DataFaults, SampleWithoutLabel) {
  WarmUp();
  const uint64_t learned = fixture_->labels_learned();
  const uint64_t capacity = fixture_->ReadMetrics().pending_capacity;
  for (uint64_t i = 0; i < capacity + 10; ++i) {
    ASSERT_EQ(Feed("1,1.5,a,", R"({"f0":1,"f1":1.5,"kind":"a"})"), Status::kOk);
    EXPECT_EQ(sample_.label.state, LabelState::kAbsent);
  }
  EXPECT_EQ(fixture_->labels_learned(), learned);
  EXPECT_EQ(fixture_->ReadMetrics().lost_samples, 10U);
  ExpectStillKnows();
}

TEST_P(DataFaults, LabelWithoutSampleAndLabelTooLate) {
  WarmUp();
  const uint64_t late = id_ + 1;
  const uint64_t capacity = fixture_->ReadMetrics().pending_capacity;
  for (uint64_t i = 0; i <= capacity; ++i) {
    ASSERT_EQ(Feed("1,1.5,a,", R"({"f0":1,"f1":1.5,"kind":"a"})"), Status::kOk);
  }
  JsonLabel label;
  if (csv()) {
    label = {late, csv_->DecodeLabel("c0"), 1};
  } else {
    ASSERT_EQ(json_->DecodeLabel(R"({"id":)" + std::to_string(late) + R"(,"label":"c0"})", &label),
              Status::kOk);
  }
  EXPECT_EQ(fixture_->Learn(label.id, label.label.value, label.weight, nullptr), Status::kNotFound);
  EXPECT_EQ(fixture_->Learn(1'000'000, 0, 1, nullptr), Status::kNotFound);
  EXPECT_EQ(fixture_->ReadMetrics().unmatched_labels, 2U);
  ExpectStillKnows();
}

TEST_P(DataFaults, LineEndsAndByteOrderMark) {
  if (csv()) {
    ASSERT_EQ(csv_->ReadHeader("\xEF\xBB\xBF\"f0\",f1,kind,label\r\n", &match_), Status::kOk);
  }
  for (const std::string end : {"", "\n", "\r\n", "\r"}) {
    ASSERT_EQ(Feed("1,2,b,c1" + end, "\xEF\xBB\xBF{\"f0\":1,\"f1\":2,\"kind\":\"b\",\"label\":\"c1\"}" + end),
              Status::kOk);
    EXPECT_EQ(sample_.label.value, 1.0);
    EXPECT_EQ(sample_.unseen_cells, 0U);
  }
}

TEST_P(DataFaults, Quotes) {
  ASSERT_EQ(Feed(R"("1","2","b","c1")", R"({"f0":"1","f1":"2","kind":"b","label":"c1"})"), Status::kOk);
  EXPECT_EQ(sample_.label.value, 1.0);
  EXPECT_EQ(Feed(R"("1,2,b,c1)", R"({"f0":"1,"f1":2,"kind":"b","label":"c1"})"), Status::kInvalidArgument);
  EXPECT_EQ(Malformed(), 1U);
}

TEST_P(DataFaults, EmptyRecords) {
  for (const std::string text : {"", "\n", "\r\n"}) {
    EXPECT_EQ(Feed(text, text), Status::kInvalidArgument);
  }
  EXPECT_EQ(csv() ? csv_->counters().wrong_columns : Malformed(), 3U);
  EXPECT_EQ(Feed("1,2,b,c1", R"({"f0":1,"f1":2,"kind":"b","label":"c1"})"), Status::kOk);
}

TEST_P(DataFaults, ALineOfAMegabyte) {
  const std::string filling(1U << 20U, '7');
  EXPECT_EQ(Feed(filling + ",1,a,c0", R"({"f0":)" + filling + "}"), Status::kResourceExhausted);
  EXPECT_EQ(Malformed(), 1U);
  EXPECT_EQ(id_, 0U);
  EXPECT_EQ(Feed("1,2,b,c1", R"({"f0":1,"f1":2,"kind":"b","label":"c1"})"), Status::kOk);
}

INSTANTIATE_TEST_SUITE_P(Formats, DataFaults, testing::Values(Format::kCsv, Format::kJson),
                         [](const auto& test) { return test.param == Format::kCsv ? "Csv" : "Json"; });

}  // namespace
}  // namespace dipper::stream
