// Root store: two documents, newest wins.
#include "agent/store/root_store.h"

#include <algorithm>

#include "agent/base/sha256.h"
#include "agent/store/boot_layout.h"
#include "agent/store/mutation.h"

namespace dipper::store {

using base::Status;

namespace {
constexpr uint32_t kDocumentOffset = kPagedHeadBytes;  // The envelope's length tells the document's.
static_assert(kPagedHeadBytes + RootStore::kMaxRootBytes <= kRootPageBytes);

bool GoodLength(base::ByteView page) {
  const uint32_t length = base::Load<uint32_t>(page.data() + 8) - kDocumentOffset;
  return length >= 1 && length <= RootStore::kMaxRootBytes;
}
}  // namespace

RootStore::RootStore(hal::Partition& boot) : boot_(boot) {}

Status RootStore::Open() {
  DIPPER_ASSIGN_OR_RETURN(const BootLayout layout, ComputeBootLayout(boot_.geometry()));
  pages_.Configure(boot_, layout.roots);
  const Status status = ReadNewest();
  if (!base::Ok(status) && status != Status::kNotFound) return status;
  open_ = true;
  // A medium that refuses the repair does not stop the agent: the current copy is good.
  if (base::Ok(status)) static_cast<void>(Duplicate());
  return Status::kOk;
}

/// The newest copy into page_. A good CRC around a length that no agent writes: absent, like any damaged
/// page, and the other copy counts.
Status RootStore::ReadNewest() {
  DIPPER_RETURN_IF_ERROR(pages_.Load(page_));
  if (GoodLength(page_)) return Status::kOk;
  const Status other = pages_.ReadCopy(1 - pages_.current(), page_);
  if (!base::Ok(other) || !GoodLength(page_)) return Status::kNotFound;
  pages_.SwapCurrent();
  return Status::kOk;
}

/// The document in page_, which is the current copy's, into the other copy unless it is there.
Status RootStore::Duplicate() {
  const uint32_t length = base::Load<uint32_t>(page_.data() + 8);
  const base::Digest current =
      base::Sha256Of(base::ByteView(page_).subspan(kDocumentOffset, length - kDocumentOffset));
  const Status other = pages_.ReadCopy(1 - pages_.current(), page_);
  if (base::Ok(other)) {
    const uint32_t found = base::Load<uint32_t>(page_.data() + 8);
    const auto document = base::ByteView(page_).subspan(kDocumentOffset, found - kDocumentOffset);
    if (base::Sha256Of(document) == current) return Status::kOk;
  }
  DIPPER_RETURN_IF_ERROR(pages_.ReadCopy(pages_.current(), page_));
  return pages_.WriteOther(page_, length, !Mutated(Mutation::kRootNotSynced));
}

base::Result<base::ByteView> RootStore::Load(base::MutableBytes buffer) {
  if (!open_) return Status::kFailedPrecondition;
  DIPPER_RETURN_IF_ERROR(ReadNewest());
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
  const auto length = kDocumentOffset + static_cast<uint32_t>(document.size());
  DIPPER_RETURN_IF_ERROR(pages_.WriteOther(page_, length, !Mutated(Mutation::kRootNotSynced)));
  return Mutated(Mutation::kRootNotDuplicated) ? Status::kOk : Duplicate();
}

}  // namespace dipper::store
