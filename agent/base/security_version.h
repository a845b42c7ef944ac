// SecurityVersion: what the anti-rollback floor compares. A pair, so that a new trust root can raise the
// epoch after a stolen release key signed the highest number.
#pragma once

#include <compare>
#include <cstdint>

namespace dipper::base {

struct SecurityVersion {
  uint32_t epoch = 0;    ///< Role epoch of the trust root that signs releases.
  uint32_t version = 0;  ///< The package's own number within the epoch.
  auto operator<=>(const SecurityVersion&) const = default;  // NOLINT(modernize-use-nullptr): it has no 0
};

}  // namespace dipper::base
