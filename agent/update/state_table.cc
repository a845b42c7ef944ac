// The table: one row a transition. docs/reference/update.md shows the same rows, and a test holds them equal.
#include "agent/update/state_table.h"

#include "agent/base/assert.h"

namespace dipper::update {
namespace {

using S = schema::UpdateState;
using E = Event;
using A = Action;

struct Row {
  S state;
  E event;
  S next;
  A action;
};

// What nothing under way means: idle and the four ends answer alike.
constexpr std::array<S, 5> kResting = {S::Idle, S::Confirmed, S::FellBack, S::Rejected, S::Failed};
constexpr std::array kFromResting = {
    Row{S::Idle, E::kOffer, S::Offered, A::kWaitForTurn},
    Row{S::Idle, E::kInstall, S::Verifying, A::kVerify},
    // A trial that was pending when the agent started, or that the start itself found to be over.
    Row{S::Idle, E::kTrialStarted, S::Trial, A::kRunTrial},
    Row{S::Idle, E::kFallBack, S::FellBack, A::kDropChallenger},
    Row{S::Idle, E::kRefuse, S::Rejected, A::kGiveUp},
    Row{S::Idle, E::kFail, S::Failed, A::kGiveUp},
};

// The rest, in the order of an update. What is not listed is ignored.
constexpr std::array kRows = {
    Row{S::Offered, E::kOffer, S::Offered, A::kSupersede},
    Row{S::Offered, E::kStart, S::Transferring, A::kBeginTransfer},
    Row{S::Offered, E::kRefuse, S::Rejected, A::kGiveUp},
    Row{S::Offered, E::kFail, S::Failed, A::kGiveUp},

    Row{S::Transferring, E::kOffer, S::Offered, A::kSupersede},
    Row{S::Transferring, E::kReceived, S::Verifying, A::kVerify},
    Row{S::Transferring, E::kRefuse, S::Rejected, A::kGiveUp},
    Row{S::Transferring, E::kFail, S::Failed, A::kGiveUp},

    Row{S::Verifying, E::kOffer, S::Verifying, A::kQueue},
    Row{S::Verifying, E::kVerified, S::Staged, A::kStage},
    Row{S::Verifying, E::kRefuse, S::Rejected, A::kGiveUp},
    Row{S::Verifying, E::kFail, S::Failed, A::kGiveUp},

    Row{S::Staged, E::kOffer, S::Staged, A::kQueue},
    Row{S::Staged, E::kTrialStarted, S::Trial, A::kRunTrial},
    Row{S::Staged, E::kFallBack, S::FellBack, A::kDropChallenger},
    Row{S::Staged, E::kRefuse, S::Rejected, A::kGiveUp},
    Row{S::Staged, E::kFail, S::Failed, A::kGiveUp},

    Row{S::Trial, E::kOffer, S::Trial, A::kQueue},
    Row{S::Trial, E::kConfirm, S::Confirmed, A::kPromote},
    Row{S::Trial, E::kFallBack, S::FellBack, A::kDropChallenger},
    Row{S::Trial, E::kFail, S::Failed, A::kDropChallenger},
};

using Table = std::array<std::array<Transition, kEventCount>, kStateCount>;

constexpr Table Build() {
  Table table{};
  for (size_t state = 0; state < kStateCount; ++state) {
    for (Transition& cell : table[state]) cell = {static_cast<S>(state), A::kIgnore};
  }
  const auto put = [&table](S state, const Row& row) {
    table[static_cast<size_t>(state)][static_cast<size_t>(row.event)] = {row.next, row.action};
  };
  for (const Row& row : kRows) put(row.state, row);
  for (const S state : kResting) {
    for (const Row& row : kFromResting) put(state, row);
  }
  return table;
}

constexpr Table kTable = Build();

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
