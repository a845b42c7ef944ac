// Damaged images: every flipped byte is refused, or the model stays finite and in bounds (run under ASan and
// UBSan).
#include <gtest/gtest.h>

#include "agent/learn/math/nan.h"
#include "tests/contract/learn/cases.h"

namespace dipper::learn::testing {
namespace {

class Image : public ::testing::TestWithParam<ModelCase> {
 protected:
  static schema::SpecT Small(const ModelCase& test) {
    schema::SpecT spec = SpecOf(test);
    spec.budget_bytes = 49152;
    return spec;
  }
};

TEST_P(Image, FlippedBytesNeverCrash) {
  Fixture model(Small(GetParam()));
  Stream stream(1);
  RunStream(model.model(), model.spec(), &stream, 1200, 3);
  const base::MutableBytes good = model.memory();
  AlignedBytes memory(good.size());
  uint64_t refused = 0, tried = 0;
  Numbers numbers(2);
  for (uint64_t at = 0; at < good.size(); at += at < 1024 ? 1 : 1 + numbers.Below(15)) {
    std::memcpy(memory.span().data(), good.data(), good.size());
    const int masks[] = {0x01, 0x40, 0x80, 0xff};
    memory.span()[at] = static_cast<uint8_t>(memory.span()[at] ^ masks[numbers.Below(4)]);
    ++tried;
    auto attached = Model::Attach(model.spec(), memory.span());
    if (!attached.ok()) {
      ++refused;
      continue;
    }
    Stream next = stream;
    RunStream(attached.value(), model.spec(), &next, 30, 3);
    Output out;
    ASSERT_EQ(attached->Predict(next.Next(2).x, &out), base::Status::kOk);
    ASSERT_TRUE(IsFinite(out.value)) << at;
    for (const double p : out.probabilities) ASSERT_TRUE(IsFinite(p)) << at;
  }
  EXPECT_GT(refused, 40U);  // identity, versions, sizes at least
  EXPECT_GT(tried, 1000U);
}

TEST_P(Image, WildNumbersAreRefused) {
  Fixture model(Small(GetParam()));
  Stream stream(1);
  RunStream(model.model(), model.spec(), &stream, 300);
  ASSERT_TRUE(model->AllFinite());
  // An infinity in the learner's numbers.
  const Section& section = model.spec().plan().layout.learners[0].section;
  uint64_t noticed = 0;
  for (uint64_t at = section.offset; at < section.offset + 256; at += 8) {
    const auto before = base::Load<uint64_t>(model.memory().data() + at);
    base::Store(model.memory().data() + at, uint64_t{0x7ff0000000000000});
    if (!model->AllFinite()) ++noticed;
    base::Store(model.memory().data() + at, before);
  }
  EXPECT_GT(noticed, 8U);
  EXPECT_TRUE(model->AllFinite());
}

INSTANTIATE_TEST_SUITE_P(Learners, Image, ::testing::ValuesIn(AllCases()),
                         [](const auto& param) { return param.param.name(); });

}  // namespace
}  // namespace dipper::learn::testing
