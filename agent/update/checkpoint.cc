// Implementation of checkpoint.h.
#include "agent/update/checkpoint.h"

#include <algorithm>

namespace dipper::update {
namespace {

using base::Status;
using package::kSealBytes;
using package::SealPurpose;
using Sealed = std::array<uint8_t, kSealedGateBytes>;

/// What stands beside the image: the image's seal and, with a gate state, that one's seal and bytes.
base::Result<base::ByteView> SealGate(const LoadedModel& model, base::ByteView gate_state, Sealed* sealed) {
  const base::MutableBytes all(*sealed);
  if (gate_state.empty()) return base::ByteView(all.first(kSealBytes));
  if (gate_state.size() > kGateStateBytes) return Status::kResourceExhausted;
  const base::MutableBytes state = all.subspan(2 * kSealBytes, gate_state.size());
  std::ranges::copy(gate_state, state.begin());
  DIPPER_RETURN_IF_ERROR(package::SealAtRest(model.content_key, SealPurpose::kGateState, model.package, state,
                                             all.subspan(kSealBytes, kSealBytes)));
  return base::ByteView(all.first(2 * kSealBytes + gate_state.size()));
}

/// @returns the bytes of the gate state.
base::Result<uint32_t> OpenGate(const LoadedModel& model, base::MutableBytes beside,
                                base::MutableBytes gate_state) {
  if (gate_state.empty() || beside.size() == kSealBytes) return 0U;
  if (beside.size() <= 2 * kSealBytes) return Status::kDataLoss;
  const base::MutableBytes state = beside.subspan(2 * kSealBytes);
  if (state.size() > gate_state.size()) return Status::kResourceExhausted;
  DIPPER_RETURN_IF_ERROR(package::OpenAtRest(model.content_key, SealPurpose::kGateState, model.package,
                                             beside.subspan(kSealBytes, kSealBytes), state));
  std::ranges::copy(state, gate_state.begin());
  return static_cast<uint32_t>(state.size());
}

}  // namespace

Status WriteCheckpoint(store::ModelStore& store, LoadedModel* model, base::ByteView gate_state) {
  const uint64_t samples = model->model->samples();
  const base::MutableBytes image = model->image_memory();
  if (!model->encrypted) return store.WriteCheckpoint(model->slot, samples, image, gate_state);
  Sealed sealed{};
  DIPPER_ASSIGN_OR_RETURN(const base::ByteView beside, SealGate(*model, gate_state, &sealed));
  const base::MutableBytes seal = base::MutableBytes(sealed).first(kSealBytes);
  DIPPER_RETURN_IF_ERROR(
      package::SealAtRest(model->content_key, SealPurpose::kCheckpoint, model->package, image, seal));
  const Status written = store.WriteCheckpoint(model->slot, samples, image, beside);
  // What was just encrypted here decrypts, or this memory is broken and a restart is the only way on.
  DIPPER_CHECK(base::Ok(
      package::OpenAtRest(model->content_key, SealPurpose::kCheckpoint, model->package, seal, image)));
  return written;
}

base::Result<store::CheckpointInfo> ReadCheckpoint(store::ModelStore& store, store::SlotId slot,
                                                   store::ImageSource which, LoadedModel* to,
                                                   base::MutableBytes gate_state) {
  const base::MutableBytes image = to->image_memory();
  if (!to->encrypted) return store.ReadCheckpoint(slot, which, image, gate_state);
  Sealed sealed{};
  DIPPER_ASSIGN_OR_RETURN(store::CheckpointInfo info, store.ReadCheckpoint(slot, which, image, sealed));
  const base::MutableBytes beside = base::MutableBytes(sealed).first(info.gate_bytes);
  if (beside.size() < kSealBytes || info.image_bytes != image.size()) return Status::kDataLoss;
  DIPPER_RETURN_IF_ERROR(package::OpenAtRest(to->content_key, SealPurpose::kCheckpoint, to->package,
                                             beside.first(kSealBytes), image));
  DIPPER_ASSIGN_OR_RETURN(info.gate_bytes, OpenGate(*to, beside, gate_state));
  return info;
}

}  // namespace dipper::update
