// Pages: small structures with an envelope {magic, layout, length, CRC} and, where two copies exist, a
// sequence; and CopyPair, which only ever writes the older of two copies behind a barrier and reads it back.
// Byte layout: docs/reference/storage.md. Not thread-safe. No heap.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/security_version.h"
#include "agent/base/status.h"
#include "hal/api/partition.h"

namespace dipper::store {

inline constexpr uint32_t kEnvelopeBytes = 16;
/// What reads back wrong is written once more.
inline constexpr int kWriteAttempts = 2;
inline constexpr uint32_t kPagedHeadBytes = 24;  ///< Envelope and sequence.
inline constexpr uint32_t kMaxWriteUnit = 4096;
inline constexpr uint32_t kSectorBytes = 512;
/// No medium takes as many writes: a sequence above is damage, and would leave nothing to count up to.
inline constexpr uint64_t kMaxSequence = UINT64_MAX / 2;

/// Fills in the envelope of `bytes`, whose body (everything behind the envelope) is already there.
void Seal(base::MutableBytes bytes, uint32_t magic, uint16_t layout);

/// Checks the envelope at the start of `bytes` and returns the structure's length, at most bytes.size().
/// kDataLoss: magic, length or CRC. kUnimplemented: good CRC, another layout.
base::Result<uint32_t> Unseal(base::ByteView bytes, uint32_t magic, uint16_t layout);

// Structures of a fixed length: one way to write and to read them.
/// Writer over the body of a structure that is exactly `length` bytes; `out` must be that long.
base::ByteWriter BodyWriter(base::MutableBytes out, uint32_t length);
/// Fills in the envelope behind `writer` (BodyWriter's, of the same bytes), which must have filled the body.
void SealFilled(base::MutableBytes out, const base::ByteWriter& writer, uint32_t magic, uint16_t layout);
/// Reader over the body of a structure that is exactly `length` bytes. Errors as Unseal; kDataLoss also:
/// another length.
base::Result<base::ByteReader> UnsealBody(base::ByteView bytes, uint32_t magic, uint16_t layout,
                                          uint32_t length);
void PutVersion(base::ByteWriter& writer, base::SecurityVersion version);
base::SecurityVersion GetVersion(base::ByteReader& reader);

// A failing read or write is tried again before it counts: one bad call must not look like lost bytes.
base::Status ReadRetrying(hal::Partition& partition, uint64_t offset, base::MutableBytes to);

/// kInvalidArgument: a shape that the store's layouts cannot use.
base::Status CheckGeometry(const hal::Geometry& geometry);

struct CopyPairLayout {
  uint64_t offset = 0;      ///< Of copy 0; copy 1 follows after `stride`.
  uint64_t stride = 0;      ///< Whole erase units.
  uint32_t page_bytes = 0;  ///< Largest page, whole write units.
  uint32_t magic = 0;
  uint16_t layout = 0;
};

class CopyPair {
 public:
  void Configure(hal::Partition& partition, const CopyPairLayout& layout);

  /// Reads copy 0 or 1 into `page` (page_bytes long). kDataLoss: not valid, or unreadable. kUnimplemented as
  /// Unseal.
  base::Status ReadCopy(uint32_t copy, base::MutableBytes page);

  /// Makes the valid copy with the higher sequence current and leaves it in `page`. kNotFound: none is valid.
  /// kUnimplemented: a copy, valid or not current, has an unknown layout.
  base::Status Load(base::MutableBytes page);

  /// Seals the first `length` bytes of `page` with the next sequence and writes them over the other copy: one
  /// write, barrier, read back; twice before giving up. kUnavailable, kResourceExhausted: the current copy is
  /// as it was; the other one may be anything.
  /// @param sync  Always, but in tests of what the barrier is for.
  base::Status WriteOther(base::MutableBytes page, uint32_t length, bool sync = true);

  uint32_t current() const { return current_; }
  uint64_t sequence() const { return sequence_; }
  /// The current copy was found damaged: the next write goes there.
  void SwapCurrent() { current_ = 1 - current_; }
  void RaiseSequence(uint64_t at_least) { sequence_ = at_least > sequence_ ? at_least : sequence_; }

 private:
  uint64_t OffsetOf(uint32_t copy) const { return layout_.offset + copy * layout_.stride; }
  base::Status ReadBack(uint64_t offset, base::ByteView expected);

  hal::Partition* partition_ = nullptr;
  CopyPairLayout layout_;
  uint32_t current_ = 1;
  uint64_t sequence_ = 0;
};

}  // namespace dipper::store
