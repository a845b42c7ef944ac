// The table. Rows are states in the order of schema::UpdateState, columns events in the order of
// update::Event.
#include "agent/update/state_table.h"

#include "agent/base/assert.h"

namespace dipper::update {
namespace {

using S = schema::UpdateState;
using A = Action;
using T = Transition;

using Row = std::array<T, kEventCount>;

// The four ends and idle take the same events, but stay what they are when nothing happens.
constexpr Row Resting(S self) {
  const T ignore{self, A::kIgnore};
  return {T{S::Offered, A::kWaitForTurn},
          T{S::Verifying, A::kVerify},
          ignore,
          ignore,
          ignore,
          T{S::Trial, A::kRunTrial},  // a trial that was pending when the agent started
          ignore,
          T{S::FellBack, A::kDropChallenger},  // the start itself found that the trial is over
          T{S::Rejected, A::kGiveUp},
          T{S::Failed, A::kGiveUp}};
}

// clang-format off
constexpr std::array<Row, kStateCount> kTable = {{
  /* Idle */ Resting(S::Idle),
  /* Offered */ {
    /* kOffer        */ T{S::Offered, A::kSupersede},
    /* kInstall      */ T{S::Offered, A::kIgnore},
    /* kStart        */ T{S::Transferring, A::kBeginTransfer},
    /* kReceived     */ T{S::Offered, A::kIgnore},
    /* kVerified     */ T{S::Offered, A::kIgnore},
    /* kTrialStarted */ T{S::Offered, A::kIgnore},
    /* kConfirm      */ T{S::Offered, A::kIgnore},
    /* kFallBack     */ T{S::Offered, A::kIgnore},
    /* kRefuse       */ T{S::Rejected, A::kGiveUp},
    /* kFail         */ T{S::Failed, A::kGiveUp}},
  /* Transferring */ {
    /* kOffer        */ T{S::Offered, A::kSupersede},
    /* kInstall      */ T{S::Transferring, A::kIgnore},
    /* kStart        */ T{S::Transferring, A::kIgnore},
    /* kReceived     */ T{S::Verifying, A::kVerify},
    /* kVerified     */ T{S::Transferring, A::kIgnore},
    /* kTrialStarted */ T{S::Transferring, A::kIgnore},
    /* kConfirm      */ T{S::Transferring, A::kIgnore},
    /* kFallBack     */ T{S::Transferring, A::kIgnore},
    /* kRefuse       */ T{S::Rejected, A::kGiveUp},
    /* kFail         */ T{S::Failed, A::kGiveUp}},
  /* Verifying */ {
    /* kOffer        */ T{S::Verifying, A::kQueue},
    /* kInstall      */ T{S::Verifying, A::kIgnore},
    /* kStart        */ T{S::Verifying, A::kIgnore},
    /* kReceived     */ T{S::Verifying, A::kIgnore},
    /* kVerified     */ T{S::Staged, A::kStage},
    /* kTrialStarted */ T{S::Verifying, A::kIgnore},
    /* kConfirm      */ T{S::Verifying, A::kIgnore},
    /* kFallBack     */ T{S::Verifying, A::kIgnore},
    /* kRefuse       */ T{S::Rejected, A::kGiveUp},
    /* kFail         */ T{S::Failed, A::kGiveUp}},
  /* Staged */ {
    /* kOffer        */ T{S::Staged, A::kQueue},
    /* kInstall      */ T{S::Staged, A::kIgnore},
    /* kStart        */ T{S::Staged, A::kIgnore},
    /* kReceived     */ T{S::Staged, A::kIgnore},
    /* kVerified     */ T{S::Staged, A::kIgnore},
    /* kTrialStarted */ T{S::Trial, A::kRunTrial},
    /* kConfirm      */ T{S::Staged, A::kIgnore},
    /* kFallBack     */ T{S::FellBack, A::kDropChallenger},
    /* kRefuse       */ T{S::Rejected, A::kGiveUp},
    /* kFail         */ T{S::Failed, A::kGiveUp}},
  /* Trial */ {
    /* kOffer        */ T{S::Trial, A::kQueue},
    /* kInstall      */ T{S::Trial, A::kIgnore},
    /* kStart        */ T{S::Trial, A::kIgnore},
    /* kReceived     */ T{S::Trial, A::kIgnore},
    /* kVerified     */ T{S::Trial, A::kIgnore},
    /* kTrialStarted */ T{S::Trial, A::kIgnore},
    /* kConfirm      */ T{S::Confirmed, A::kPromote},
    /* kFallBack     */ T{S::FellBack, A::kDropChallenger},
    /* kRefuse       */ T{S::Trial, A::kIgnore},
    /* kFail         */ T{S::Failed, A::kDropChallenger}},
  /* Confirmed */ Resting(S::Confirmed),
  /* FellBack  */ Resting(S::FellBack),
  /* Rejected  */ Resting(S::Rejected),
  /* Failed    */ Resting(S::Failed),
}};
// clang-format on

}  // namespace

Transition Next(schema::UpdateState state, Event event) {
  const auto row = static_cast<size_t>(state);
  const auto column = static_cast<size_t>(event);
  DIPPER_CHECK(row < kStateCount && column < kEventCount);
  return kTable[row][column];
}

std::string_view EventName(Event event) {
  constexpr std::array<std::string_view, kEventCount> kNames = {
      "offer",         "install", "start",     "received", "verified",
      "trial_started", "confirm", "fall_back", "refuse",   "fail"};
  return kNames[static_cast<size_t>(event)];
}

std::string_view ActionName(Action action) {
  constexpr std::array<std::string_view, 11> kNames = {
      "ignore", "wait_for_turn", "supersede", "queue",           "begin_transfer", "verify",
      "stage",  "run_trial",     "promote",   "drop_challenger", "give_up"};
  return kNames[static_cast<size_t>(action)];
}

}  // namespace dipper::update
