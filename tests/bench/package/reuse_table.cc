// What block reuse saves: installs BASE on a simulated device, then has the real transfer bring packages that
// differ from it, and prints what had to be sent. The first rows change bytes of BASE's own image, in one run
// and in scattered places of 8 bytes (a number each); further packages are taken as they are.
//
// usage: reuse_table BASE.dpkg [NEXT.dpkg...]
#include <algorithm>
#include <cstring>
#include <random>

#include "agent/learn/image/limits.h"
#include "agent/package/build.h"
#include "agent/update/slot_source.h"
#include "agent/update/transfer.h"
#include "hal/sim/partition_sim.h"
#include "tests/bench/package/package_input.h"

namespace dipper::bench {
namespace {

using package::Bytes;
using schema::Reason;

constexpr uint64_t kSlotBytes = uint64_t{96} << 20U;

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "reuse_table: %s\n", what);
  std::exit(1);
}
void Must(bool good, const char* what) {
  if (!good) Fail(what);
}

/// A release key and the root that names it: files are signed anew, so that any root will do for them.
struct Signing {
  Signing() {
    auto made = package::GenerateKey();
    Must(made.ok(), "no entropy");
    key = *made;
    schema::RootT table;
    table.version = 1;
    table.expires = INT64_MAX / 2;
    table.keys.push_back(package::ToSchema(key.public_key()));
    for (uint8_t i = 0; i < 4; ++i)
      table.roles.push_back(package::MakeRole(static_cast<schema::RoleName>(i), 1, {0}));
    const auto document = package::BuildRoot(table, {&key, 1});
    Must(document.ok() && package::TrustRoot::Parse(*document, &root) == Reason::None, "no root");
  }
  Bytes Sign(const Bytes& bytes) const {
    const auto done = package::SignPackage(bytes, key);
    Must(done.ok(), "not a package");
    return *done;
  }
  package::PrivateKey key;
  package::TrustRoot root;
};

struct Device final : update::BlockTransport {
  Device()
      : boot({.size_bytes = 64 * 1024, .write_unit_bytes = 1, .erase_unit_bytes = 4096}, nullptr),
        a({.size_bytes = kSlotBytes, .write_unit_bytes = 1, .erase_unit_bytes = 4096}, nullptr),
        b({.size_bytes = kSlotBytes, .write_unit_bytes = 1, .erase_unit_bytes = 4096}, nullptr) {}
  void WantManifest(const base::Digest&) override {}
  void WantGroup(const base::Digest&, uint32_t) override {}
  void Done(const base::Digest&) override {}

  /// Installs `first` and has `next` transferred.
  update::TransferCounts Run(const Bytes& first, const Bytes& next, const Signing& signing) {
    const PackageFactsOf installed(first), wanted(next);
    update::PackageVerifier verifier(whole.bytes());
    store::ModelStore store({.boot = &boot, .slot_a = &a, .slot_b = &b, .max_image_bytes = 64 * 1024},
                            verifier);
    store::Counters counters(boot);
    Must(base::Ok(counters.Load()) && store.Start({}).ok() && base::Ok(store.HealthyMark()), "no store");
    Must(base::Ok(store.BeginStage(installed.digest, installed.version, first.size())) &&
             base::Ok(store.WriteStage(0, first)) && base::Ok(store.CommitStage()) &&
             base::Ok(store.BeginTrial()) && base::Ok(store.Confirm()),
         "BASE does not install");
    update::Transfer transfer({}, store, counters, 0, *this, head.bytes(), 1,
                              {.model_id = wanted.model,
                               .hardware = "any",
                               .agent_major = UINT16_MAX,
                               .max_image_bytes = package::kMaxImageBytes},
                              reuse.bytes());
    package::OfferFacts offer;
    offer.package = wanted.digest;
    offer.package_bytes = next.size();
    transfer.Begin(offer, 0);
    const base::ByteView bytes(next);
    update::TransferResult result =
        transfer.OnManifest(wanted.digest, bytes.first(wanted.header.head_bytes()), signing.root, 0);
    for (uint32_t i = 0; i < wanted.header.block_count; ++i) {
      if (result.kind != update::TransferResult::kGoingOn) break;
      const package::BlockInfo block = transfer.manifest()->block(i);
      // Blocks that are there are not sent: a device asks by groups, and takes no second one.
      result = transfer.OnBlock(wanted.digest, i, bytes.subspan(block.package_offset, block.stored_bytes), 0);
    }
    if (result.kind != update::TransferResult::kComplete) Fail(schema::EnumNameReason(result.reason));
    return transfer.counts();
  }

  struct PackageFactsOf {
    explicit PackageFactsOf(const Bytes& bytes) : memory(package::kHeadMemoryBytes) {
      package::Manifest manifest;
      Must(package::InspectHead(bytes, memory.bytes(), &manifest) == Reason::None, "not a package");
      header = manifest.header();
      digest = manifest.package_digest();
      model = manifest.model();
      version = manifest.security_version();
    }
    AlignedMemory memory;
    package::Header header;
    base::Digest digest;
    std::string_view model;
    base::SecurityVersion version;
  };

  hal::PartitionSim boot, a, b;
  AlignedMemory whole{package::kWholeMemoryBytes}, head{package::kHeadMemoryBytes},
      reuse{package::kWholeMemoryBytes};
};

void PrintRow(const char* name, const Bytes& base, const Bytes& next, const Signing& signing) {
  Device device;
  const update::TransferCounts counts = device.Run(signing.Sign(base), signing.Sign(next), signing);
  const Device::PackageFactsOf facts(next);
  const uint64_t sent = facts.header.head_bytes() + counts.bytes;
  std::printf("%-34s %10zu %7u %7llu %7llu %10llu %6.1f %%\n", name, next.size(), facts.header.block_count,
              static_cast<unsigned long long>(counts.reused), static_cast<unsigned long long>(counts.blocks),
              static_cast<unsigned long long>(sent),
              100.0 * static_cast<double>(sent) / static_cast<double>(next.size()));
}

/// A package with its manifest and image.
struct Opened {
  explicit Opened(const char* path) {
    const Bytes bytes = ReadFile(path);
    AlignedMemory memory(package::kHeadMemoryBytes);
    package::Manifest manifest;
    Must(package::InspectHead(bytes, memory.bytes(), &manifest) == Reason::None, "not a package");
    image.resize(manifest.image_bytes());
    Bytes scratch(package::kMaxStoredBlockBytes);
    package::MemorySource source(bytes);
    Must(package::DecodeImage(source, manifest, scratch, image) == Reason::None,
         "damaged or encrypted: nothing of an encrypted package can be reused");
    manifest.table().UnPackTo(&table);
    // Any package will do, also one that was made for other devices: what is measured are its blocks.
    table.hardware.clear();
    table.layouts.clear();
    table.min_agent.reset();
    table.numerics_version = learn::kNumericsVersion;
  }
  Bytes Build(const Bytes& with_image) const {
    const auto built = package::BuildPackage(table, with_image);
    Must(built.ok(), "not built");
    return *built;
  }
  schema::ManifestT table;
  Bytes image;
};

/// BASE's image, `share` of its bytes changed.
Bytes Changed(const Bytes& image, double share, bool scattered, std::mt19937_64& random) {
  Bytes changed = image;
  const auto bytes = static_cast<size_t>(share * static_cast<double>(image.size()));
  if (!scattered) {
    const size_t at = bytes >= image.size() ? 0 : random() % (image.size() - bytes);
    for (size_t i = 0; i < bytes; ++i) changed[at + i] = static_cast<uint8_t>(random());
    return changed;
  }
  for (size_t done = 0; done < bytes; done += 8) {
    const size_t at = random() % (image.size() / 8) * 8;
    for (size_t i = 0; i < 8; ++i) changed[at + i] = static_cast<uint8_t>(random());
  }
  return changed;
}

int Main(int argc, char** argv) {
  Opened opened(argv[1]);
  const Bytes base = opened.Build(opened.image);
  opened.table.version = "next";
  const Signing signing;
  std::printf("%-34s %10s %7s %7s %7s %10s %8s\n", "next package", "bytes", "blocks", "reused", "sent",
              "bytes sent", "of it");
  std::mt19937_64 random(1);
  for (const bool scattered : {false, true}) {
    for (const double share : {0.0, 0.01, 0.10, 0.50}) {
      if (scattered && share == 0.0) continue;
      const Bytes next = opened.Build(Changed(opened.image, share, scattered, random));
      char name[64];
      std::snprintf(name, sizeof name, "%g %% of the image, %s", share * 100,
                    scattered ? "scattered numbers" : "one run");
      PrintRow(name, base, next, signing);
    }
  }
  for (int i = 2; i < argc; ++i) {
    const Opened next(argv[i]);
    const char* slash = std::strrchr(argv[i], '/');
    PrintRow(slash == nullptr ? argv[i] : slash + 1, base, next.Build(next.image), signing);
  }
  return 0;
}

}  // namespace
}  // namespace dipper::bench

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: reuse_table BASE.dpkg [NEXT.dpkg...]\n", stderr);
    return 2;
  }
  return dipper::bench::Main(argc, argv);
}
