// See update_world.h.
#include "tests/fault/update/update_world.h"

#include <cmath>
#include <utility>

#include "tools/lab/spec_text.h"
#include "tools/lab/train.h"

namespace dipper::update::test {
namespace {

constexpr const char* kSpec = R"(format = 1
model_id = "main"
task = "regression"
budget = "64KiB"
loss_bound = 1.0
[target]
kind = "feature_ahead"
feature = "level"
ahead = 1
[[feature]]
name = "level"
type = "numeric"
[learner]
kind = "rls"
[pending]
capacity = 8
)";
constexpr uint64_t kMaxImage = 64 * 1024;

hal::Geometry Shape(uint64_t bytes) {
  return {.size_bytes = bytes, .write_unit_bytes = 1, .erase_unit_bytes = 4096};
}

}  // namespace

const Keys& TestKeys() {
  static const Keys* keys = [] {
    auto* made = new Keys;
    for (package::PrivateKey* key :
         {&made->root, &made->release, &made->rollout, &made->command, &made->stranger}) {
      auto generated = package::GenerateKey();
      DIPPER_CHECK(generated.ok());
      *key = *generated;
    }
    return made;
  }();
  return *keys;
}

Media::Media()
    : boot(Shape(64 * 1024), &power), slot_a(Shape(512 * 1024), &power), slot_b(Shape(512 * 1024), &power) {}

void Media::Restart(uint64_t seed) {
  for (hal::PartitionSim* partition : {&boot, &slot_a, &slot_b}) partition->Restart(seed);
  power.Restore();
}

std::vector<Bytes> Media::Copy() {
  std::vector<Bytes> copies;
  for (hal::PartitionSim* partition : {&boot, &slot_a, &slot_b}) {
    copies.emplace_back(partition->bytes().begin(), partition->bytes().end());
  }
  return copies;
}

void Media::Load(const std::vector<Bytes>& bytes) {
  boot.Load(bytes[0]);
  slot_a.Load(bytes[1]);
  slot_b.Load(bytes[2]);
  power.Restore();
}

namespace {

/// What differs from the first root.
struct RootChange {
  uint32_t version = 2;
  const package::PrivateKey* release = &TestKeys().release;
  uint32_t release_epoch = 0;
  const package::PrivateKey* rollout = &TestKeys().rollout;
  uint32_t rollout_epoch = 0;
  bool second_rollout_key = false;  ///< The stranger's.
};

Bytes BuildRootDocument(const RootChange& change) {
  const Keys& keys = TestKeys();
  schema::RootT root;
  root.version = change.version;
  root.created = 1'000;
  root.expires = 4'000'000'000;
  for (const package::PrivateKey* key : {&keys.root, change.release, change.rollout, &keys.command}) {
    root.keys.push_back(package::ToSchema(key->public_key()));
  }
  if (change.second_rollout_key) root.keys.push_back(package::ToSchema(keys.stranger.public_key()));
  for (uint8_t role = 0; role < 4; ++role) {
    const auto name = static_cast<schema::RoleName>(role);
    const bool rollout = name == schema::RoleName::Rollout;
    const bool release = name == schema::RoleName::Release;
    const uint32_t epoch = release ? change.release_epoch : rollout ? change.rollout_epoch : 0;
    std::vector<uint8_t> indices = {role};
    if (rollout && change.second_rollout_key) indices.push_back(4);
    root.roles.push_back(package::MakeRole(name, 1, indices, epoch));
  }
  const auto built = package::BuildRoot(root, {&keys.root, 1});
  DIPPER_CHECK(built.ok());
  return *built;
}

}  // namespace

Bytes RootDocument() {
  static const Bytes* document = new Bytes(BuildRootDocument({.version = 1}));
  return *document;
}

Bytes NextRootDocument(uint32_t release_epoch) {
  return BuildRootDocument({.release = &TestKeys().stranger, .release_epoch = release_epoch});
}

Bytes NextRolloutRootDocument(uint32_t rollout_epoch) {
  return BuildRootDocument({.rollout = &TestKeys().stranger, .rollout_epoch = rollout_epoch});
}

Bytes BothRolloutKeysRootDocument() { return BuildRootDocument({.second_rollout_key = true}); }

Release MakeRelease(const std::string& version, uint32_t security_version, const ReleaseChange& change) {
  const schema::SpecT spec = lab::ParseSpecText(kSpec, "test.toml");
  Bytes image = lab::FreshImage(spec).image;
  schema::ManifestT manifest;
  manifest.model = "main";
  manifest.name = "level";
  manifest.version = version;
  manifest.security_version = security_version;
  manifest.created = 1'700'000'000;
  manifest.spec = lab::CompileSpec(spec);
  manifest.numerics_version = learn::kNumericsVersion;
  manifest.gate = std::make_unique<schema::GatePolicyT>();
  manifest.gate->margin = 0.2;
  manifest.gate->warmup_samples = 4;
  manifest.gate->deadline_samples = 2000;
  if (change.edit) change.edit(manifest, image);
  const auto built = package::BuildPackage(manifest, image, nullptr, change.groups);
  DIPPER_CHECK(built.ok());
  const auto signed_package =
      package::SignPackage(*built, change.by_stranger ? TestKeys().stranger : TestKeys().release);
  DIPPER_CHECK(signed_package.ok());
  package::Header header;
  DIPPER_CHECK(package::ParseHeader(*signed_package, &header) == schema::Reason::None);
  return {*signed_package, package::PackageDigest(header, *signed_package)};
}

Bytes Release::Offer(uint64_t number, const std::function<void(schema::OfferT&)>& change,
                     const package::PrivateKey& key) const {
  package::Header header;
  DIPPER_CHECK(package::ParseHeader(package, &header) == schema::Reason::None);
  schema::OfferT offer;
  offer.fleet = "plant";
  offer.target = std::make_unique<schema::DeviceTargetT>();
  offer.model = "main";
  offer.rollout = "r1";
  offer.number = number;
  offer.issued = 1'700'000'000;
  offer.not_before = 0;
  offer.not_after = 4'000'000'000;
  offer.package = std::make_unique<schema::Sha256>(package::ToSchema(digest));
  offer.package_bytes = header.package_bytes();
  offer.head_bytes = static_cast<uint32_t>(header.head_bytes());
  offer.image_bytes = header.image_bytes;
  if (change) change(offer);
  const auto built = package::BuildOffer(offer, {&key, 1});
  DIPPER_CHECK(built.ok());
  return *built;
}

Bytes CommandDocument(const std::string& name, uint64_t number, int64_t not_after, const std::string& model,
                      const package::PrivateKey& key) {
  schema::CommandT command;
  command.fleet = "plant";
  command.target = std::make_unique<schema::DeviceTargetT>();
  command.model = model;
  command.number = number;
  command.issued = 1'700'000'000;
  command.not_after = not_after;
  command.name = name;
  const auto built = package::BuildCommand(command, {&key, 1});
  DIPPER_CHECK(built.ok());
  return *built;
}

// Monotonic time comes from Play.
class Device::WallClock final : public hal::Clock {
 public:
  int64_t MonotonicNs() override { return 0; }
  int64_t WallNs() override { return seconds * 1'000'000'000; }
  bool WallSynchronized() override { return synchronized; }

  int64_t seconds = 1'700'000'000;
  bool synchronized = false;
};

Device::Device(Media& media, uint64_t max_latency_ns, const package::GroupKeys* group_keys, bool reuse_blocks)
    : media_(media),
      clock_(std::make_unique<WallClock>()),
      roots_(media.boot),
      counters_(media.boot),
      trust_(std::make_unique<Trust>(roots_, counters_, *clock_, 0)),
      first_(kMaxImage),
      second_(kMaxImage) {
  UpdaterConfig config;
  DIPPER_CHECK(Ok(config.model_id.Assign("main")) && Ok(config.device_id.Assign("d1")) &&
               Ok(config.fleet.Assign("plant")) && Ok(config.hardware.Assign("generic-linux")));
  config.agent_minor = 1;
  config.max_image_bytes = kMaxImage;
  config.checkpoint_seconds = 20;
  config.trial_checkpoint_seconds = 20;
  config.healthy_seconds = 5;
  config.max_latency_ns = max_latency_ns;
  config.transfer.persist_blocks = 1;
  config.transfer.reuse_blocks = reuse_blocks;
  config.group_keys = group_keys;
  updater_ = std::make_unique<Updater>(
      config, UpdaterMemory{.first_image = first_.bytes(), .second_image = second_.bytes()},
      UpdaterDeps{.store = {.boot = &media.boot, .slot_a = &media.slot_a, .slot_b = &media.slot_b},
                  .trust = trust_.get(),
                  .transport = this,
                  .observer = this});
}

Device::~Device() = default;

base::Status Device::Start(const store::LastRun& last) {
  const Bytes root = RootDocument();
  const base::Status trusted = trust_->Open(root);
  if (!Ok(trusted) && media_.power.on) return trusted;
  return updater_->Start(last);
}

void Device::SetWall(int64_t seconds, bool synchronized) {
  clock_->seconds = seconds;
  clock_->synchronized = synchronized;
}

void Device::WantManifest(const base::Digest& package) {
  (void)package;
  want_manifest_ = true;
  want_group_ = want_block_ = -1;
}

void Device::WantGroup(const base::Digest& package, uint32_t group) {
  (void)package;
  want_manifest_ = false;
  want_group_ = group;
  want_block_ = -1;
}

void Device::WantBlock(const base::Digest& package, uint32_t index) {
  (void)package;
  want_manifest_ = false;
  want_group_ = -1;
  want_block_ = index;
}

void Device::Done(const base::Digest& package) {
  (void)package;
  want_manifest_ = false;
  want_group_ = want_block_ = -1;
}

void Device::OnUpdateEvent(const UpdateEvent& event) {
  events_.push_back(event);
  if (event.to == event.from) return;
  reports_.confirmed = reports_.confirmed || event.to == schema::UpdateState::Confirmed;
  reports_.fell_back = reports_.fell_back || event.to == schema::UpdateState::FellBack;
  reports_.rejected = reports_.rejected || event.to == schema::UpdateState::Rejected;
  reports_.failed = reports_.failed || event.to == schema::UpdateState::Failed;
  if (event.to == schema::UpdateState::Trial) ++reports_.trial_starts;
  if (event.reason != schema::Reason::None) reports_.reason = event.reason;
}

void Device::Deliver(const Release& release) {
  package::Header header;
  DIPPER_CHECK(package::ParseHeader(release.package, &header) == schema::Reason::None);
  const base::ByteView package(release.package);
  if (want_manifest_) {
    want_manifest_ = false;
    updater_->OnManifest(release.digest, package.first(static_cast<size_t>(header.head_bytes())));
  }
  const bool group_comes = want_group_ >= 0 && !wildcards_lost_;
  if (blocks_lost_ || (!group_comes && want_block_ < 0)) return;
  std::vector<uint64_t> memory(package::kHeadMemoryBytes / 8 + 2);
  auto* aligned = reinterpret_cast<uint8_t*>(base::AlignUp(reinterpret_cast<uintptr_t>(memory.data()), 16));
  package::Manifest manifest;
  DIPPER_CHECK(package::InspectHead(package, {aligned, package::kHeadMemoryBytes}, &manifest) ==
               schema::Reason::None);
  const int64_t alone = std::exchange(want_block_, -1);
  want_group_ = -1;
  for (uint32_t i = 0; i < manifest.block_count(); ++i) {
    if (alone >= 0 && i != alone) continue;
    const package::BlockInfo block = manifest.block(i);
    updater_->OnBlock(release.digest, i,
                      package.subspan(static_cast<size_t>(block.package_offset), block.stored_bytes));
  }
}

void Device::Feed(double challenger_loss) {
  learn::Model* champion = updater_->champion();
  learn::Model* challenger = updater_->challenger();
  if (next_id_ == 0 && champion != nullptr && champion->samples() > 0) next_id_ = champion->last_id() + 1;
  const float level = static_cast<float>(std::sin(static_cast<double>(next_id_) * 0.1));
  learn::Output served;
  learn::Output tried;
  if (champion != nullptr) DIPPER_CHECK(Ok(champion->Observe(next_id_, 0, {&level, 1}, &served)));
  if (challenger != nullptr) DIPPER_CHECK(Ok(challenger->Observe(next_id_, 0, {&level, 1}, &tried)));
  ++next_id_;
  if (challenger == nullptr) return;
  if (latency_ns_ > 0) updater_->OnChallengerLatency(latency_ns_);
  if (!tried.outcome.valid) return;
  // The models are alike; what the gate sees is scripted.
  served.outcome.loss = kSame;
  tried.outcome.loss = challenger_loss;
  tried.outcome.trivial_loss = kSame;
  updater_->OnOutcomes(served.outcome, tried.outcome);
}

void Device::Poll(int64_t seconds) {
  now_ns_ += seconds * 1'000'000'000;
  updater_->Poll(now_ns_);
}

void Device::PlayTurn(const Release& release, uint64_t number, double challenger_loss) {
  if (number != offer_number_) {
    offer_number_ = number;
    offer_ = release.Offer(number);
  }
  now_ns_ += 1'000'000'000;
  updater_->Poll(now_ns_);
  if (!updater_->store().healthy() && turn_ >= 2) (void)updater_->HealthyMark();
  if (turn_ % 10 == 3) (void)updater_->OnOffer(offer_);  // a retained offer comes again and again
  ++turn_;
  Deliver(release);
  for (int i = 0; i < 4; ++i) Feed(challenger_loss);
}

bool Device::PlayUntil(const Release& release, uint64_t number, double challenger_loss,
                       schema::UpdateState state) {
  for (int turn = 0; turn < 60 && updater_->state() != state; ++turn) {
    PlayTurn(release, number, challenger_loss);
  }
  return updater_->state() == state;
}

bool Device::Play(const Release& release, uint64_t number, double challenger_loss) {
  for (int turn = 0; turn < 400 && media_.power.on; ++turn) {
    PlayTurn(release, number, challenger_loss);
    const UpdateStatus status = updater_->Status();
    if (status.checkpoints != checkpoints_ && updater_->champion() != nullptr && media_.power.on) {
      checkpoints_ = status.checkpoints;
      saved_package_ = status.champion;
      saved_samples_ = updater_->champion()->samples() - 4;  // written before this turn's samples
    }
    const store::OfferState& stored = counters_.offer(0);
    if (turn > 3 && stored.number == number && IsResting(stored.state) && IsResting(status.state))
      return true;
  }
  return false;
}

}  // namespace dipper::update::test
