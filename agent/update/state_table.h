// The update state machine as one readable table: state x event -> next state and action. The table decides,
// the Updater does (docs/reference/update.md shows it). Thread-safe: constants and a pure function.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "agent/schema/update_generated.h"

namespace dipper::update {

enum class Event : uint8_t {
  kOffer = 0,     ///< A verified offer with a new number.
  kInstall,       ///< A package that lies at hand (file, USB), no offer.
  kStart,         ///< The device's place in the offer's window has come.
  kReceived,      ///< The last missing block is durable in the slot.
  kVerified,      ///< Every check passed and the trial record is durable.
  kTrialStarted,  ///< A try is counted and the challenger observes.
  kConfirm,       ///< The gate says confirm.
  kFallBack,      ///< The gate, the challenger's own failure or a command ends the trial.
  kRefuse,        ///< The offer or package is not acceptable here.
  kFail,          ///< The step failed; a new offer may try again.
};
inline constexpr size_t kEventCount = 10;
inline constexpr size_t kStateCount = 10;

enum class Action : uint8_t {
  kIgnore = 0,   ///< The event means nothing in this state; nothing changes, nothing is reported.
  kWaitForTurn,  ///< Remember the offer until its place in the window.
  kSupersede,    ///< Give up what is going on for the newer offer, then as kWaitForTurn.
  kQueue,        ///< Keep the newest offer until the trial has ended.
  kBeginTransfer,
  kVerify,
  kStage,  ///< The package is staged: prepare its trial.
  kRunTrial,
  kPromote,         ///< The challenger becomes the champion.
  kDropChallenger,  ///< The champion goes on with what it has learned.
  kGiveUp,          ///< Abandon the transfer or stage and report the reason.
};

struct Transition {
  schema::UpdateState next;
  Action action;
  bool operator==(const Transition&) const = default;
};

/// Total: every state has an answer for every event.
Transition Next(schema::UpdateState state, Event event);

std::string_view EventName(Event event);
std::string_view ActionName(Action action);

/// Nothing is under way: idle, or one of the four ends.
constexpr bool IsResting(schema::UpdateState state) {
  return state == schema::UpdateState::Idle || state >= schema::UpdateState::Confirmed;
}

}  // namespace dipper::update
