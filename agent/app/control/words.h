// What a state or a reason means and what to do about it, for people at the device. docs/how-to/
// recover-a-device.md says more of each. Thread-safe: pure functions over constants.
#pragma once

#include <string_view>

#include "agent/schema/update_generated.h"

namespace dipper::app {

struct Advice {
  std::string_view meaning;
  std::string_view to_do;  ///< Empty: nothing.
};

/// One sentence each, without a full stop. Every reason of the schema has one.
Advice AdviceOn(schema::Reason reason);
/// The same for a factory reset that was refused or failed.
Advice AdviceOnReset(schema::Reason reason);
/// The same for an install: a package has no time of its own, so that what expired is the trust root.
Advice AdviceOnInstall(schema::Reason reason);
/// What a factory reset has done. @param serves  The factory model does.
std::string_view ResetText(bool serves);
/// What happens next by itself in that state.
std::string_view MeaningOf(schema::UpdateState state);

}  // namespace dipper::app
