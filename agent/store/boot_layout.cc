// Places in the boot and data partitions.
#include "agent/store/boot_layout.h"

#include <algorithm>

#include "agent/store/boot_record.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr uint32_t kRootMagic = 0x544F5244;      // "DROT"
constexpr uint32_t kCountersMagic = 0x544E4344;  // "DCNT"
constexpr uint32_t kPositionMagic = 0x534F5044;  // "DPOS"
constexpr uint32_t kPositionRoomBytes = 512;
constexpr uint64_t kMinDataBytes = 64 * 1024;
constexpr uint64_t kMinDataUnits = 16;

bool HoldsPage(hal::Partition& partition, const CopyPairLayout& layout, base::MutableBytes page,
               Status* status) {
  CopyPair pair;
  pair.Configure(partition, layout);
  const Status loaded = pair.Load(page);
  if (loaded == Status::kUnimplemented) *status = Status::kUnimplemented;
  return loaded != Status::kNotFound;
}

Status EraseAll(hal::Partition& partition) {
  DIPPER_RETURN_IF_ERROR(partition.Erase(0, partition.geometry().size_bytes));
  return partition.Sync();
}

}  // namespace

CopyPairLayout BootLayout::Record(uint32_t model) const {
  DIPPER_CHECK(model < models);
  return {records_offset + uint64_t{2} * model * record_stride, record_stride, record_bytes, kBootRecordMagic,
          kBootRecordLayout};
}

base::Result<BootLayout> ComputeBootLayout(const hal::Geometry& geometry) {
  DIPPER_RETURN_IF_ERROR(CheckGeometry(geometry));
  const uint64_t unit = geometry.erase_unit_bytes;
  BootLayout layout;
  layout.roots = {0, base::AlignUp(kRootPageBytes, unit), kRootPageBytes, kRootMagic, 1};
  layout.counters = {2 * layout.roots.stride, base::AlignUp(kCountersPageBytes, unit), kCountersPageBytes,
                     kCountersMagic, 1};
  layout.records_offset = layout.counters.offset + 2 * layout.counters.stride;
  layout.record_bytes = static_cast<uint32_t>(base::AlignUp(kBootRecordBytes, geometry.write_unit_bytes));
  layout.record_stride = base::AlignUp(layout.record_bytes, unit);
  if (geometry.size_bytes < layout.records_offset) return Status::kResourceExhausted;
  const uint64_t fit = (geometry.size_bytes - layout.records_offset) / (2 * layout.record_stride);
  if (fit == 0) return Status::kResourceExhausted;
  layout.models = static_cast<uint32_t>(std::min<uint64_t>(fit, kMaxModels));
  return layout;
}

base::Result<DataLayout> ComputeDataLayout(const hal::Geometry& geometry) {
  DIPPER_RETURN_IF_ERROR(CheckGeometry(geometry));
  const uint64_t unit = geometry.erase_unit_bytes;
  const uint64_t units = geometry.size_bytes / unit;
  if (geometry.size_bytes < kMinDataBytes || units < kMinDataUnits) return Status::kResourceExhausted;
  DataLayout layout;
  layout.events_bytes = units / 8 * unit;
  const auto page = static_cast<uint32_t>(base::AlignUp(kPositionRoomBytes, geometry.write_unit_bytes));
  layout.backlog_position = {layout.events_bytes, base::AlignUp(page, unit), page, kPositionMagic, 1};
  layout.backlog_offset = layout.backlog_position.offset + 2 * layout.backlog_position.stride;
  layout.backlog_bytes = units * 3 / 8 * unit;
  return layout;
}

Status FormatBoot(hal::Partition& boot, bool force) {
  DIPPER_ASSIGN_OR_RETURN(const BootLayout layout, ComputeBootLayout(boot.geometry()));
  alignas(16) std::array<uint8_t, kRootPageBytes> page{};
  Status status = Status::kOk;
  bool holds = HoldsPage(boot, layout.roots, page, &status);
  holds = HoldsPage(boot, layout.counters, page, &status) || holds;
  for (uint32_t model = 0; model < layout.models; ++model) {
    holds = HoldsPage(boot, layout.Record(model), page, &status) || holds;
  }
  DIPPER_RETURN_IF_ERROR(status);
  if (holds && !force) return Status::kAlreadyExists;
  return EraseAll(boot);
}

Status FormatData(hal::Partition& data, bool force) {
  DIPPER_ASSIGN_OR_RETURN(const DataLayout layout, ComputeDataLayout(data.geometry()));
  alignas(16) std::array<uint8_t, kMaxWriteUnit> page{};
  Status status = Status::kOk;
  const bool holds = HoldsPage(data, layout.backlog_position, page, &status);
  DIPPER_RETURN_IF_ERROR(status);
  if (holds && !force) return Status::kAlreadyExists;
  return EraseAll(data);
}

}  // namespace dipper::store
