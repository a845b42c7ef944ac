// Any bytes as a command: as a whole document, and as the payload of a well-signed one.
#include "tests/fuzz/fuzz_keys.h"

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const package::Bytes document = fuzz::DocumentOf(package::Domain::kCommand, {data, size});
  const std::array<std::string_view, 1> groups = {"canary"};
  package::CommandFacts facts;
  (void)package::VerifyCommand(document, fuzz::Root(), {"demo", "mote-1", groups}, {1'700'000'000, true},
                               &facts);
  return 0;
}
