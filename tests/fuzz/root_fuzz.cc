// Any bytes as a trust root, by itself and as a successor.
#include "tests/fuzz/fuzz_keys.h"

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const package::Bytes document = fuzz::DocumentOf(package::Domain::kRoot, {data, size});
  package::TrustRoot root;
  if (package::TrustRoot::Parse(document, &root) == schema::Reason::None) {
    // A root that was let through can be asked anything.
    for (uint8_t i = 0; i < package::kRoleCount; ++i) {
      const package::RoleKeys& role = root.role(static_cast<schema::RoleName>(i));
      DIPPER_CHECK(role.threshold >= 1 && role.threshold <= role.keys.size());
      for (const uint8_t index : role.keys) DIPPER_CHECK(index < root.keys().size());
    }
  }
  package::TrustRoot next;
  (void)fuzz::Root().ParseSuccessor(document, &next);
  return 0;
}
