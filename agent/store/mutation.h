// Mutation: one rule of the store broken on purpose, so that the crash harness can show that it would notice.
// Compiled in only with DIPPER_TEST_FAULTS.
#pragma once

#include <cstdint>

namespace dipper::store {

enum class Mutation : uint8_t {
  kNone = 0,
  kNoRepairAtStart,          ///< Rule 1: the other record copy is not repaired, nor the mark completed.
  kDenyOutOfTries,           ///< Rule 3: running out of tries always denies.
  kGiveBackUncounted,        ///< Rule 3: given-back tries are not counted.
  kRunBeforeTryIsDurable,    ///< Rule 3: no barrier after {tries - 1}.
  kWriteSameCopy,            ///< Rule 1: the current copy is overwritten.
  kConfirmWithoutDuplicate,  ///< Rule 4: reported after one copy, without duplicate and mark.
  kConfirmWithoutMark,       ///< Rule 4: reported before the mark.
  kUndoUnchecked,            ///< Rule 6: neither floor nor denial is looked at.
  kDenialNotDuplicated,      ///< Rule 8: a denial stays in one copy.
  kCountTrialStarts,         ///< Rule 7: starts in a trial count against the champion.
  kHealthResetsRung,         ///< Rule 7: a healthy mark goes back to rung 0.
  kNoCheckpointWait,         ///< Rule 7: no healthy period between checkpoints.
};

}  // namespace dipper::store
