// Checkpoints of loaded models. A plain package's checkpoint is its image as it is; an encrypted package's is
// encrypted too (docs/reference/storage.md has the bytes). Not thread-safe. No heap but mbedTLS's.
#pragma once

#include "agent/package/seal.h"
#include "agent/store/model_store.h"
#include "agent/update/loaded_model.h"

namespace dipper::update {

/// Beside a sealed image, before a sealed gate state.
inline constexpr uint32_t kSealedGateBytes = 2 * package::kSealBytes + kGateStateBytes;
static_assert(kSealedGateBytes <= store::kMaxGateStateBytes);

/// ModelStore::WriteCheckpoint of a model's image where it lives. An encrypted package's image is encrypted
/// in place, written and decrypted in place, so that no second buffer is needed: nothing may learn meanwhile.
/// @returns as ModelStore::WriteCheckpoint; kUnavailable also: no entropy to encrypt with.
base::Status WriteCheckpoint(store::ModelStore& store, LoadedModel* model, base::ByteView gate_state);

/// ModelStore::ReadCheckpoint into a model's image memory, decrypted; its spec and key are taken (TakeSpec).
/// @param gate_state  kGateStateBytes, or empty: not asked for.
/// @returns as ModelStore::ReadCheckpoint, `gate_bytes` as it was given to WriteCheckpoint. kDataLoss: it
/// does
///   not decrypt; the image memory is then undefined.
base::Result<store::CheckpointInfo> ReadCheckpoint(store::ModelStore& store, store::SlotId slot,
                                                   store::ImageSource which, LoadedModel* to,
                                                   base::MutableBytes gate_state);

}  // namespace dipper::update
