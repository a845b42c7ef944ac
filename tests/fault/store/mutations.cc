// Names of the mutations.
#include "tests/fault/store/mutations.h"

#include <array>

#include "agent/base/bytes.h"

namespace dipper::store {
namespace {

#define DIPPER_MUTATION(name, rule, what) \
  MutationInfo { Mutation::k##name, #name, rule, what }

constexpr std::array kMutations = {
    DIPPER_MUTATION(WriteSameCopy, "1", "only ever the other copy is written"),
    DIPPER_MUTATION(RecordNotSynced, "1", "barrier after each record"),
    DIPPER_MUTATION(RecordNotReadBack, "1", "each page is read back"),
    DIPPER_MUTATION(SequenceNotRaised, "5", "sequence above every record and mark"),
    DIPPER_MUTATION(NoDuplicateAtStart, "1", "a start duplicates the current record"),
    DIPPER_MUTATION(DuplicateIgnoresLkg, "1", "also when the copies differ in the LKG"),
    DIPPER_MUTATION(DuplicateIgnoresDenied, "1", "also when they differ in the denied ring"),
    DIPPER_MUTATION(DuplicateNotSynced, "1, 4", "barrier after the duplicate"),
    DIPPER_MUTATION(NoMarkAtStart, "1", "a start completes the LKG's mark"),
    DIPPER_MUTATION(MarkNeedNotBeNewest, "1", "also when it is not the newest"),
    DIPPER_MUTATION(StageBeforeHealthy, "2", "no stage before a healthy mark"),
    DIPPER_MUTATION(StageInTrial, "2", "no stage while a trial is pending"),
    DIPPER_MUTATION(StageDenied, "2", "no stage of a denied digest"),
    DIPPER_MUTATION(StageBelowFloor, "2", "no stage below the floor"),
    DIPPER_MUTATION(StageIntoLkg, "2", "never into the LKG's slot"),
    DIPPER_MUTATION(StageOverNewestMark, "2", "without an LKG: the slot with the lower mark"),
    DIPPER_MUTATION(StageWithoutDuplicate, "2", "copies agree on the LKG before a slot is erased"),
    DIPPER_MUTATION(StageEraseNotSynced, "2", "barrier between the erase and the payload"),
    DIPPER_MUTATION(StageKeepsMark, "2", "mark and checkpoints are erased first"),
    DIPPER_MUTATION(StageNotSynced, "2", "barrier between payload and record"),
    DIPPER_MUTATION(CommitUnverified, "2", "read back and verified before the record"),
    DIPPER_MUTATION(TrialUnverified, "3", "bytes are verified at each trial start"),
    DIPPER_MUTATION(TryNotTaken, "3", "a start takes a try"),
    DIPPER_MUTATION(TryNotSynced, "3", "barrier after the try, before the run"),
    DIPPER_MUTATION(DenyOutOfTries, "3", "out of tries is not the model's failure"),
    DIPPER_MUTATION(TrialEndNotDuplicated, "3, 8", "the end of a trial is duplicated"),
    DIPPER_MUTATION(NeverGiveBack, "3", "a healthy mark gives the try back"),
    DIPPER_MUTATION(GiveBackUncounted, "3", "at most 12 times a trial"),
    DIPPER_MUTATION(GiveBackTwice, "3", "once a start"),
    DIPPER_MUTATION(ConfirmNotSynced, "4", "barrier between record and duplicate"),
    DIPPER_MUTATION(ConfirmNotDuplicated, "4", "the confirm is duplicated"),
    DIPPER_MUTATION(ConfirmNotMarked, "4", "the mark is written before the report"),
    DIPPER_MUTATION(MarkNotSynced, "4", "barrier after the mark"),
    DIPPER_MUTATION(MarkInPlace, "4", "a mark is renewed by appending"),
    DIPPER_MUTATION(FirstMarkCounts, "4", "the highest valid mark counts"),
    DIPPER_MUTATION(FloorNotRaised, "4", "a confirm raises the floor"),
    DIPPER_MUTATION(FloorRaisedAtStage, "4", "only a confirm raises it"),
    DIPPER_MUTATION(ConfirmKeepsCounts, "4", "a confirm clears counts and rung"),
    DIPPER_MUTATION(LkgUnverified, "5", "the LKG's bytes are verified at each start"),
    DIPPER_MUTATION(ServeUnmarked, "5", "unmarked slots are never served"),
    DIPPER_MUTATION(RecoverDenied, "5", "nor denied ones"),
    DIPPER_MUTATION(RecoverBelowFloor, "5", "nor ones below the floor"),
    DIPPER_MUTATION(FloorFromMarksOnly, "5", "the floor of the records counts"),
    DIPPER_MUTATION(FloorFromRecordsOnly, "5", "the floor of the marks counts"),
    DIPPER_MUTATION(OldestMark, "5", "the highest mark is chosen"),
    DIPPER_MUTATION(RecoverDropsTrial, "5", "a pending trial stays"),
    DIPPER_MUTATION(UnknownLayoutIsAbsent, "5", "an unknown layout is not absent"),
    DIPPER_MUTATION(UndoInTrial, "6", "no undo while a trial is pending"),
    DIPPER_MUTATION(UndoUnmarked, "6", "only to a marked slot"),
    DIPPER_MUTATION(UndoUnverified, "6", "only to verified bytes"),
    DIPPER_MUTATION(UndoDenied, "6", "not to a denied model"),
    DIPPER_MUTATION(UndoBelowFloor, "6", "not below the floor"),
    DIPPER_MUTATION(UndoNotDuplicated, "6", "the undo is duplicated"),
    DIPPER_MUTATION(UndoNotMarked, "6", "the mark is renewed before the report"),
    DIPPER_MUTATION(StartNotCounted, "7", "starts are counted before they run"),
    DIPPER_MUTATION(CountTrialStarts, "7", "but not those with a trial"),
    DIPPER_MUTATION(PlannedStopCounts, "7", "a planned stop takes its count back"),
    DIPPER_MUTATION(HealthKeepsCounts, "7", "a healthy mark clears counts"),
    DIPPER_MUTATION(HealthResetsRung, "7", "and never the rung"),
    DIPPER_MUTATION(NoLadder, "7", "three own failures go one rung down"),
    DIPPER_MUTATION(LadderBelowFloor, "7", "never below the floor"),
    DIPPER_MUTATION(LadderDenied, "7", "never to a denied model"),
    DIPPER_MUTATION(LadderNotDuplicated, "7", "leaving a slot is duplicated and marked"),
    DIPPER_MUTATION(LeaveWithoutDenial, "7", "leaving by own failures denies"),
    DIPPER_MUTATION(NoCheckpointWait, "7", "a healthy period between checkpoints"),
    DIPPER_MUTATION(CheckpointWaitFromStart, "7", "counted from the newest, not from the start"),
    DIPPER_MUTATION(CheckpointOverNewest, "7", "the older area is replaced"),
    DIPPER_MUTATION(CheckpointReplacesOlder, "7", "on a lower rung the failed newest one"),
    DIPPER_MUTATION(CheckpointNotSynced, "7", "barrier after a checkpoint"),
    DIPPER_MUTATION(RungResetFirst, "7", "rung 0 only after the new checkpoint"),
    DIPPER_MUTATION(RungStays, "7", "rung 0 with the new checkpoint"),
    DIPPER_MUTATION(RungNotDuplicated, "7", "a new rung is duplicated"),
    DIPPER_MUTATION(AnotherCountsStart, "7", "another model's crash uses up no start"),
    DIPPER_MUTATION(AnotherTakesTry, "3", "nor a try"),
    DIPPER_MUTATION(BlameTheTrial, "8", "a crash is charged to whom the note names"),
    DIPPER_MUTATION(DenyAnyEnd, "8", "only own failures deny"),
    DIPPER_MUTATION(DenialNotDuplicated, "8", "a denial is duplicated"),
    DIPPER_MUTATION(OverrideNotDuplicated, "8", "so is its override"),
    DIPPER_MUTATION(ResetNotDuplicated, "reset", "duplicated before anything is erased"),
    DIPPER_MUTATION(ResetNotFinished, "reset", "a start finishes it"),
    DIPPER_MUTATION(ResetKeepsSlots, "reset", "both slots are erased"),
    DIPPER_MUTATION(ResetWithoutMark, "reset", "marks keep the floor"),
    DIPPER_MUTATION(ResetNewestFirst, "reset", "the slot with the newest mark comes last"),
    DIPPER_MUTATION(ResetForgetsDenied, "reset", "denied digests stay"),
    DIPPER_MUTATION(ResetLowersFloor, "reset", "the floor stays"),
    DIPPER_MUTATION(CountersSameCopy, "counters", "only the other page is written"),
    DIPPER_MUTATION(CountersNotSynced, "counters", "barrier before the report"),
    DIPPER_MUTATION(NumbersMayFall, "counters", "numbers and time only rise"),
    DIPPER_MUTATION(RootNotSynced, "root", "barrier before the report"),
    DIPPER_MUTATION(RootNotDuplicated, "root", "duplicated before the report"),
    DIPPER_MUTATION(ForgetNotSynced, "places", "barrier between a forgotten record and its name"),
    DIPPER_MUTATION(ForgetNameFirst, "places", "the record goes before the name"),
    DIPPER_MUTATION(NameKeepsNumbers, "places", "numbers go with the name"),
};
#undef DIPPER_MUTATION
static_assert(kMutations.size() == static_cast<size_t>(Mutation::kLast));

}  // namespace

std::span<const MutationInfo> AllMutations() { return kMutations; }

const MutationInfo& InfoOf(Mutation mutation) {
  const MutationInfo& info = kMutations[static_cast<size_t>(mutation) - 1];
  DIPPER_CHECK(info.mutation == mutation);
  return info;
}

const std::vector<LooserRule>& LooserRules() {
  using enum Mutation;
  static const std::vector<LooserRule> rules = {
      {"no repair of the other record copy at start", {kNoDuplicateAtStart, kNoMarkAtStart}},
      {"slot erased without a barrier before the new payload", {kStageEraseNotSynced, kStageKeepsMark}},
      {"out of tries always denies", {kDenyOutOfTries}},
      {"given-back tries not counted", {kGiveBackUncounted}},
      {"trial starts or power cuts count against the champion", {kCountTrialStarts}},
      {"crash blamed on whoever is on trial", {kBlameTheTrial}},
      {"report before the mark's barrier, undo without duplicate or mark",
       {kMarkNotSynced, kConfirmNotMarked, kUndoNotDuplicated, kUndoNotMarked}},
      {"undo or ladder without floor or denial check",
       {kUndoBelowFloor, kUndoDenied, kLadderBelowFloor, kLadderDenied}},
      {"denial not duplicated", {kDenialNotDuplicated, kTrialEndNotDuplicated}},
      {"floor taken from marks only", {kFloorFromMarksOnly}},
      {"newest mark not required, sequence restarted", {kMarkNeedNotBeNewest, kSequenceNotRaised}},
      {"checkpoint wait counted from the start only", {kCheckpointWaitFromStart, kNoCheckpointWait}},
      {"healthy mark resets the rung", {kHealthResetsRung}},
      {"mark rewritten in place", {kMarkInPlace}},
      {"barrier before run after tries - 1, other copy only, floor on confirm",
       {kTryNotSynced, kWriteSameCopy, kFloorRaisedAtStage}},
  };
  return rules;
}

}  // namespace dipper::store
