// The words. One line a reason, in the order of agent/schema/update.fbs.
#include "agent/app/control/words.h"

namespace dipper::app {

using schema::Reason;
using schema::UpdateState;

namespace {

constexpr std::string_view kNewPackage = "build a package that this device takes, and offer or install that";
constexpr std::string_view kDenied =
    "the package will not be tried again; mend the model, or allow it with a signed override_denied";
constexpr std::string_view kAgain = "offer or install it again";

Advice RejectedBecause(Reason reason) {
  switch (reason) {
    case Reason::BadFormat:
      return {"it is not a whole model package: cut short, with something behind it, or another kind of file",
              "copy the file again; dipper package verify tells more"};
    case Reason::BadSignature:
      return {"a signature does not hold: the bytes changed after signing", "take the original file"};
    case Reason::UnknownKey:
      return {"too few of its signatures are by keys that this device's trust root gives that role",
              "sign it with a release key of the root in force, or bring the device the newer root"};
    case Reason::BadDigest:
      return {"the bytes are not those that were named", "publish or copy the package again"};
    case Reason::BadBlock:
      return {"a block of the package differs from its signed hash: damaged, or changed while it was read",
              "take the original file, or publish the package again"};
    case Reason::BelowFloor:
      return {"its security version is below the floor, the highest confirmed so far",
              "build it with a higher --security-version"};
    case Reason::Denied:
      return {"this very package has failed here by its own fault before", kDenied};
    case Reason::WrongTarget:
      return {"it is for another model, device or fleet", kNewPackage};
    case Reason::WrongHardware:
      return {"it names other hardware than device.hardware", kNewPackage};
    case Reason::WrongSchema:
      return {"its feature schema is not its spec's", kNewPackage};
    case Reason::UnknownLayout:
      return {"it has parts or a layout that this agent does not know", "install a newer dipper-agent"};
    case Reason::UnknownNumerics:
      return {"it was made for other numerics than this agent's", "install the dipper-agent it was made for"};
    case Reason::TooLarge:
      return {"package or image is larger than slot or model.max_image_bytes",
              "make the model smaller, or give it more room"};
    case Reason::Expired:
      return {"its time is over", "sign a new one"};
    case Reason::NotYetValid:
      return {"its time has not come", "wait, and see that the device's clock is right"};
    case Reason::OldNumber:
      return {"its number is not above one that this device has seen", "use a higher --number"};
    case Reason::RootInvalid:
      return {"it was signed under a newer trust root than this device has",
              "bring the device the newer root"};
    case Reason::BadSpec:
      return {"its spec does not hold together", kNewPackage};
    case Reason::FaultStage:
      return {"it holds a stage that fails on purpose, which only test builds take", kNewPackage};
    case Reason::AlreadyInstalled:
      return {"this package serves already", ""};
    case Reason::WrongAgent:
      return {"it asks for a newer agent", "install a newer dipper-agent"};
    case Reason::NoGroupKey:
      return {"it is encrypted for groups whose key this device does not have",
              "encrypt it for one of this device's groups, or give the device that group's key"};
    default:
      return {"unknown to this version", "see the documentation of the version that wrote it"};
  }
}

Advice FailedBecause(Reason reason) {
  switch (reason) {
    case Reason::SelfTest:
      return {"the model did not reproduce its self-test here", kDenied};
    case Reason::NotFinite:
      return {"the model answered or holds a number that is not finite", kDenied};
    case Reason::ShownWorse:
      return {"the health gate has shown it to be worse than its rival", kDenied};
    case Reason::AlarmRate:
      return {"its alarm was on more often than the package allows beside the model that serves", kDenied};
    case Reason::ScoreShift:
      return {"its answers were distributed otherwise than the package allows beside the model that serves",
              kDenied};
    case Reason::OverBudget:
      return {"it takes longer for a sample than it may", kDenied};
    case Reason::Crash:
      return {"the agent crashed while that model's code ran", kDenied};
    case Reason::Watchdog:
      return {"the watchdog ended the agent while that model's code ran", kDenied};
    case Reason::Deadline:
      return {"the trial's deadline came before the gate could decide",
              "try again with a longer deadline or a wider margin"};
    case Reason::Cancelled:
      return {"the fleet took the offer back", ""};
    case Reason::BlocksUnavailable:
      return {"blocks of the package do not come", "publish the package again, then offer it again"};
    case Reason::StorageError:
      return {"a partition could not be read or written, or bytes changed on it",
              "is the disk full or read-only? Look at it (df, dmesg), then offer or install it again"};
    case Reason::PowerLoss:
      return {"the run before ended in the middle; the step is done once more", ""};
    case Reason::PlannedStop:
      return {"the agent was stopped", kAgain};
    case Reason::OutOfTries:
      return {"its trial was started three times and never came to a healthy mark; nobody knows why",
              "look for power cuts or kills around it, then offer or install it again"};
    case Reason::BrokerUnfit:
      return {"the broker keeps no retained messages for wildcard subscriptions", "use another broker"};
    case Reason::Unknown:
      return {"it ended in a way that nobody knows", kAgain};
    case Reason::Superseded:
      return {"a newer offer took its place", ""};
    case Reason::LinkRequired:
      return {"the package asks that the broker be reached during the trial, as it could be before",
              "mend the connection first"};
    case Reason::SourceLost:
      return {"the file could not be read to its end: was the stick pulled out?", "install it again"};
    default:
      return {"unknown to this version", "see the documentation of the version that wrote it"};
  }
}

}  // namespace

Advice AdviceOn(Reason reason) {
  switch (reason) {
    case Reason::None:
      return {"", ""};
    case Reason::RefusedFloor:
      return {"the previous model is below the floor", "install a package at or above it"};
    case Reason::RefusedDenied:
      return {"the previous model is denied", "install another package"};
    case Reason::NoPrevious:
      return {"there is no previous confirmed model: its slot was overwritten or never filled",
              "install the package that you want back"};
    case Reason::Command:
      return {"an operator asked for it", ""};
    case Reason::TrialPending:
      return {"a trial is pending or running", "wait for its end, or end it: confirm or fall-back"};
    case Reason::OutcomeUnknown:
      return {"the run that did it ended before its result was stored", "look at status, then ask anew"};
    case Reason::NoTrial:
      return {"no trial is running", "status says what is"};
    case Reason::NoModel:
      return {"no model serves", "install or offer one"};
    case Reason::TooSoon:
      return {"the device does not count as healthy yet, or too little is known", "wait and try again"};
    case Reason::NotDenied:
      return {"that package is not denied", ""};
    case Reason::Busy:
      return {"another update is under way, or a confirm is being written",
              "wait for its end; status shows it"};
    case Reason::NotAllowed:
      return {"this device's configuration does not allow it",
              "see the keys below privacy and snapshot in agent.toml"};
    case Reason::ShownNotWorse:
      return {"the health gate has shown it to be not worse", ""};
    case Reason::PolicyAtDeadline:
      return {"the package's policy confirms at the deadline", ""};
    case Reason::OperatorConfirmed:
      return {"an operator on this device confirmed it", ""};
    default:
      return static_cast<uint16_t>(reason) < static_cast<uint16_t>(Reason::SelfTest) ? RejectedBecause(reason)
                                                                                     : FailedBecause(reason);
  }
}

Advice AdviceOnReset(Reason reason) {
  switch (reason) {
    case Reason::RefusedFloor:
      return {"the factory model is below the floor, the highest security version confirmed so far",
              "nothing was erased; install a package at or above the floor"};
    case Reason::RefusedDenied:
      return {"the factory model is denied: it failed here by its own fault",
              "nothing was erased; allow it with a signed override_denied, or install another package"};
    case Reason::NoPrevious:
      return {"the factory partition holds no whole package of this model",
              "nothing was erased; burn it anew, or take model.factory out of the configuration"};
    case Reason::StorageError:
      return {"the medium did not take it; what has begun goes on with the next start of the agent",
              "look at the medium (dmesg), then restart the agent"};
    case Reason::Busy:
      return {"a confirm is being written", "try again"};
    default:
      return AdviceOn(reason);
  }
}

Advice AdviceOnInstall(Reason reason) {
  if (reason != Reason::Expired) return AdviceOn(reason);
  return {
      "this device's trust root has expired, and until it has a newer one it takes no package",
      "bring it the next root (dipper root next, then publish it); if the root should still hold, see that "
      "the device's clock is right"};
}

std::string_view ResetText(bool serves) {
  return serves ? "reset: the factory model serves, as it was made"
                : "reset: nothing serves, for there is no factory model; install or offer one";
}

std::string_view MeaningOf(UpdateState state) {
  switch (state) {
    case UpdateState::Idle:
      return "waiting for an offer";
    case UpdateState::Offered:
      return "waiting for this device's place in the offer's window, and for the healthy mark";
    case UpdateState::Transferring:
      return "blocks are coming into the inactive slot";
    case UpdateState::Verifying:
      return "every byte is checked, then the self-test runs";
    case UpdateState::Staged:
      return "the trial starts next";
    case UpdateState::Trial:
      return "the health gate decides by itself; confirm or fall-back decides now";
    case UpdateState::Confirmed:
      return "the last update was confirmed";
    case UpdateState::FellBack:
      return "the last update was dropped; the champion went on";
    case UpdateState::Rejected:
      return "the last package was not acceptable";
    case UpdateState::Failed:
      return "the last update did not come through; it may be tried again";
  }
  return "unknown to this version";
}

}  // namespace dipper::app
