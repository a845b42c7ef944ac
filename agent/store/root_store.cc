// Root store: two documents, newest wins.
#include "agent/store/root_store.h"

#include <algorithm>

#include "agent/store/boot_layout.h"

namespace dipper::store {

using base::Status;

namespace {
constexpr uint32_t kDocumentOffset = kPagedHeadBytes;  // The envelope's length tells the document's.
static_assert(kPagedHeadBytes + RootStore::kMaxRootBytes <= kRootPageBytes);
}  // namespace

RootStore::RootStore(hal::Partition& boot) : boot_(boot) {}

Status RootStore::Open() {
  DIPPER_ASSIGN_OR_RETURN(const BootLayout layout, ComputeBootLayout(boot_.geometry()));
  pages_.Configure(boot_, layout.roots);
  const Status status = pages_.Load(page_);
  if (!base::Ok(status) && status != Status::kNotFound) return status;
  open_ = true;
  return Status::kOk;
}

base::Result<base::ByteView> RootStore::Load(base::MutableBytes buffer) {
  if (!open_) return Status::kFailedPrecondition;
  DIPPER_RETURN_IF_ERROR(pages_.Load(page_));
  const uint32_t length = base::Load<uint32_t>(page_.data() + 8) - kDocumentOffset;
  if (length > buffer.size()) return Status::kResourceExhausted;
  std::copy_n(page_.begin() + kDocumentOffset, length, buffer.begin());
  return base::ByteView(buffer.first(length));
}

Status RootStore::Store(base::ByteView document) {
  if (!open_) return Status::kFailedPrecondition;
  if (document.empty()) return Status::kInvalidArgument;
  if (document.size() > kMaxRootBytes) return Status::kResourceExhausted;
  std::copy(document.begin(), document.end(), page_.begin() + kDocumentOffset);
  return pages_.WriteOther(page_, kDocumentOffset + static_cast<uint32_t>(document.size()));
}

}  // namespace dipper::store
