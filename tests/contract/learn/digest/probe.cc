// Runs one generated stream through every learner and prints the digest of each image. Compiled by
// compare_builds.sh with several compilers and levels, whose lines must be equal. Single-threaded.
#include <cstdio>

#include "tests/contract/learn/cases.h"

int main() {
  using namespace dipper::learn::testing;  // NOLINT: a program of one function
  for (const ModelCase& test : AllCases()) {
    Fixture model(SpecOf(test));
    Stream stream(42);
    RunStream(model.model(), model.spec(), &stream, 12000, test.target == "regression" ? 5 : 0);
    const auto hex = dipper::base::ToHex(model->ImageDigest());
    std::printf("%s %.64s\n", test.name().c_str(), hex.text.data());
    if (!model->AllFinite()) return 1;
  }
  return 0;
}
