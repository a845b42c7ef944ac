// Manifests whose signature is good and whose values are not, as a device sees them.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/unit/agent/package/fixture.h"

namespace dipper::package::test {
namespace {

using schema::ManifestT;
using schema::Reason;

Reason Changed(const std::function<void(ManifestT&, Header&)>& change) {
  static const Bytes package = TestPackage(2 * kBlockBytes);
  return Whole(Forge(package, TestKeys().release, change));
}
Reason ChangedManifest(const std::function<void(ManifestT&)>& change) {
  return Changed([&](ManifestT& manifest, Header&) { change(manifest); });
}

TEST(ManifestTest, UnchangedIsAccepted) {
  EXPECT_EQ(ChangedManifest([](ManifestT&) {}), Reason::None);
}

TEST(ManifestTest, NamesThatArePathsOrTopicsAreRefused) {
  const std::string with_zero("a\0b", 3);
  const std::vector<std::string> bad = {"",
                                        "../x",
                                        "/etc",
                                        "a/b",
                                        "a#",
                                        "a+",
                                        "+",
                                        "#",
                                        with_zero,
                                        "\xff\xfe",
                                        "a b",
                                        std::string(65, 'a'),
                                        std::string(4096, 'a')};
  for (const std::string& name : bad) {
    EXPECT_NE(ChangedManifest([&](ManifestT& m) { m.model = name; }), Reason::None) << name;
    if (name != "a b" && name != "a+") {
      EXPECT_EQ(ChangedManifest([&](ManifestT& m) { m.name = name; }), Reason::BadFormat) << name;
      EXPECT_EQ(ChangedManifest([&](ManifestT& m) { m.version = name; }), Reason::BadFormat) << name;
      EXPECT_EQ(ChangedManifest([&](ManifestT& m) { m.hardware = {name}; }), Reason::BadFormat) << name;
    }
  }
}

TEST(ManifestTest, BlockTablesThatLieAreRefused) {
  const auto at = [](uint32_t offset, uint32_t stored, uint32_t raw) {
    return schema::Block(schema::Sha256(), offset, stored, raw);
  };
  const uint32_t stored = [] {
    uint32_t value = 0;
    EXPECT_EQ(ChangedManifest([&](ManifestT& m) { value = m.blocks[0].stored_bytes(); }), Reason::None);
    return value;
  }();
  for (const auto& block :
       {at(1, stored, kBlockBytes), at(0, 0, kBlockBytes), at(0, UINT32_MAX, kBlockBytes),
        at(0, stored + 1, kBlockBytes), at(0, stored, kBlockBytes - 1), at(0, stored, UINT32_MAX),
        at(UINT32_MAX, stored, kBlockBytes), at(0, kMaxStoredBlockBytes + 1, kBlockBytes)}) {
    EXPECT_EQ(ChangedManifest([&](ManifestT& m) { m.blocks[0] = block; }), Reason::BadFormat);
  }
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.blocks.pop_back(); }), Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.blocks.push_back(m.blocks[1]); }), Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.image_bytes -= 1; }), Reason::BadFormat);
  EXPECT_EQ(Changed([](ManifestT&, Header& h) { h.image_bytes -= 1; }), Reason::BadFormat);
  // Header and table agree on one byte less, the last block does not.
  EXPECT_EQ(Changed([](ManifestT& m, Header& h) {
              h.image_bytes -= 1;
              m.image_bytes -= 1;
            }),
            Reason::BadFormat);
}

TEST(ManifestTest, SpecMustBeWellFormedAndFit) {
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.spec.clear(); }), Reason::BadSpec);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.spec.resize(m.spec.size() / 2); }), Reason::BadSpec);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.spec = TestSpec("other"); }), Reason::WrongSchema);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.feature_schema = std::make_unique<schema::Sha256>(); }),
            Reason::WrongSchema);
}

TEST(ManifestTest, SelfTestValuesAreChecked) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.self_test.reset(); }), Reason::None);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) {
              m.self_test->steps[0]->values = {std::nanf(""), 1};
            }),
            Reason::None);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.self_test->steps[0]->values = {1}; }), Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.self_test->steps[0]->values = {}; }), Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([&](ManifestT& m) {
              m.self_test->steps[0]->values = {infinity, 1};
            }),
            Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.self_test->steps[1]->y = std::nan(""); }),
            Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.self_test->steps[1]->weight = -1; }), Reason::BadFormat);
  EXPECT_EQ(ChangedManifest(
                [](ManifestT& m) { m.self_test->steps[1]->kind = static_cast<schema::SelfTestKind>(9); }),
            Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.self_test->image_sha256.reset(); }), Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.self_test->steps.clear(); }), Reason::BadFormat);
}

TEST(ManifestTest, GateValuesAreChecked) {
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {nan, infinity, -infinity, -1.0}) {
    EXPECT_EQ(ChangedManifest([&](ManifestT& m) { m.gate->loss_bound = bad; }), Reason::BadFormat);
  }
  for (const double bad : {nan, infinity, -infinity, 0.0, -1.0}) {
    EXPECT_EQ(ChangedManifest([&](ManifestT& m) { m.gate->alpha = bad; }), Reason::BadFormat);
  }
  for (const double bad : {nan, infinity, -0.1, 1.5}) {
    EXPECT_EQ(ChangedManifest([&](ManifestT& m) { m.gate->margin = bad; }), Reason::BadFormat);
  }
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.gate->alpha = 1; }), Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.gate->kind = static_cast<schema::GateKind>(77); }),
            Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.gate->at_deadline = static_cast<schema::AtDeadline>(77); }),
            Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.gate->deadline_samples = m.gate->deadline_seconds = 0; }),
            Reason::BadFormat);
}

TEST(ManifestTest, LineageTextIsSafeToPrint) {
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.lineage->notes = "two\nlines, \xc3\xa9"; }), Reason::None);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.lineage->notes = "\x1b[2J"; }), Reason::BadFormat);
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.lineage->notes = std::string(4097, 'a'); }),
            Reason::BadFormat);
}

TEST(ManifestTest, NewerReleaseEpochNeedsANewerRoot) {
  EXPECT_EQ(ChangedManifest([](ManifestT& m) { m.release_epoch = 1; }), Reason::RootInvalid);
}

TEST(ManifestTest, FeatureSchemaHashSeesNamesOrderAndKinds) {
  const auto hash = [](const std::function<void(schema::SpecT&)>& change) {
    schema::SpecT spec;
    flatbuffers::GetRoot<schema::Spec>(TestSpec().data())->UnPackTo(&spec);
    change(spec);
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(schema::Spec::Pack(builder, &spec));
    return FeatureSchemaHash(*flatbuffers::GetRoot<schema::Spec>(builder.GetBufferPointer()));
  };
  const base::Digest plain = hash([](auto&) {});
  EXPECT_EQ(plain, hash([](schema::SpecT& s) { s.seed = 99; }));
  EXPECT_NE(plain, hash([](schema::SpecT& s) { s.features[0]->name = "x"; }));
  EXPECT_NE(plain, hash([](schema::SpecT& s) { s.features[0]->unit = "K"; }));
  EXPECT_NE(plain, hash([](schema::SpecT& s) { s.features[0]->type = schema::FeatureType::Categorical; }));
  EXPECT_NE(plain, hash([](schema::SpecT& s) { s.features[0]->categories = {"a"}; }));
  EXPECT_NE(plain, hash([](schema::SpecT& s) { std::swap(s.features[0], s.features[1]); }));
  EXPECT_NE(plain, hash([](schema::SpecT& s) { s.features.pop_back(); }));
}

}  // namespace
}  // namespace dipper::package::test
