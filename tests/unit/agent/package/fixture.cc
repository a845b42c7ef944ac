// Implementation of fixture.h.
#include "tests/unit/agent/package/fixture.h"

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"
#include "agent/package/table.h"

namespace dipper::package::test {
namespace {

PrivateKey MustGenerate() {
  auto key = GenerateKey();
  DIPPER_CHECK(key.ok());
  return *key;
}

Bytes Finished(const flatbuffers::FlatBufferBuilder& builder) {
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

}  // namespace

const Keys& TestKeys() {
  static const Keys keys{MustGenerate(), MustGenerate(), MustGenerate(), MustGenerate(), MustGenerate()};
  return keys;
}

schema::RootT PlainRoot(uint32_t version) {
  const Keys& keys = TestKeys();
  schema::RootT root;
  root.version = version;
  root.created = 1'000;
  root.expires = 2'000'000'000;
  for (const PrivateKey* key : {&keys.root, &keys.release, &keys.rollout, &keys.command}) {
    root.keys.push_back(ToSchema(key->public_key()));
  }
  for (uint8_t i = 0; i < 4; ++i) root.roles.push_back(MakeRole(static_cast<schema::RoleName>(i), 1, {i}));
  return root;
}

TrustRoot TestRoot() {
  const auto bytes = BuildRoot(PlainRoot(), {&TestKeys().root, 1});
  DIPPER_CHECK(bytes.ok());
  TrustRoot root;
  DIPPER_CHECK(TrustRoot::Parse(*bytes, &root) == schema::Reason::None);
  return root;
}

Bytes TestSpec(const std::string& model) {
  schema::SpecT spec;
  spec.model_id = model;
  for (const char* name : {"temperature", "humidity"}) {
    auto feature = std::make_unique<schema::FeatureT>();
    feature->name = name;
    spec.features.push_back(std::move(feature));
  }
  spec.target = std::make_unique<schema::TargetT>();
  spec.learner.Set(schema::RlsT());
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Spec::Pack(builder, &spec), kSpecKind);
  return Finished(builder);
}

schema::ManifestT TestManifest() {
  schema::ManifestT manifest;
  manifest.model = "main";
  manifest.name = "motes";
  manifest.version = "1.0.0";
  manifest.release_epoch = 0;
  manifest.security_version = 7;
  manifest.created = 1'700'000'000;
  manifest.spec = TestSpec();
  manifest.hardware = {"generic-linux"};
  manifest.min_agent = std::make_unique<schema::AgentVersion>(uint16_t{0}, uint16_t{1}, uint16_t{0});
  manifest.numerics_version = 1;
  auto layout = std::make_unique<schema::LayoutVersionT>();
  layout->kind = "image";
  layout->version = 3;
  manifest.layouts.push_back(std::move(layout));
  manifest.gate = std::make_unique<schema::GatePolicyT>();
  manifest.self_test = std::make_unique<schema::SelfTestT>();
  auto observe = std::make_unique<schema::SelfTestStepT>();
  observe->id = 1;
  observe->values = {1.5F, 2.5F};
  auto learn = std::make_unique<schema::SelfTestStepT>();
  learn->kind = schema::SelfTestKind::Learn;
  learn->id = 1;
  learn->y = 3;
  manifest.self_test->steps.push_back(std::move(observe));
  manifest.self_test->steps.push_back(std::move(learn));
  manifest.self_test->image_sha256 =
      std::make_unique<schema::Sha256>(ToSchema(base::Sha256Of(TestImage(10))));
  manifest.lineage = std::make_unique<schema::LineageT>();
  manifest.lineage->notes = "trained on the bench";
  return manifest;
}

Bytes TestImage(size_t size, uint32_t seed) {
  Bytes image(size);
  uint32_t state = seed;
  for (size_t i = 0; i < size; ++i) {
    if (i % 8 == 0) state = state * 1664525 + 1013904223;
    image[i] = static_cast<uint8_t>(state >> 24);
  }
  return image;
}

Bytes TestPackage(size_t image_bytes, uint32_t seed) {
  const auto unsigned_package = BuildPackage(TestManifest(), TestImage(image_bytes, seed));
  DIPPER_CHECK(unsigned_package.ok());
  const auto package = SignPackage(*unsigned_package, TestKeys().release);
  DIPPER_CHECK(package.ok());
  return *package;
}

void FixHeaderCrc(Bytes& package) {
  base::Store(package.data() + 60, base::Crc32c(base::ByteView(package).first(60)));
}

Bytes Forge(const Bytes& package, const PrivateKey& key,
            const std::function<void(schema::ManifestT&, Header&)>& change) {
  AlignedBytes memory(kHeadMemoryBytes);
  Manifest manifest;
  DIPPER_CHECK(InspectHead(package, memory.bytes(), &manifest) == schema::Reason::None);
  Header header = manifest.header();
  const Bytes area(package.begin() + static_cast<std::ptrdiff_t>(header.head_bytes()), package.end());
  schema::ManifestT unpacked;
  manifest.table().UnPackTo(&unpacked);
  change(unpacked, header);
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Manifest::Pack(builder, &unpacked), kManifestKind);
  const Bytes packed = Finished(builder);
  header.manifest_bytes = static_cast<uint32_t>(packed.size());
  header.signature_bytes = kSignatureBytes;
  Bytes head(kHeaderBytes);
  WriteHeader(header, head);
  const auto value =
      Sign(key, SigningDigest(Domain::kPackage, base::ByteView(head).first(kSignedHeaderBytes), packed));
  const base::Digest id = key.id();
  Bytes section(id.bytes.begin(), id.bytes.end());
  section.insert(section.end(), value.value().rs.begin(), value.value().rs.end());
  header.signature_crc = base::Crc32c(section);
  WriteHeader(header, head);
  head.insert(head.end(), packed.begin(), packed.end());
  head.insert(head.end(), section.begin(), section.end());
  head.insert(head.end(), area.begin(), area.end());
  return head;
}

Bytes Envelope(const Bytes& payload, const std::vector<schema::Signature>& signatures) {
  schema::SignedT table;
  table.payload = payload;
  table.signatures = signatures;
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Signed::Pack(builder, &table), kSignedKind);
  return Finished(builder);
}

schema::Signature SignatureBy(const PrivateKey& key, Domain domain, const Bytes& payload) {
  const auto value = Sign(key, SigningDigest(domain, payload));
  return {ToSchema(key.id()), value.value().rs};
}

Bytes RootPayload(const schema::RootT& root) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Root::Pack(builder, &root), kRootKind);
  return Finished(builder);
}

schema::Reason Whole(const Bytes& package, const TrustRoot* root, PackageFacts* facts, AlignedBytes& memory) {
  MemorySource source(package);
  return VerifyWhole(source, root, memory.bytes(), facts);
}

schema::Reason Whole(const Bytes& package) {
  AlignedBytes memory(kWholeMemoryBytes);
  const TrustRoot root = TestRoot();
  PackageFacts facts;
  return Whole(package, &root, &facts, memory);
}

base::ByteView Head(const Bytes& package) {
  Header header;
  DIPPER_CHECK(ParseHeader(package, &header) == schema::Reason::None);
  return base::ByteView(package).first(header.head_bytes());
}

}  // namespace dipper::package::test
