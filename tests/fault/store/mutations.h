// The barriers and rules of the store, each with the mutation that takes it out; and the rows of looser rules
// that broke a crash model, each with the mutations that stand for it.
#pragma once

#include <span>
#include <vector>

#include "agent/store/mutation.h"

namespace dipper::store {

struct MutationInfo {
  Mutation mutation = Mutation::kNone;
  const char* name = "";
  const char* rule = "";  ///< Of docs/reference/storage.md.
  const char* what = "";  ///< What is taken out.
};

/// In the order of the enumeration, every one but kNone.
std::span<const MutationInfo> AllMutations();
const MutationInfo& InfoOf(Mutation mutation);

/// A looser rule with its trace; the scenarios that cover it are found by its mutations.
struct LooserRule {
  const char* loosened = "";
  std::vector<Mutation> mutations;
};
const std::vector<LooserRule>& LooserRules();

/// Sets the mutation for the life of this object; nothing in builds without DIPPER_TEST_FAULTS.
class WithMutation {
 public:
  explicit WithMutation([[maybe_unused]] Mutation mutation) {
#if defined(DIPPER_TEST_FAULTS)
    mutation_for_test = mutation;
#endif
  }
  WithMutation(const WithMutation&) = delete;
  WithMutation& operator=(const WithMutation&) = delete;
  ~WithMutation() {
#if defined(DIPPER_TEST_FAULTS)
    mutation_for_test = Mutation::kNone;
#endif
  }
};

}  // namespace dipper::store
