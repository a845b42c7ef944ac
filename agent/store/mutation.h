// Mutation: one barrier or rule of the store taken out on purpose, so that tests/fault/store can show that it
// would notice. Only with DIPPER_TEST_FAULTS; in every other build Mutated is constant and costs nothing.
// tests/fault/store/mutations.cc names each one. Not thread-safe: set before any store exists.
#pragma once

#include <cstdint>

namespace dipper::store {

enum class Mutation : uint8_t {
  kNone = 0,
  // Rule 1: records
  kWriteSameCopy,
  kRecordNotSynced,
  kRecordNotReadBack,
  kSequenceNotRaised,
  kNoDuplicateAtStart,
  kDuplicateIgnoresLkg,
  kDuplicateIgnoresDenied,
  kDuplicateNotSynced,
  kNoMarkAtStart,
  kMarkNeedNotBeNewest,
  // Rule 2: stage
  kStageBeforeHealthy,
  kStageInTrial,
  kStageDenied,
  kStageBelowFloor,
  kStageIntoLkg,
  kStageOverNewestMark,
  kStageWithoutDuplicate,
  kStageEraseNotSynced,
  kStageKeepsMark,
  kStageNotSynced,
  kCommitUnverified,
  // Rule 3: trial
  kTrialUnverified,
  kTryNotTaken,
  kTryNotSynced,
  kDenyOutOfTries,
  kTrialEndNotDuplicated,
  kNeverGiveBack,
  kGiveBackUncounted,
  kGiveBackTwice,
  // Rule 4: confirm
  kConfirmNotSynced,
  kConfirmNotDuplicated,
  kConfirmNotMarked,
  kMarkNotSynced,
  kMarkInPlace,
  kFirstMarkCounts,
  kFloorNotRaised,
  kFloorRaisedAtStage,
  kConfirmKeepsCounts,
  // Rule 5: recovery, and what a newer agent wrote
  kLkgUnverified,
  kServeUnmarked,
  kRecoverDenied,
  kRecoverBelowFloor,
  kFloorFromMarksOnly,
  kFloorFromRecordsOnly,
  kOldestMark,
  kRecoverDropsTrial,
  kUnknownLayoutIsAbsent,
  // Rule 6: undo
  kUndoInTrial,
  kUndoUnmarked,
  kUndoUnverified,
  kUndoDenied,
  kUndoBelowFloor,
  kUndoNotDuplicated,
  kUndoNotMarked,
  // Rule 7: ladder and checkpoints
  kStartNotCounted,
  kCountTrialStarts,
  kPlannedStopCounts,
  kHealthKeepsCounts,
  kHealthResetsRung,
  kNoLadder,
  kLadderBelowFloor,
  kLadderDenied,
  kLadderNotDuplicated,
  kLeaveWithoutDenial,
  kNoCheckpointWait,
  kCheckpointWaitFromStart,
  kCheckpointOverNewest,
  kCheckpointReplacesOlder,
  kCheckpointNotSynced,
  kRungResetFirst,
  kRungStays,
  kRungNotDuplicated,
  kAnotherCountsStart,
  kAnotherTakesTry,
  // Rule 8: denial
  kBlameTheTrial,
  kDenyAnyEnd,
  kDenialNotDuplicated,
  kOverrideNotDuplicated,
  // Factory reset
  kResetNotDuplicated,
  kResetNotFinished,
  kResetKeepsSlots,
  kResetWithoutMark,
  kResetNewestFirst,
  kResetForgetsDenied,
  kResetLowersFloor,
  // Trust state
  kCountersSameCopy,
  kCountersNotSynced,
  kNumbersMayFall,
  kRootNotSynced,
  kRootNotDuplicated,
  // Several models
  kForgetNotSynced,
  kForgetNameFirst,
  kNameKeepsNumbers,
  kLast = kNameKeepsNumbers,
};

#if defined(DIPPER_TEST_FAULTS)
inline Mutation mutation_for_test = Mutation::kNone;
inline bool Mutated(Mutation mutation) { return mutation_for_test == mutation; }
#else
constexpr bool Mutated(Mutation) { return false; }
#endif

}  // namespace dipper::store
