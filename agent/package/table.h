// Inside this room: verified access to FlatBuffers of one kind. Thread-safe: pure functions.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include "agent/base/bytes.h"

namespace dipper::package {

inline constexpr const char* kManifestKind = "DPKM";
inline constexpr const char* kSignedKind = "DPSG";
inline constexpr const char* kRootKind = "DPRT";
inline constexpr const char* kOfferKind = "DPOF";
inline constexpr const char* kCommandKind = "DPCM";
inline constexpr const char* kSpecKind = "DSPC";

/// The root table of `bytes`, or null unless they are a well-formed buffer of this kind that starts at a
/// multiple of 8 (the verifier itself would read misaligned memory). Values are not checked: any may be in
/// it.
template <typename Table>
const Table* VerifiedTable(base::ByteView bytes, const char* kind) {
  constexpr uint32_t kMaxDepth = 16;
  constexpr uint32_t kMaxTables = 4096;
  if (reinterpret_cast<uintptr_t>(bytes.data()) % 8 != 0) return nullptr;
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), kMaxDepth, kMaxTables);
  if (!verifier.VerifyBuffer<Table>(kind)) return nullptr;
  return flatbuffers::GetRoot<Table>(bytes.data());
}

}  // namespace dipper::package
