// A whole device around the real updater, store, package and learn code: simulated partitions, real
// signatures, and a loop that plays broker and sensor. Used by the update fault tests.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/package/build.h"
#include "agent/update/updater.h"
#include "hal/sim/partition_sim.h"
#include "tests/support/aligned_bytes.h"

namespace dipper::update::test {

using package::Bytes;

/// Made once a process: a key a role, and one that no first root knows.
struct Keys {
  package::PrivateKey root, release, rollout, command, stranger;
};
const Keys& TestKeys();

/// Three partitions on one power supply.
struct Media {
  Media();
  /// Power returns; what was not synced is decided by the seed (PartitionSim::Outcome).
  void Restart(uint64_t seed);
  std::vector<Bytes> Copy();
  void Load(const std::vector<Bytes>& bytes);

  hal::SimPower power;
  hal::PartitionSim boot, slot_a, slot_b;
};

/// A signed package of a small forecasting model, and an offer of it.
struct Release {
  Bytes package;
  base::Digest digest;
  /// `change` edits the offer before it is signed; null: nothing.
  Bytes Offer(uint64_t number, const std::function<void(schema::OfferT&)>& change = nullptr,
              const package::PrivateKey& key = TestKeys().rollout) const;
};
/// What differs from the usual release; applied before it is signed.
struct ReleaseChange {
  std::function<void(schema::ManifestT&, Bytes& image)> edit;
  bool by_stranger = false;                     ///< Signed by a key that the first root does not know.
  std::vector<package::PublicKey> groups = {};  ///< Encrypted for them; none: not encrypted.
};
Release MakeRelease(const std::string& version, uint32_t security_version, const ReleaseChange& change = {});
Bytes RootDocument();
/// Its successor, in which the stranger's key is the release role's only one, in that epoch.
Bytes NextRootDocument(uint32_t release_epoch);
/// Another successor, in which the stranger's key is the rollout role's only one, in that epoch.
Bytes NextRolloutRootDocument(uint32_t rollout_epoch);
/// Another one, in which the stranger's key is a rollout key beside the former one.
Bytes BothRolloutKeysRootDocument();
/// A signed command to this device, without arguments.
Bytes CommandDocument(const std::string& name, uint64_t number, int64_t not_after = 4'000'000'000,
                      const std::string& model = "main", const package::PrivateKey& key = TestKeys().command);

/// What a run of the agent reported, and what it must not contradict later.
struct Reports {
  bool confirmed = false;
  bool fell_back = false;
  bool rejected = false;
  bool failed = false;
  schema::Reason reason = schema::Reason::None;
  uint64_t trial_starts = 0;
};

/// A challenger's loss per label; the champion's is always kSame.
inline constexpr double kBetter = 0.4, kSame = 0.5, kWorse = 1.0;

/// One run of an agent, from start to power cut or to the end of the offer.
class Device final : public BlockTransport, public UpdateObserver {
 public:
  /// @param max_latency_ns  The device's own limit; 0: none.
  /// @param reuse_blocks    Off, because releases here share their images, and transfers are what is cut.
  explicit Device(Media& media, uint64_t max_latency_ns = 0, const package::GroupKeys* group_keys = nullptr,
                  bool reuse_blocks = false);
  ~Device();

  /// @param last  What the agent's note says about the run before.
  base::Status Start(const store::LastRun& last = {});
  /// Plays broker, sensor and clock until `number` has ended, the power is gone, or nothing more happens.
  /// @param challenger_loss  Loss that the challenger is given per label.
  /// @returns true when the update has ended.
  bool Play(const Release& release, uint64_t number, double challenger_loss);
  /// One second of it: poll, health, offer, blocks, four samples.
  void PlayTurn(const Release& release, uint64_t number, double challenger_loss);
  /// That much later, with nothing coming from anywhere.
  void Poll(int64_t seconds = 1);
  /// Turns until that state, at most 60. @returns false: not reached.
  bool PlayUntil(const Release& release, uint64_t number, double challenger_loss, schema::UpdateState state);
  Updater& updater() { return *updater_; }
  Trust& trust() { return *trust_; }
  /// Wall clock from now on; before: 2023, not synchronized, so that nothing expires.
  void SetWall(int64_t seconds, bool synchronized);
  /// What the challenger takes for each sample from now on; 0: not timed.
  void SetLatency(int64_t ns) { latency_ns_ = ns; }
  const std::vector<UpdateEvent>& events() const { return events_; }
  /// Blocks stay away from now on.
  void LoseBlocks() { blocks_lost_ = true; }
  /// The broker keeps nothing for wildcard subscriptions from now on.
  void LoseWildcards() { wildcards_lost_ = true; }
  const Reports& reports() const { return reports_; }
  /// Samples in the champion's newest checkpoint that was written in this run; 0: none.
  uint64_t saved_samples() const { return saved_samples_; }
  base::Digest saved_package() const { return saved_package_; }

  void WantManifest(const base::Digest& package) override;
  void WantGroup(const base::Digest& package, uint32_t group) override;
  void WantBlock(const base::Digest& package, uint32_t index) override;
  void Done(const base::Digest& package) override;
  void OnUpdateEvent(const UpdateEvent& event) override;
  void OnModelsChanged() override {}

 private:
  class WallClock;
  void Deliver(const Release& release);
  void Feed(double challenger_loss);

  Media& media_;
  std::unique_ptr<WallClock> clock_;
  store::RootStore roots_;
  store::Counters counters_;
  std::unique_ptr<Trust> trust_;
  dipper::test::AlignedBytes first_, second_;
  std::unique_ptr<Updater> updater_;
  Reports reports_;
  std::vector<UpdateEvent> events_;
  int64_t latency_ns_ = 0;
  bool want_manifest_ = false;
  int64_t want_group_ = -1;
  int64_t want_block_ = -1;
  bool blocks_lost_ = false, wildcards_lost_ = false;
  uint64_t next_id_ = 0;
  int64_t now_ns_ = 0;
  int turn_ = 0;
  Bytes offer_;
  uint64_t offer_number_ = 0;
  uint64_t checkpoints_ = 0;
  uint64_t saved_samples_ = 0;
  base::Digest saved_package_;
};

}  // namespace dipper::update::test
