// See spec.h.
#include "agent/learn/image/spec.h"

#include "agent/base/sha256.h"

namespace dipper::learn {

using base::Status;

base::Result<Spec> Spec::Parse(base::ByteView bytes, const char** why) {
  const auto refuse = [why](const char* reason, Status status) {
    if (why != nullptr) *why = reason;
    return status;
  };
  if (bytes.size() < 16 || bytes.size() > kMaxSpecBytes) {
    return refuse("a compiled spec has 16 to 65536 bytes", Status::kDataLoss);
  }
  if (reinterpret_cast<uintptr_t>(bytes.data()) % 8 != 0) {
    return refuse("the bytes are not 8-byte aligned", Status::kInvalidArgument);
  }
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), /*max_depth=*/16, /*max_tables=*/4096);
  if (!schema::VerifySpecBuffer(verifier)) {
    return refuse("not a well-formed compiled spec (FlatBuffers, identifier DSPC)", Status::kDataLoss);
  }
  Spec spec;
  spec.bytes_ = bytes;
  spec.table_ = schema::GetSpec(bytes.data());
  DIPPER_RETURN_IF_ERROR(MakePlan(*spec.table_, &spec.plan_, why));
  spec.digest_ = base::Sha256Of(bytes);
  return spec;
}

uint32_t Spec::category_count(uint32_t index) const {
  DIPPER_CHECK(index < feature_count());
  return plan_.tables[plan_.layout.categories.first + index];
}

uint32_t Spec::FindFeature(std::string_view name) const {
  for (uint32_t i = 0; i < feature_count(); ++i) {
    if (feature_name(i) == name) return i;
  }
  return feature_count();
}

std::string_view Spec::class_name(uint32_t index) const {
  DIPPER_CHECK(index < class_count());
  if (target_kind() == schema::TargetKind::FeatureAhead) {
    const auto& categories = *table_->features()->Get(plan_.layout.target.feature)->categories();
    return index < categories.size() ? Text(categories.Get(index)) : std::string_view();
  }
  const auto* classes = table_->target()->classes();
  return classes != nullptr && index < classes->size() ? Text(classes->Get(index)) : std::string_view();
}

}  // namespace dipper::learn
