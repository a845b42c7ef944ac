// FeatureSchemaHash of manifest.h.
#include "agent/base/sha256.h"
#include "agent/package/manifest.h"

namespace dipper::package {
namespace {

void AddNumber(base::Sha256& hash, uint32_t value) {
  std::array<uint8_t, 4> bytes{};
  base::Store(bytes.data(), value);
  hash.Update(bytes);
}

void AddText(base::Sha256& hash, const flatbuffers::String* text) {
  const std::string_view view = text == nullptr ? std::string_view() : text->string_view();
  AddNumber(hash, static_cast<uint32_t>(view.size()));
  hash.Update(base::AsBytes(view));
}

}  // namespace

base::Digest FeatureSchemaHash(const schema::Spec& spec) {
  base::Sha256 hash;
  AddNumber(hash, spec.features()->size());
  for (const schema::Feature* feature : *spec.features()) {
    AddText(hash, feature->name());
    AddText(hash, feature->unit());
    AddNumber(hash, static_cast<uint32_t>(feature->type()));
    const auto* categories = feature->categories();
    AddNumber(hash, categories == nullptr ? 0 : categories->size());
    if (categories == nullptr) continue;
    for (const flatbuffers::String* category : *categories) AddText(hash, category);
  }
  return hash.Finish();
}

}  // namespace dipper::package
