// Implementation of slot_source.h.
#include "agent/update/slot_source.h"

namespace dipper::update {
namespace {

/// A range of a partition.
class RangeSource final : public package::ByteSource {
 public:
  RangeSource(hal::Partition& partition, uint64_t offset, uint64_t bytes)
      : partition_(partition), offset_(offset), bytes_(bytes) {}
  base::Status ReadAt(uint64_t offset, base::MutableBytes to) override {
    if (offset > bytes_ || to.size() > bytes_ - offset) return base::Status::kOutOfRange;
    return partition_.Read(offset_ + offset, to);
  }
  uint64_t size() const override { return bytes_; }

 private:
  hal::Partition& partition_;
  uint64_t offset_;
  uint64_t bytes_;
};

}  // namespace

base::Status SlotSource::ReadAt(uint64_t offset, base::MutableBytes to) {
  if (offset > bytes_ || to.size() > bytes_ - offset) return base::Status::kOutOfRange;
  return store_.ReadPackage(slot_, offset, to);
}

base::Result<store::SlotFacts> PackageVerifier::Verify(hal::Partition& partition, uint64_t package_offset,
                                                       uint64_t package_bytes) {
  RangeSource source(partition, package_offset, package_bytes);
  package::PackageFacts facts;
  const schema::Reason reason = package::VerifyWhole(source, nullptr, memory_, &facts);
  if (reason == schema::Reason::StorageError) return base::Status::kUnavailable;
  if (reason != schema::Reason::None) return base::Status::kDataLoss;
  if (!model_.empty() && facts.manifest.model() != model_) return base::Status::kDataLoss;
  return store::SlotFacts{facts.digest, facts.security_version, facts.image_bytes};
}

}  // namespace dipper::update
