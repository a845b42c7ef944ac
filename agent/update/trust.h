// Trust: the trust root in force, trusted time and command numbers of a device; shared by the updaters of its
// models. Not thread-safe. Heap: mbedTLS inside signature checks only.
#pragma once

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "agent/package/document.h"
#include "agent/package/root.h"
#include "agent/schema/update_generated.h"
#include "agent/store/counters.h"
#include "agent/store/root_store.h"
#include "hal/api/clock.h"

namespace dipper::update {

class Trust {
 public:
  /// All must outlive this; `counters` and `roots` are opened by Open. `build_time_s`: seconds since 1970, a
  /// lower bound.
  Trust(store::RootStore& roots, store::Counters& counters, hal::Clock& clock, int64_t build_time_s);

  /// Loads the stored root; without a readable one stores `initial` (the local configuration is trusted once,
  /// at the first start). A failed store of it is returned; it is in force nevertheless. kNotFound: nothing
  /// stored and `initial` is empty: nothing can be verified. kDataLoss: `initial` is not a root.
  /// kUnimplemented: boot is of a newer agent: nothing is ever accepted or written.
  base::Status Open(base::ByteView initial);

  /// A candidate for the next root. None: it is in force and durable. OldNumber: this version or older,
  /// ignore it. RootInvalid: not a successor of ours. StorageError: valid, could not be stored; not in force.
  schema::Reason OnRoot(base::ByteView document);

  const package::TrustRoot& root() const { return root_; }
  package::TrustedTime Now();
  /// After any document verified: time goes forwards only, and no key but the root's takes it past the root's
  /// expiry. A root that raises the epoch of the rollout or command role sets it anew (OnRoot), because a
  /// thief of those keys may have signed it.
  void RaiseTime(int64_t issued_s);

  // ---- commands: number stored, then acted on, then the result stored ----
  struct Ticket {
    schema::Reason reason = schema::Reason::None;  ///< Why it is refused; None: see `lookup`.
    store::CommandLookup lookup = store::CommandLookup::kOld;
    /// kDone, kOutcomeUnknown: answer it (again); a schema::Reason.
    uint16_t stored_result = 0;
    /// Number 0: nothing vouches for it, and nothing else here is filled; otherwise its signatures hold.
    package::CommandFacts facts;
  };
  /// Verifies a command and, when it is new, stores its number. Act only when reason is None and lookup is
  /// kNew.
  Ticket OnCommand(base::ByteView document, const package::DeviceNames& device);
  /// Stores the answer of the command that was begun.
  base::Status FinishCommand(uint64_t number, schema::Reason result);

  store::Counters& counters() { return counters_; }

 private:
  base::Status OpenStored(base::ByteView initial);
  /// The rollout or command role's epoch is higher in `next`.
  bool RaisesNumberEpoch(const package::TrustRoot& next) const;

  store::RootStore& roots_;
  store::Counters& counters_;
  hal::Clock& clock_;
  int64_t build_time_s_;
  package::TrustRoot root_;
  bool of_newer_agent_ = false;
};

}  // namespace dipper::update
