// Writes the seed corpora of the package, manifest, root, offer and command targets. Deterministic.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "agent/package/table.h"
#include "tests/fuzz/fuzz_keys.h"
#include "tests/unit/agent/package/fixture.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): a program, not a header
using package::Bytes;

std::filesystem::path folder;

void Write(const char* corpus, const char* name, const Bytes& bytes) {
  std::filesystem::create_directories(folder / corpus);
  std::ofstream out(folder / corpus / name, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

Bytes Tagged(uint8_t tag, const Bytes& bytes) {
  Bytes out = {tag};
  out.insert(out.end(), bytes.begin(), bytes.end());
  return out;
}

Bytes Finished(const flatbuffers::FlatBufferBuilder& builder) {
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

void WriteDocument(const char* corpus, const char* name, package::Domain domain, const Bytes& payload) {
  Write(corpus, (std::string(name) + "-document").c_str(), Tagged(0, fuzz::Sealed(domain, payload)));
  Write(corpus, (std::string(name) + "-payload").c_str(), Tagged(1, payload));
}

void WritePackages() {
  struct Case {
    const char* name;
    uint32_t image_bytes;
  };
  for (const Case& c :
       {Case{"one-byte", 1}, Case{"one-block", package::kBlockBytes}, Case{"three-blocks", 33'000}}) {
    const auto built =
        package::BuildPackage(package::test::TestManifest(), package::test::TestImage(c.image_bytes));
    const auto package = package::SignPackage(built.value(), fuzz::Key());
    Write("package", c.name, package.value());
    package::Header header;
    DIPPER_CHECK(package::ParseHeader(package.value(), &header) == schema::Reason::None);
    const auto begin = package.value().begin() + package::kHeaderBytes;
    Write("manifest", c.name, Bytes(begin, begin + header.manifest_bytes));
  }
  schema::ManifestT bare = package::test::TestManifest();
  bare.self_test.reset();
  bare.lineage.reset();
  bare.hardware.clear();
  const auto built = package::BuildPackage(bare, package::test::TestImage(100));
  Write("package", "bare-unsigned", built.value());
}

schema::RootT Root(uint32_t version) {
  schema::RootT table;
  table.version = version;
  table.expires = 4'000'000'000;
  table.keys.push_back(package::ToSchema(fuzz::Key().public_key()));
  for (uint8_t i = 0; i < package::kRoleCount; ++i) {
    table.roles.push_back(package::MakeRole(static_cast<schema::RoleName>(i), 1, {0}, version));
  }
  return table;
}

void WriteOffers() {
  schema::OfferT offer;
  offer.fleet = "demo";
  offer.model = "main";
  offer.rollout = "r1";
  offer.number = 1;
  offer.issued = 1'700'000'000;
  offer.not_before = 1'699'999'000;
  offer.not_after = 1'700'009'000;
  offer.package = std::make_unique<schema::Sha256>(std::array<uint8_t, 32>{1});
  offer.package_bytes = 30'000;
  offer.head_bytes = 2'000;
  offer.image_bytes = 40'000;
  for (const auto scope :
       {schema::TargetScope::Fleet, schema::TargetScope::Group, schema::TargetScope::List}) {
    offer.target = std::make_unique<schema::DeviceTargetT>();
    offer.target->scope = scope;
    if (scope != schema::TargetScope::Fleet) offer.target->names = {"canary", "mote-1"};
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(schema::Offer::Pack(builder, &offer), package::kOfferKind);
    WriteDocument("offer", schema::EnumNameTargetScope(scope), package::Domain::kOffer, Finished(builder));
  }
}

void WriteCommand() {
  schema::CommandT command;
  command.fleet = "demo";
  command.target = std::make_unique<schema::DeviceTargetT>();
  command.model = "main";
  command.number = 1;
  command.issued = 1'700'000'000;
  command.not_after = 1'700'000'060;
  command.name = "set_interval";
  auto argument = std::make_unique<schema::ArgumentT>();
  argument->key = "interval_ms";
  argument->value = "1000";
  command.arguments.push_back(std::move(argument));
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Command::Pack(builder, &command), package::kCommandKind);
  WriteDocument("command", "plain", package::Domain::kCommand, Finished(builder));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_package_corpus FOLDER\n");
    return 2;
  }
  folder = argv[1];
  WritePackages();
  WriteDocument("root", "first", package::Domain::kRoot, package::test::RootPayload(Root(1)));
  WriteDocument("root", "second", package::Domain::kRoot, package::test::RootPayload(Root(2)));
  WriteOffers();
  WriteCommand();
  return 0;
}
