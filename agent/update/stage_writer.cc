// Implementation of stage_writer.h.
#include "agent/update/stage_writer.h"

#include <algorithm>

namespace dipper::update {

using base::Status;

StageWriter::StageWriter(store::ModelStore& store, uint32_t write_unit_bytes)
    : store_(store), unit_(write_unit_bytes) {
  DIPPER_CHECK(unit_ > 0 && unit_ <= buffer_.size());
}

Status StageWriter::Write(uint64_t offset, base::ByteView bytes) {
  if (unit_ == 1) return store_.WriteStage(offset, bytes);
  while (!bytes.empty()) {
    const uint64_t into = offset % unit_;
    uint64_t take = std::min<uint64_t>(unit_ - into, bytes.size());
    if (into == 0 && bytes.size() >= unit_) {
      take = bytes.size() / unit_ * unit_;
      DIPPER_RETURN_IF_ERROR(store_.WriteStage(offset, bytes.first(take)));
    } else {
      DIPPER_RETURN_IF_ERROR(WriteInUnit(offset, bytes.first(take)));
    }
    offset += take;
    bytes = bytes.subspan(take);
  }
  return Status::kOk;
}

Status StageWriter::WriteInUnit(uint64_t offset, base::ByteView bytes) {
  if (offset > package_bytes_ || bytes.size() > package_bytes_ - offset) return Status::kOutOfRange;
  const uint64_t begin = offset / unit_ * unit_;
  const base::MutableBytes unit = base::MutableBytes(buffer_).first(unit_);
  // The package may end within the unit.
  DIPPER_RETURN_IF_ERROR(
      store_.ReadStage(begin, unit.first(std::min<uint64_t>(unit_, package_bytes_ - begin))));
  std::copy(bytes.begin(), bytes.end(), unit.begin() + static_cast<std::ptrdiff_t>(offset - begin));
  return store_.WriteStage(begin, unit);
}

}  // namespace dipper::update
