// A batch of metrics: each reading in the smallest form that keeps it, and the limits of all forms together.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "agent/telemetry/encoders.h"
#include "tests/unit/agent/telemetry/some_envelope.h"

namespace dipper::telemetry {
namespace {

using base::Status;
using nlohmann::json;

/// Of one reading at the envelope's time: where it went and what came back of it.
struct Returned {
  const char* form = "";
  double value = 0;
  size_t bytes = 0;
};
Returned Return(double value, int64_t time_ns = SomeEnvelope().time_ns) {
  static Buffers<kMessageBufferBytes> buffers;
  const std::vector<MetricValue> values = {MakeMetric(MetricId::kMae, value, time_ns, 3)};
  const auto encoded = Encode(MetricsBatch{SomeEnvelope(), values, true}, buffers.message);
  const schema::MetricsBatch& batch = *Decode<schema::MetricsBatch>(encoded.value()).value();
  EXPECT_TRUE(batch.partial());
  Returned returned{.bytes = encoded->size()};
  returned.form = batch.values()->size() == 1 ? "full" : batch.whole() != nullptr ? "whole" : "real";
  size_t count = 0;
  ForEachReading(batch, [&](uint16_t id, uint16_t index, double back, int64_t at_ns) {
    EXPECT_EQ(id, static_cast<uint16_t>(MetricId::kMae));
    EXPECT_EQ(index, 3u);
    EXPECT_EQ(at_ns, time_ns);
    returned.value = back;
    ++count;
  });
  EXPECT_EQ(count, 1u);
  return returned;
}

TEST(MetricForms, ReadingsTakeTheSmallestFormThatKeepsThem) {
  const struct {
    double value;
    const char* form;
  } cases[] = {{0, "whole"},
               {-0.0, "whole"},
               {1, "whole"},
               {4294967295.0, "whole"},
               {4294967296.0, "real"},  // a power of two is exact in a float
               {4294967297.0, "full"},
               {21502775296.0, "real"},  // pages of memory
               {-1, "real"},
               {-16777217, "full"},
               {0.25, "real"},
               {0.1, "real"},
               {1e-300, "full"},
               {1e300, "full"},
               {9007199254740991.0, "full"},
               {std::numeric_limits<double>::infinity(), "real"},
               {-std::numeric_limits<double>::infinity(), "real"}};
  for (const auto& c : cases) {
    const Returned returned = Return(c.value);
    EXPECT_STREQ(returned.form, c.form) << c.value;
    const double rounded = static_cast<double>(static_cast<float>(c.value == 1e300 ? 0 : c.value));
    EXPECT_EQ(returned.value, c.value == 0.1 ? rounded : c.value) << c.value;
  }
  EXPECT_TRUE(std::isnan(Return(std::numeric_limits<double>::quiet_NaN()).value));
  EXPECT_STREQ(Return(1, 5).form, "full") << "of another time";
  EXPECT_LT(Return(1).bytes, Return(1, 5).bytes);
}

TEST(MetricForms, AFloatIsMirroredWithItsOwnDigits) {
  const int64_t now = SomeEnvelope().time_ns;
  const std::vector<MetricValue> values = {
      MakeMetric(MetricId::kMae, 0.1, now), MakeMetric(MetricId::kRmse, 1.0 / 3, now),
      MakeMetric(MetricId::kDriftStatistic, std::numeric_limits<double>::quiet_NaN(), now),
      MakeMetric(MetricId::kSamplesTotal, 4000000000.0, now), MakeMetric(MetricId::kKappa, -1.5e-10, now)};
  Buffers<kMessageBufferBytes> buffers;
  Envelope envelope = SomeEnvelope();
  envelope.boot = {};
  const auto encoded = Encode(MetricsBatch{envelope, values, true}, buffers.message);
  const std::string text(ToJson(encoded.value(), buffers.text).value());
  EXPECT_NE(text.find("\"partial\":true"), std::string::npos) << text;
  EXPECT_NE(text.find("\"prequential_mae\":0.1,"), std::string::npos) << text;
  EXPECT_NE(text.find("\"prequential_rmse\":0.33333334"), std::string::npos) << text;
  EXPECT_NE(text.find("\"drift_statistic\":null"), std::string::npos) << text;
  EXPECT_NE(text.find("\"learner_samples_total\":4000000000"), std::string::npos) << text;
  EXPECT_EQ(text.find("boot"), std::string::npos) << text;
  EXPECT_EQ(json::parse(text)["prequential_kappa"], -1.5e-10);
}

// The allocator would abort otherwise.
TEST(MetricForms, TheLargestMixedBatchFitsItsBound) {
  Buffers<kMessageBufferBytes> buffers;
  const std::string text(kMaxTextBytes, 'x');
  const std::string id(64, 'm');
  for (size_t length = 0; length < 8; ++length) {  // the texts before it move the vectors
    const Envelope envelope{std::string_view(text).substr(length), 1, 2, 3, id};
    std::vector<MetricValue> values;
    for (size_t i = 0; i < kMaxValues; ++i)
      values.push_back(MakeMetric(MetricId::kMae, i % 3 == 0 ? 1 : i % 3 == 1 ? 0.1 : 1e-300, 3, 65535));
    const MetricsBatch batch{envelope, values, true};
    const size_t bound = EncodedBound(batch);
    ASSERT_LE(bound, kMessageBufferBytes);
    const auto encoded = Encode(batch, base::MutableBytes(buffers.message).first(base::AlignUp(bound, 16)));
    ASSERT_TRUE(encoded.ok());
    EXPECT_TRUE(Decode<schema::MetricsBatch>(*encoded).ok());
    EXPECT_TRUE(ToJson(*encoded, buffers.text).ok());
  }
}

// The limit is of all three vectors together.
TEST(MetricForms, RefusesTooManyReadings) {
  const auto batch_of = [](size_t whole, size_t real) {
    flatbuffers::FlatBufferBuilder builder;
    const auto envelope = schema::CreateEnvelope(builder);
    const auto none = builder.CreateVectorOfStructs(static_cast<MetricValue*>(nullptr), 0);
    const std::vector<schema::WholeValue> wholes(whole);
    const std::vector<schema::RealValue> reals(real);
    const auto a = builder.CreateVectorOfStructs(wholes);
    const auto b = builder.CreateVectorOfStructs(reals);
    builder.Finish(schema::CreateMetricsBatch(builder, envelope, none, a, b, false), "DMET");
    alignas(16) std::array<uint8_t, kMessageBufferBytes> bytes;
    std::memcpy(bytes.data(), builder.GetBufferPointer(), builder.GetSize());
    return Decode<schema::MetricsBatch>(base::ByteView(bytes).first(builder.GetSize())).status();
  };
  EXPECT_EQ(batch_of(kMaxValues, 0), Status::kOk);
  EXPECT_EQ(batch_of(kMaxValues / 2, kMaxValues / 2), Status::kOk);
  EXPECT_EQ(batch_of(kMaxValues + 1, 0), Status::kDataLoss);
  EXPECT_EQ(batch_of(0, kMaxValues + 1), Status::kDataLoss);
  EXPECT_EQ(batch_of(kMaxValues, 1), Status::kDataLoss);
}

}  // namespace
}  // namespace dipper::telemetry
