// The update state machine: total, with one way in and four ends.
#include "agent/update/state_table.h"

#include <gtest/gtest.h>

namespace dipper::update {
namespace {

using schema::UpdateState;

TEST(StateTable, EveryStateAnswersEveryEvent) {
  for (size_t s = 0; s < kStateCount; ++s) {
    for (size_t e = 0; e < kEventCount; ++e) {
      const auto state = static_cast<UpdateState>(s);
      const Transition next = Next(state, static_cast<Event>(e));
      EXPECT_LT(static_cast<size_t>(next.next), kStateCount);
      // What is ignored changes nothing; what changes the state does something.
      if (next.action == Action::kIgnore || next.action == Action::kQueue) {
        EXPECT_EQ(next.next, state);
      }
      if (next.next != state) {
        EXPECT_NE(next.action, Action::kIgnore);
      }
    }
  }
}

TEST(StateTable, TheGoodPath) {
  UpdateState state = UpdateState::Idle;
  const std::pair<Event, UpdateState> path[] = {
      {Event::kOffer, UpdateState::Offered},      {Event::kStart, UpdateState::Transferring},
      {Event::kReceived, UpdateState::Verifying}, {Event::kVerified, UpdateState::Staged},
      {Event::kTrialStarted, UpdateState::Trial}, {Event::kConfirm, UpdateState::Confirmed},
      {Event::kOffer, UpdateState::Offered}};
  for (const auto& [event, expected] : path) {
    state = Next(state, event).next;
    EXPECT_EQ(state, expected) << EventName(event);
  }
}

TEST(StateTable, OnlyATrialConfirms) {
  for (size_t s = 0; s < kStateCount; ++s) {
    const auto state = static_cast<UpdateState>(s);
    const bool confirms =
        Next(state, Event::kConfirm).next == UpdateState::Confirmed && state != UpdateState::Confirmed;
    EXPECT_EQ(confirms, state == UpdateState::Trial);
  }
}

TEST(StateTable, ATrialIsNotSuperseded) {
  EXPECT_EQ(Next(UpdateState::Trial, Event::kOffer).action, Action::kQueue);
  EXPECT_EQ(Next(UpdateState::Transferring, Event::kOffer).action, Action::kSupersede);
}

}  // namespace
}  // namespace dipper::update
