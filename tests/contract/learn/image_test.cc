// Damaged images: refused, or the model goes on, finite and in bounds (run under ASan and UBSan).
#include <gtest/gtest.h>

#include "agent/learn/math/nan.h"
#include "tests/contract/learn/cases.h"

namespace dipper::learn::testing {
namespace {

/// The same model in about `bytes`, or in the least more that it takes.
schema::SpecT Small(const ModelCase& test, uint64_t bytes) {
  schema::SpecT spec = SpecOf(test);
  for (spec.budget_bytes = bytes;; spec.budget_bytes += 8192) {
    if (Compiled(spec).Parse().ok() || spec.budget_bytes > 262144) return spec;
  }
}

/// A model that has learned, and a copy of its image to be damaged again and again.
class Victim {
 public:
  Victim(const ModelCase& test, uint64_t bytes, uint64_t samples)
      : good_(Small(test, bytes)), copy_(good_.memory().size()), stream_(1) {
    RunStream(good_.model(), good_.spec(), &stream_, samples, 3);
  }
  base::MutableBytes good() { return good_.memory(); }
  const Layout& layout() const { return good_.spec().plan().layout; }

  /// A fresh copy.
  base::MutableBytes Copy() {
    std::memcpy(copy_.bytes().data(), good_.memory().data(), copy_.bytes().size());
    return copy_.bytes();
  }

  /// Attaches to the copy; what is accepted goes on for `samples` and must answer with numbers. Returns
  /// whether it was refused.
  bool RefusesOrGoesOn(uint64_t samples) {
    auto attached = Model::Attach(good_.spec(), copy_.bytes());
    ++tried_;
    if (!attached.ok()) {
      ++refused_;
      return true;
    }
    Stream next = stream_;
    RunStream(attached.value(), good_.spec(), &next, samples, 3);
    Output out;
    EXPECT_EQ(attached->Predict(next.Next(2).x, &out), base::Status::kOk);
    bool finite = IsFinite(out.value) && IsFinite(out.low) && IsFinite(out.high) && IsFinite(out.anomaly_raw);
    for (const double p : out.probabilities) finite = finite && IsFinite(p);
    EXPECT_TRUE(finite);
    const Metrics m = attached->ReadMetrics();
    for (const double value : {m.accuracy, m.kappa, m.log_loss, m.mae, m.rmse, m.r2, m.faded_loss,
                               m.trivial_mae, m.windowed_loss, m.interval_width, m.drift_statistic}) {
      EXPECT_TRUE(IsFinite(value) || IsNan(value));
    }
    EXPECT_TRUE(attached->AllFinite());
    return false;
  }
  uint64_t refused() const { return refused_; }
  uint64_t tried() const { return tried_; }

 private:
  Fixture good_;
  AlignedBytes copy_;
  Stream stream_;
  uint64_t refused_ = 0, tried_ = 0;
};

class Image : public ::testing::TestWithParam<ModelCase> {};

TEST_P(Image, FlippedBytesNeverCrash) {
  Victim victim(GetParam(), 49152, 1200);
  Numbers numbers(2);
  for (uint64_t at = 0; at < victim.good().size(); at += at < 1024 ? 1 : 1 + numbers.Below(31)) {
    const int masks[] = {0x01, 0x40, 0x80, 0xff};
    uint8_t& byte = victim.Copy()[at];
    byte = static_cast<uint8_t>(byte ^ masks[numbers.Below(4)]);
    victim.RefusesOrGoesOn(20);
    ASSERT_FALSE(HasFailure()) << "byte " << at;
  }
  EXPECT_GT(victim.refused(), 40U);  // identity, versions, sizes at least
  EXPECT_GT(victim.tried(), 1000U);
}

TEST_P(Image, WildWordsNeverCrash) {
  Victim victim(GetParam(), 49152, 1200);
  Numbers numbers(3);
  const uint64_t words[] = {0,
                            1,
                            2,
                            0x7fffffff,
                            0xffffffff,
                            0x7ff0000000000000,  // infinity
                            0x7ff8000000000001,  // a NaN
                            0x7e37e43c8800759c,  // 1e300
                            0xbff0000000000000,  // -1
                            0x7f8000007f800000,  // two infinities in float32
                            0x7149f2ca7149f2ca,  // two times 1e30
                            0xffffffffffffffff};
  const uint64_t parts = victim.good().size() / 4;
  for (int i = 0; i < 1200; ++i) {
    // Four bytes, eight, or a run that is moved to another place: numbers that are plausible elsewhere.
    const base::MutableBytes copy = victim.Copy();
    const uint64_t at = 4 * numbers.Below(parts - 16);
    const uint64_t kind = numbers.Below(4);
    const uint64_t word = words[numbers.Below(std::size(words))];
    if (kind == 0) base::Store(copy.data() + at, static_cast<uint32_t>(word));
    if (kind == 1) base::Store(copy.data() + at / 8 * 8, word);
    if (kind == 2) base::Store(copy.data() + at, static_cast<uint32_t>(numbers.Below(300)));
    if (kind == 3) std::memmove(copy.data() + at, copy.data() + 4 * numbers.Below(parts - 16), 64);
    victim.RefusesOrGoesOn(20);
    ASSERT_FALSE(HasFailure()) << "kind " << kind << " at " << at;
  }
}

TEST_P(Image, NoCountComesRoundToZero) {
  Victim victim(GetParam(), 8192, 300);
  for (uint64_t at = 0; at < victim.good().size(); at += 8) {
    base::Store(victim.Copy().data() + at, ~uint64_t{0});
    victim.RefusesOrGoesOn(4);
    ASSERT_FALSE(HasFailure()) << "word at " << at;
  }
}

TEST_P(Image, CountsOfTheHeaderAreRefused) {
  Victim victim(GetParam(), 49152, 300);
  const auto refuses = [&victim](const auto& damage) {
    const base::MutableBytes copy = victim.Copy();
    auto header = base::Load<ImageHeader>(copy.data());
    damage(header);
    base::Store(copy.data(), header);
    return victim.RefusesOrGoesOn(0);
  };
  const Layout& layout = victim.layout();
  EXPECT_FALSE(refuses([](ImageHeader&) {}));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.magic += 1; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.layout_version += 1; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.numerics_version += 1; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.total_bytes += 16; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.spec_digest.bytes[31] ^= 1; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.flags = 2; }));
  EXPECT_TRUE(refuses([&](ImageHeader& h) { h.pending_count = layout.pending_capacity + uint64_t{1}; }));
  EXPECT_TRUE(refuses([&](ImageHeader& h) { h.pending_head = layout.pending_capacity + uint64_t{1}; }));
  EXPECT_TRUE(refuses([&](ImageHeader& h) { h.truth_count = layout.truth_capacity + uint64_t{1}; }));
  EXPECT_TRUE(refuses([&](ImageHeader& h) { h.truth_head = layout.truth_capacity + uint64_t{1}; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.learned = h.samples + h.labels + 1; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.last_actual = 1e300; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.residual_scale = -1.0; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.anomaly_residual = CanonicalNan(); }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.step_losses[4] = -1.0; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.background_loss = -1.0; }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.foreground_loss = CanonicalNan(); }));
  EXPECT_TRUE(refuses([](ImageHeader& h) { h.reserved[std::size(h.reserved) - 1] = 1; }));
}

TEST_P(Image, WildNumbersAreRefused) {
  Fixture model(Small(GetParam(), 49152));
  Stream stream(1);
  RunStream(model.model(), model.spec(), &stream, 300);
  ASSERT_TRUE(model->AllFinite());
  // An infinity in the learner's numbers.
  const Layout& layout = model.spec().plan().layout;
  const Section& section = layout.unsupervised ? layout.scorer_section : layout.learners[0].section;
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

/// Every byte of a whole image, for a case of each learner, stage, detector and option.
class EveryByte : public ::testing::TestWithParam<ModelCase> {};

TEST_P(EveryByte, FlippedNeverCrashes) {
  Victim victim(GetParam(), 20480, 700);
  for (uint64_t at = 0; at < victim.good().size(); ++at) {
    const int masks[] = {0xff, 0x80, 0x01};
    uint8_t& byte = victim.Copy()[at];
    byte = static_cast<uint8_t>(byte ^ masks[at % 3]);
    victim.RefusesOrGoesOn(6);
    ASSERT_FALSE(HasFailure()) << "byte " << at;
  }
  EXPECT_EQ(victim.tried(), victim.good().size());
}

std::vector<ModelCase> OneOfEach() {
  std::vector<ModelCase> cases;
  for (const ModelCase& test : AllCases()) {
    const bool plain = test.target == "binary" || test.target == "scores" || test.target == "ahead_late";
    if (!test.slow && (plain || !test.extra.empty())) cases.push_back(test);
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Learners, Image, ::testing::ValuesIn(AllCases()),
                         [](const auto& param) { return param.param.name(); });
INSTANTIATE_TEST_SUITE_P(Learners, EveryByte, ::testing::ValuesIn(OneOfEach()),
                         [](const auto& param) { return param.param.name(); });

}  // namespace
}  // namespace dipper::learn::testing
