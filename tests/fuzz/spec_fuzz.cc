// Any bytes as a spec: as text, at the desk, and as the compiled form, on a device. What is accepted as text
// prints to a text that means the same; what a device accepts has an image size within its own budget.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "agent/learn/image/model.h"
#include "tools/lab/error.h"
#include "tools/lab/spec_text.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header

constexpr size_t kMaxText = 16 * 1024;

struct alignas(16) Memory {
  std::array<uint8_t, learn::kMaxSpecBytes> bytes;
};

/// A device's view of compiled bytes.
void ParseCompiled(base::ByteView bytes) {
  static const auto memory = std::make_unique<Memory>();
  if (bytes.size() > memory->bytes.size()) return;
  if (!bytes.empty()) std::memcpy(memory->bytes.data(), bytes.data(), bytes.size());
  const char* why = nullptr;
  const auto spec = learn::Spec::Parse(base::ByteView(memory->bytes).first(bytes.size()), &why);
  if (!spec.ok()) {
    DIPPER_CHECK(why != nullptr && why[0] != '\0');
    return;
  }
  DIPPER_CHECK(spec->state_bytes() % 16 == 0 && spec->state_bytes() <= spec->table().budget_bytes());
  DIPPER_CHECK(spec->feature_count() >= 1 && spec->input_count() >= 1);
  for (uint32_t f = 0; f < spec->feature_count(); ++f)
    DIPPER_CHECK(spec->FindFeature(spec->feature_name(f)) == f);
}

void ParseText(std::string_view text) {
  bool accepted = false;
  try {
    const schema::SpecT spec = lab::ParseSpecText(text, "fuzz.toml");
    const std::vector<uint8_t> compiled = lab::CompileSpec(spec);
    accepted = true;
    ParseCompiled(compiled);
    const schema::SpecT again = lab::ParseSpecText(lab::PrintSpecText(spec), "printed.toml");
    DIPPER_CHECK(lab::CompileSpec(again) == compiled);
  } catch (const lab::Error& error) {
    if (accepted) std::fprintf(stderr, "%s\n", error.what());
    DIPPER_CHECK(!accepted);  // never a fault of the text that was printed
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= 8 && base::AsText({data + 4, 4}) == schema::SpecIdentifier()) {
    ParseCompiled({data, size});
  } else if (size <= kMaxText) {
    ParseText(base::AsText({data, size}));
  }
  return 0;
}
