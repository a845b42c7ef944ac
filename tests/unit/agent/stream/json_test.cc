// JSON records: where things are, what each kind of value means, and every bad record as a counted outcome.
#include "agent/stream/json.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>

#include "tests/unit/agent/stream/sample_spec.h"

namespace dipper::stream {
namespace {

using base::Status;

class JsonTest : public testing::Test {
 protected:
  void Build(schema::Task task, uint16_t spare, const JsonPlaces& places = {}) {
    spec_ = std::make_unique<SampleSpec>(task, spare);
    decoder_ = std::make_unique<JsonDecoder>(spec_->table());
    ASSERT_EQ(decoder_->Bind(places), Status::kOk);
  }
  void SetUp() override { Build(schema::Task::Classification, 1); }

  Status Sample(const std::string& text) { return decoder_->DecodeSample(text, values_, &sample_); }
  Status Either(const std::string& text, bool columns_known = false) {
    return decoder_->Decode(text, columns_known, values_, &record_);
  }
  Status Late(const std::string& text) { return decoder_->DecodeLabel(text, &label_); }
  Status Bind(const JsonPlaces& places) { return decoder_->Bind(places); }
  const JsonCounters& counters() const { return decoder_->counters(); }

  std::unique_ptr<SampleSpec> spec_;
  std::unique_ptr<JsonDecoder> decoder_;
  JsonSample sample_;
  JsonLabel label_;
  JsonRecord record_;
  std::array<float, 3> values_{};
};

TEST_F(JsonTest, MatchesMembersByNameInAnyOrder) {
  ASSERT_EQ(Sample(R"({"state":"ok","humidity":40.5,"id":7,"temperature":21.25,"mode":"boost","time":12})"),
            Status::kOk);
  EXPECT_EQ(values_, (std::array<float, 3>{21.25F, 1.0F, 40.5F}));
  EXPECT_TRUE(sample_.has_id);
  EXPECT_EQ(sample_.id, 7U);
  EXPECT_TRUE(sample_.has_time);
  EXPECT_EQ(sample_.time_ns, 12'000'000'000);
  EXPECT_EQ(sample_.label.state, LabelState::kPresent);
  EXPECT_EQ(sample_.label.value, 0.0);
  EXPECT_EQ(counters().records, 1U);
  EXPECT_EQ(counters().extra_members, 0U);
}

TEST_F(JsonTest, ReadsByPointer) {
  const std::array<std::string_view, 3> features = {"/d/values/1", "/m~0n/a~1b", ""};
  JsonPlaces places;
  places.features = features;
  places.label = "/d/truth/state";
  places.id = "/d/seq";
  ASSERT_EQ(Bind(places), Status::kOk);
  ASSERT_EQ(
      Sample(R"({"d":{"seq":3,"values":[9,21.5,8],"truth":{"state":"1"}},"m~n":{"a/b":"eco"},"humidity":1})"),
      Status::kOk);
  EXPECT_EQ(values_, (std::array<float, 3>{21.5F, 0.0F, 1.0F}));
  EXPECT_EQ(sample_.id, 3U);
  EXPECT_EQ(sample_.label.value, 1.0);
}

TEST_F(JsonTest, RefusesPlacesThatAreNone) {
  JsonPlaces places;
  for (const char* pointer : {"/a~", "/a~2", "/a/b~x"}) {
    places.label = pointer;
    EXPECT_EQ(Bind(places), Status::kInvalidArgument) << pointer;
  }
  places.label = "temperature";  // the model would see its answer
  EXPECT_EQ(Bind(places), Status::kInvalidArgument);
  places.label = "/temperature";
  EXPECT_EQ(Bind(places), Status::kInvalidArgument);
  EXPECT_EQ(Sample("{}"), Status::kFailedPrecondition);
  const std::string deep = "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17";
  places.label = deep;
  EXPECT_EQ(Bind(places), Status::kResourceExhausted);
  const std::array<std::string_view, 4> four = {"a", "b", "c", "d"};
  places = {};
  places.features = four;
  EXPECT_EQ(Bind(places), Status::kInvalidArgument);
  EXPECT_EQ(Bind({}), Status::kOk);
}

TEST_F(JsonTest, EveryKindOfValueHasAMeaning) {
  ASSERT_EQ(Sample(R"({"temperature":null,"mode":null,"humidity":"NaN"})"), Status::kOk);
  for (const float value : values_) EXPECT_TRUE(IsCanonicalMissing(value));
  EXPECT_EQ(sample_.missing_cells, 3U);
  ASSERT_EQ(Sample(R"({"temperature":" 2.5 ","mode":7,"humidity":true})"), Status::kOk);
  EXPECT_EQ(values_, (std::array<float, 3>{2.5F, 3.0F, 1.0F}));
  ASSERT_EQ(Sample(R"({"temperature":false,"mode":true,"humidity":-0.0})"), Status::kOk);
  EXPECT_EQ(values_, (std::array<float, 3>{0.0F, 2.0F, -0.0F}));
  ASSERT_EQ(Sample(R"({"temperature":{"mode":1},"mode":false,"humidity":[1]})"), Status::kOk);
  EXPECT_TRUE(IsCanonicalMissing(values_[0]));
  EXPECT_EQ(values_[1], 4.0F);
  EXPECT_TRUE(IsCanonicalMissing(values_[2]));
  EXPECT_EQ(sample_.bad_cells, 2U);
  EXPECT_EQ(sample_.unseen_cells, 1U);
  EXPECT_EQ(counters().bad_cells, 2U);
  EXPECT_EQ(counters().unseen_cells, 1U);
}

TEST_F(JsonTest, HugeNumbers) {
  ASSERT_EQ(Sample(R"({"temperature":1e39,"mode":"eco","humidity":-1e300})"), Status::kOk);
  EXPECT_TRUE(IsCanonicalMissing(values_[0]));
  EXPECT_TRUE(IsCanonicalMissing(values_[2]));
  EXPECT_EQ(sample_.bad_cells, 2U);
  ASSERT_EQ(Sample(R"({"temperature":99999999999999999999999,"humidity":1e-400})"), Status::kOk);
  EXPECT_EQ(values_[0], 1e23F);
  EXPECT_EQ(sample_.bad_cells, 1U);                                         // below double, as in CSV
  EXPECT_EQ(Sample(R"({"temperature":1e400})"), Status::kInvalidArgument);  // beyond double
  EXPECT_EQ(counters().malformed, 1U);
}

TEST_F(JsonTest, WordsThatJsonDoesNotKnowAreMalformed) {
  for (const char* word : {"NaN", "Infinity", "-Infinity", "nan", "+1", "01", "0x10", "1.", ".5", "True"}) {
    EXPECT_EQ(Sample(std::string(R"({"temperature":)") + word + "}"), Status::kInvalidArgument) << word;
  }
  EXPECT_EQ(counters().malformed, 10U);
  // As texts they are cells like any other.
  ASSERT_EQ(Sample(R"({"temperature":"inf","mode":"NaN","humidity":"-Infinity"})"), Status::kOk);
  EXPECT_EQ(sample_.bad_cells, 2U);
  EXPECT_EQ(sample_.missing_cells, 1U);
}

TEST_F(JsonTest, RefusesWhatIsNoObject) {
  values_ = {7, 7, 7};
  sample_.id = 99;
  for (const std::string text : {"",
                                 " ",
                                 "null",
                                 "1",
                                 "\"x\"",
                                 "[]",
                                 "[{}]",
                                 "{",
                                 "}",
                                 R"({"temperature":1)",
                                 R"({"temperature":1}})",
                                 R"({"temperature":1} x)",
                                 R"({"temperature":1}{"temperature":2})",
                                 R"({temperature:1})",
                                 R"({'temperature':1})",
                                 R"({"temperature":1,})",
                                 "{\"mode\":\"\xFF\"}",
                                 "{\"mode\":\"a\nb\"}",
                                 R"({"mode":"\ud800"})",
                                 R"({"temperature":1} // one)"}) {
    EXPECT_EQ(Sample(text), Status::kInvalidArgument) << text;
  }
  EXPECT_EQ(counters().malformed, 20U);
  EXPECT_EQ(counters().records, 0U);
  EXPECT_EQ(values_, (std::array<float, 3>{7, 7, 7}));
  EXPECT_EQ(sample_.id, 99U);
  EXPECT_EQ(Sample(R"({"temperature":1})"), Status::kOk);  // and goes on
}

TEST_F(JsonTest, ANulEndsNothing) {
  const std::string text("{\"temperature\":1}\0{\"x\":2}", 25);
  EXPECT_EQ(Sample(text), Status::kInvalidArgument);
  EXPECT_EQ(Sample(R"({"mode":"\u0000"})"), Status::kOk);  // inside a text it is a character
  EXPECT_EQ(sample_.unseen_cells, 1U);
}

TEST_F(JsonTest, IsBounded) {
  std::string deep;
  for (int i = 0; i < 15; ++i) deep += R"({"a":)";
  EXPECT_EQ(Sample(deep + "{}" + std::string(15, '}')), Status::kOk);
  EXPECT_EQ(Sample(R"({"a":)" + deep + "{}" + std::string(16, '}')), Status::kResourceExhausted);
  EXPECT_EQ(Sample(std::string(1U << 20U, ' ') + "{}"), Status::kResourceExhausted);
  EXPECT_EQ(Sample(R"({"a":)" + std::string(60'000, '[')), Status::kResourceExhausted);
  EXPECT_EQ(counters().malformed, 3U);
}

TEST_F(JsonTest, RefusesAMemberThatIsThereTwice) {
  EXPECT_EQ(Sample(R"({"temperature":1,"temperature":2})"), Status::kInvalidArgument);
  EXPECT_EQ(Sample(R"({"id":1,"id":1})"), Status::kInvalidArgument);
  EXPECT_EQ(Sample(R"({"state":"ok","state":"1"})"), Status::kInvalidArgument);
  EXPECT_EQ(Sample(R"({"temperature":1,"temper\u0061ture":2})"), Status::kInvalidArgument);
  EXPECT_EQ(counters().duplicates, 4U);
  EXPECT_EQ(Sample(R"({"other":1,"other":2})"), Status::kOk);  // nobody reads it
  EXPECT_EQ(counters().extra_members, 2U);
}

TEST_F(JsonTest, ReadsIds) {
  for (const char* id : {"18446744073709551615", "\"18446744073709551615\"", "7.0", "1e3", "0"}) {
    ASSERT_EQ(Sample(std::string(R"({"id":)") + id + "}"), Status::kOk) << id;
    EXPECT_TRUE(sample_.has_id);
  }
  ASSERT_EQ(Sample(R"({"id":18446744073709551615})"), Status::kOk);
  EXPECT_EQ(sample_.id, UINT64_MAX);
  for (const char* id : {"-1", "1.5", "18446744073709551616", "1e30", "\"x\"", "true", "[1]", "{}"}) {
    EXPECT_EQ(Sample(std::string(R"({"id":)") + id + "}"), Status::kInvalidArgument) << id;
  }
  EXPECT_EQ(counters().bad_ids, 8U);
  ASSERT_EQ(Sample(R"({"id":null})"), Status::kOk);
  EXPECT_FALSE(sample_.has_id);
}

TEST_F(JsonTest, ReadsTimes) {
  struct Case {
    TimeUnit unit;
    const char* text;
    int64_t time_ns;
  };
  for (const Case& c :
       {Case{TimeUnit::kSeconds, "1700000000", 1'700'000'000'000'000'000},
        Case{TimeUnit::kSeconds, "0.5", 500'000'000}, Case{TimeUnit::kMilliseconds, "\"-3\"", -3'000'000},
        Case{TimeUnit::kMicroseconds, "2", 2000},
        Case{TimeUnit::kNanoseconds, "9223372036854775807", INT64_MAX}}) {
    JsonPlaces places;
    places.time_unit = c.unit;
    ASSERT_EQ(Bind(places), Status::kOk);
    ASSERT_EQ(Sample(std::string(R"({"time":)") + c.text + "}"), Status::kOk) << c.text;
    EXPECT_TRUE(sample_.has_time) << c.text;
    EXPECT_EQ(sample_.time_ns, c.time_ns);
  }
  ASSERT_EQ(Bind({}), Status::kOk);
  for (const char* time :
       {"9223372037", "-9223372037", "1e300", "18446744073709551615", "\"noon\"", "true", "[]"}) {
    ASSERT_EQ(Sample(std::string(R"({"time":)") + time + "}"), Status::kOk) << time;
    EXPECT_FALSE(sample_.has_time) << time;
    EXPECT_EQ(sample_.time_ns, 0);
  }
  EXPECT_EQ(counters().bad_times, 7U);
}

TEST_F(JsonTest, ReadsLabels) {
  const auto label = [this](const char* text) {
    EXPECT_EQ(Sample(std::string(R"({"state":)") + text + "}"), Status::kOk) << text;
    return sample_.label;
  };
  EXPECT_EQ(label("\"ok\"").value, 0.0);
  EXPECT_EQ(label("1").value, 1.0);
  EXPECT_EQ(label("1.0").value, 1.0);
  EXPECT_EQ(label("true").value, 1.0);
  EXPECT_EQ(label("null").state, LabelState::kAbsent);
  EXPECT_EQ(label("\"\"").state, LabelState::kAbsent);
  EXPECT_EQ(label("{}").state, LabelState::kUnknown);
  EXPECT_TRUE(label("\"new\"").is_other);
  EXPECT_TRUE(label("false").is_other);
  EXPECT_EQ(counters().other_labels, 2U);
  EXPECT_EQ(counters().unknown_labels, 1U);
  Build(schema::Task::Regression, 0);
  EXPECT_EQ(label("-2.5e1").value, -25.0);
  EXPECT_EQ(label("true").value, 1.0);
  EXPECT_EQ(label("\"high\"").state, LabelState::kUnknown);
  Build(schema::Task::Anomaly, 0);
  EXPECT_EQ(label("true").value, 1.0);
  EXPECT_EQ(label("false").value, 0.0);
  EXPECT_EQ(label("2").state, LabelState::kUnknown);
}

TEST_F(JsonTest, ReadsLabelRecords) {
  ASSERT_EQ(Late(R"({"id":7,"label":"ok","weight":0.5,"temperature":3})"), Status::kOk);
  EXPECT_EQ(label_.id, 7U);
  EXPECT_EQ(label_.label.value, 0.0);
  EXPECT_EQ(label_.weight, 0.5);
  ASSERT_EQ(Late(R"({"label":1,"id":"8","weight":null})"), Status::kOk);
  EXPECT_EQ(label_.id, 8U);
  EXPECT_EQ(label_.weight, 1.0);
  EXPECT_EQ(counters().labels, 2U);
  EXPECT_EQ(counters().extra_members, 1U);
  for (const char* text : {R"({"label":"ok"})", R"({"id":null,"label":"ok"})"}) {
    EXPECT_EQ(Late(text), Status::kInvalidArgument) << text;
  }
  EXPECT_EQ(counters().bad_ids, 2U);
  for (const char* text : {R"({"id":1})", R"({"id":1,"label":null})", R"({"id":1,"label":"ok","weight":-1})",
                           R"({"id":1,"label":"ok","weight":"inf"})", R"({"id":1,"label":"ok","weight":"x"})",
                           R"({"id":1,"label":"ok","weight":[]})"}) {
    EXPECT_EQ(Late(text), Status::kInvalidArgument) << text;
  }
  EXPECT_EQ(counters().bad_labels, 6U);
  EXPECT_EQ(Late("[]"), Status::kInvalidArgument);
  EXPECT_EQ(counters().malformed, 1U);
}

TEST_F(JsonTest, ALabelRecordThatIsFaultyIsNoSample) {
  values_ = {7, 7, 7};
  for (const char* text : {R"({"label":"ok"})", R"({"id":null,"label":"ok"})", R"({"state":"ok"})"}) {
    EXPECT_EQ(Either(text), Status::kInvalidArgument) << text;
    EXPECT_TRUE(record_.is_label) << text;
    EXPECT_FALSE(record_.has_id) << text;
  }
  EXPECT_EQ(counters().bad_ids, 3U);
  for (const char* text : {R"({"id":50,"label":"ok","weight":-1})", R"({"id":50,"label":null})",
                           R"({"id":50,"label":""})", R"({"id":50,"state":"ok"})"}) {
    EXPECT_EQ(Either(text), Status::kInvalidArgument) << text;
    EXPECT_TRUE(record_.is_label && record_.has_id) << text;
    EXPECT_EQ(record_.id, 50U);
  }
  EXPECT_EQ(counters().bad_labels, 4U);
  EXPECT_EQ(counters().records, 0U);
  EXPECT_EQ(values_, (std::array<float, 3>{7, 7, 7}));
  ASSERT_EQ(Either(R"({"id":50,"label":"ok","weight":0.5})"), Status::kOk);
  EXPECT_TRUE(record_.is_label);
  EXPECT_EQ(record_.label.weight, 0.5);
  EXPECT_EQ(counters().labels, 1U);
}

TEST_F(JsonTest, WithoutAFeatureThereIsNoSample) {
  for (const char* text : {"{}", R"({"lvl":3})", R"({"id":7,"time":1})", R"({"Temperature":1})"}) {
    EXPECT_EQ(Either(text), Status::kNotFound) << text;
    EXPECT_FALSE(record_.is_label) << text;
  }
  EXPECT_TRUE(Either(R"({"id":8})") == Status::kNotFound && record_.has_id && record_.id == 8);
  EXPECT_EQ(counters().no_features, 5U);
  EXPECT_EQ(counters().records, 0U);
  EXPECT_EQ(Either("[]"), Status::kInvalidArgument);
  // One is enough, and it may be missing or bad.
  for (const char* text : {R"({"mode":"eco"})", R"({"mode":null})", R"({"humidity":[]})"}) {
    EXPECT_EQ(Either(text), Status::kOk) << text;
    EXPECT_FALSE(record_.is_label) << text;
  }
  EXPECT_EQ(counters().records, 3U);
  // Where the configuration names the columns, one that is not there is missing.
  ASSERT_EQ(Either(R"({"state":"ok"})", true), Status::kOk);
  EXPECT_FALSE(record_.is_label);
  EXPECT_EQ(record_.sample.label.state, LabelState::kPresent);
  EXPECT_EQ(record_.sample.missing_cells, 3U);
  EXPECT_EQ(Either("{}", true), Status::kOk);
}

TEST_F(JsonTest, FeaturesAndALabelAreASample) {
  ASSERT_EQ(Either(R"({"id":1,"temperature":2,"label":"ok"})"), Status::kOk);
  EXPECT_FALSE(record_.is_label);
  EXPECT_EQ(record_.sample.label.state, LabelState::kAbsent);  // nobody asked for `label` here
  JsonPlaces places;
  places.label = "label";  // a target of that name
  ASSERT_EQ(Bind(places), Status::kOk);
  ASSERT_EQ(Either(R"({"id":1,"temperature":2,"label":"ok"})"), Status::kOk);
  EXPECT_FALSE(record_.is_label);
  EXPECT_EQ(record_.sample.label.state, LabelState::kPresent);
  // A member that only label records have is ignored in a sample, twice or not.
  const uint64_t records = counters().records;
  ASSERT_EQ(Either(R"({"mode":null,"weight":1,"weight":2})"), Status::kOk);
  EXPECT_EQ(counters().records, records + 1);
  EXPECT_EQ(counters().duplicates, 0U);
  // Features that are all null: a label record only if it is a good one.
  ASSERT_EQ(Either(R"({"id":1,"temperature":null,"label":"ok"})"), Status::kOk);
  EXPECT_TRUE(record_.is_label);
  ASSERT_EQ(Either(R"({"temperature":null,"label":"ok"})"), Status::kOk);
  EXPECT_FALSE(record_.is_label);
  EXPECT_EQ(record_.sample.label.state, LabelState::kPresent);
}

TEST_F(JsonTest, ManyMembersInAnyOrderFindTheirPlaces) {
  for (int turn = 0; turn < 3; ++turn) {
    ASSERT_EQ(Sample(R"({"humidity":3,"x":0,"mode":"eco","temperature":1})"), Status::kOk);
    EXPECT_EQ(values_, (std::array<float, 3>{1, 0, 3}));
    ASSERT_EQ(Sample(R"({"temperature":1,"mode":"eco","y":{"temperature":9},"humidity":3})"), Status::kOk);
    EXPECT_EQ(values_, (std::array<float, 3>{1, 0, 3}));
  }
}

}  // namespace
}  // namespace dipper::stream
