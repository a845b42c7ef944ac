// What the updater needs from, and says to, the rest of the agent. Called on the updater's own thread, from
// inside its calls; implementations must not call back into the updater.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/fixed.h"
#include "agent/base/security_version.h"
#include "agent/package/format.h"
#include "agent/schema/update_generated.h"
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
  base::Digest champion_package;  ///< After the step.
  base::Digest
      champion_image;  ///< Digest of the champion's image in memory, on trial start and every end of one.
  base::Digest challenger_image;  ///< The same of the challenger's, before it is dropped.
  bool has_gate = false;
  GateReport gate;      ///< On every end of a trial.
  bool denied = false;  ///< The package's digest is now denied.
};

class UpdateObserver {
 public:
  virtual void OnUpdateEvent(const UpdateEvent& event) = 0;
  /// champion() and challenger() may have changed (loaded, promoted, dropped): forget pointers to them.
  virtual void OnModelsChanged() = 0;

 protected:
  ~UpdateObserver() = default;
};

}  // namespace dipper::update
