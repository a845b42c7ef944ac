// Implementation of trust.h.
#include "agent/update/trust.h"

#include <algorithm>

#include "agent/base/time.h"

namespace dipper::update {

using base::Status;
using schema::Reason;

Trust::Trust(store::RootStore& roots, store::Counters& counters, hal::Clock& clock, int64_t build_time_s)
    : roots_(roots), counters_(counters), clock_(clock), build_time_s_(build_time_s) {}

Status Trust::Open(base::ByteView initial) {
  const Status status = OpenStored(initial);
  of_newer_agent_ = status == Status::kUnimplemented;
  return status;
}

Status Trust::OpenStored(base::ByteView initial) {
  DIPPER_RETURN_IF_ERROR(counters_.Load());
  DIPPER_RETURN_IF_ERROR(roots_.Open());
  std::array<uint8_t, package::kMaxRootBytes> buffer;
  const auto stored = roots_.Load(buffer);
  if (stored.ok() && package::TrustRoot::Parse(*stored, &root_) == Reason::None) {
    RaiseTime(root_.created());
    return Status::kOk;
  }
  if (!stored.ok() && stored.status() != Status::kNotFound && stored.status() != Status::kDataLoss &&
      stored.status() != Status::kResourceExhausted) {
    return stored.status();
  }
  if (initial.empty()) return Status::kNotFound;
  package::TrustRoot first;
  if (package::TrustRoot::Parse(initial, &first) != Reason::None) return Status::kDataLoss;
  // In force even if it cannot be stored yet: the next start takes the same one again.
  root_ = first;
  RaiseTime(root_.created());
  return roots_.Store(initial);
}

Reason Trust::OnRoot(base::ByteView document) {
  if (of_newer_agent_) return Reason::UnknownLayout;
  package::TrustRoot next;
  const Reason reason = root_.ParseSuccessor(document, &next);
  if (reason != Reason::None) return reason;
  // Before the root: a cut in between leaves the earlier time, which is signed too, and the root comes again.
  if (RaisesNumberEpoch(next) &&
      !base::Ok(counters_.RebaseTrustedTime(static_cast<uint64_t>(next.created())))) {
    return Reason::StorageError;
  }
  if (!base::Ok(roots_.Store(document))) return Reason::StorageError;
  root_ = next;
  RaiseTime(root_.created());
  return Reason::None;
}

bool Trust::RaisesNumberEpoch(const package::TrustRoot& next) const {
  const auto raised = [&](schema::RoleName role) { return next.epoch(role) > root_.epoch(role); };
  return raised(schema::RoleName::Rollout) || raised(schema::RoleName::Command);
}

package::TrustedTime Trust::Now() {
  const int64_t known = std::max(build_time_s_, static_cast<int64_t>(counters_.trusted_time_s()));
  const bool synchronized = clock_.WallSynchronized();
  const int64_t wall = clock_.WallNs() / base::kSecondNs;
  // A wall clock before the last signed time is wrong, whatever it says about itself.
  return {std::max(known, synchronized ? wall : known), synchronized};
}

void Trust::RaiseTime(int64_t issued_s) {
  issued_s = std::min(issued_s, root_.expires() - 1);
  if (issued_s <= 0) return;
  // A lower bound that could not be stored is only a little staler after the next start.
  const Status ignored = counters_.RaiseTrustedTime(static_cast<uint64_t>(issued_s));
  static_cast<void>(ignored);
}

Trust::Ticket Trust::OnCommand(base::ByteView document, const package::DeviceNames& device) {
  Ticket ticket;
  ticket.reason = Reason::UnknownLayout;
  if (of_newer_agent_) return ticket;
  ticket.reason = package::VerifyCommand(document, root_, device, Now(), &ticket.facts);
  if (ticket.reason != Reason::None && ticket.reason != Reason::Expired) return ticket;
  ticket.lookup = counters_.LookUpCommand(ticket.facts.number);
  // A duplicate of what was done, or begun before a crash, is answered even after it has expired.
  const bool unknown = ticket.lookup == store::CommandLookup::kOutcomeUnknown;
  if (unknown || ticket.lookup == store::CommandLookup::kDone) {
    ticket.reason = Reason::None;
    ticket.stored_result =
        unknown ? static_cast<uint16_t>(Reason::OutcomeUnknown) : counters_.command().result;
    return ticket;
  }
  if (ticket.reason != Reason::None) return ticket;
  switch (ticket.lookup) {
    case store::CommandLookup::kOld:
      ticket.reason = Reason::OldNumber;
      break;
    case store::CommandLookup::kNew:
      RaiseTime(ticket.facts.issued);
      if (!base::Ok(counters_.BeginCommand(ticket.facts.number))) ticket.reason = Reason::StorageError;
      break;
    default:
      break;
  }
  return ticket;
}

Status Trust::FinishCommand(uint64_t number, Reason result) {
  return counters_.FinishCommand(number, static_cast<uint16_t>(result));
}

}  // namespace dipper::update
