// What the updater needs from, and says to, the rest of the agent. Called on the updater's own thread, from
// inside its calls; implementations must not call back into the updater.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/fixed.h"
#include "agent/base/security_version.h"
#include "agent/package/format.h"
#include "agent/schema/update_generated.h"
#include "agent/store/start_decision.h"
#include "agent/update/gate.h"

namespace dipper::update {

/// Where blocks come from. Wishes, not requests: asking again is allowed and means "subscribe anew". What
/// arrives goes to Updater::OnManifest and OnBlock, in any order, any number of times.
class BlockTransport {
 public:
  virtual void WantManifest(const base::Digest& package) = 0;
  /// 64 blocks: indices group * 64 and up. At most one group is wanted at a time.
  virtual void WantGroup(const base::Digest& package, uint32_t group) = 0;
  /// One block alone, by its own topic and no wildcard: what it brings tells a broker that keeps nothing for
  /// wildcard subscriptions from blocks that are not there. A transport without such a topic asks for the
  /// group.
  virtual void WantBlock(const base::Digest& package, uint32_t index) {
    WantGroup(package, index / package::kBlocksPerGroup);
  }
  /// Nothing of this package is wanted any more.
  virtual void Done(const base::Digest& package) = 0;
  /// False while the wish is not in force: there is no connection, the broker has not answered the
  /// subscription yet, or another model of the device has the link. Silence then says nothing about the
  /// blocks.
  virtual bool HasTurn() const { return true; }

 protected:
  ~BlockTransport() = default;
};

/// One step of the state machine. Complete: whoever logs or publishes it needs nothing else.
struct UpdateEvent {
  schema::UpdateState from = schema::UpdateState::Idle;
  schema::UpdateState to = schema::UpdateState::Idle;
  schema::Reason reason = schema::Reason::None;
  base::Digest package;                 ///< The package that the step is about; zero: none.
  base::FixedString<64> name, version;  ///< Empty before the manifest is known.
  base::SecurityVersion security_version;
  uint64_t offer_number = 0;  ///< Of the offer that named `package`, the newest only; 0: none.
  uint32_t blocks_have = 0, blocks_total = 0;
  uint32_t blocks_reused = 0;     ///< Of blocks_have, those that lay on the device already.
  base::Digest champion_package;  ///< After the step.
  base::Digest
      champion_image;  ///< Digest of the champion's image in memory, on trial start and every end of one.
  base::Digest challenger_image;  ///< The same of the challenger's, before it is dropped.
  bool has_gate = false;
  GateReport gate;      ///< On every end of a trial.
  bool denied = false;  ///< The package's digest is now denied.
};

/// A checkpoint that has been written.
struct Checkpointed {
  bool of_champion = false;  ///< Otherwise of the challenger on trial.
  base::Digest package, image;
  uint64_t samples = 0;
};

/// A champion that has been loaded.
struct Restored {
  store::ImageSource source = store::ImageSource::kNone;
  base::Digest package;
  uint64_t samples = 0;  ///< That it has seen, wherever that was.
};

class UpdateObserver {
 public:
  virtual void OnUpdateEvent(const UpdateEvent& event) = 0;
  /// champion() and challenger() may have changed (loaded, promoted, dropped): forget pointers to them.
  virtual void OnModelsChanged() = 0;
  /// Code and bytes of this package's model run from here on (payload, self-test): who a crash is due to.
  virtual void OnModelCode(const base::Digest& package) { static_cast<void>(package); }
  virtual void OnModelCodeEnd() {}
  /// What ends `state` is durable; neither the offer's stored state nor an event says so yet.
  virtual void OnLeaving(schema::UpdateState state) { static_cast<void>(state); }
  /// A checkpoint of the champion or the challenger is durable.
  virtual void OnCheckpoint(const Checkpointed& saved) { static_cast<void>(saved); }
  /// A champion has been loaded.
  virtual void OnRestored(const Restored& loaded) { static_cast<void>(loaded); }
  /// The champion's ladder went down to `rung`.
  virtual void OnRung(store::Rung rung, schema::Reason reason) {
    static_cast<void>(rung);
    static_cast<void>(reason);
  }

 protected:
  ~UpdateObserver() = default;
};

}  // namespace dipper::update
