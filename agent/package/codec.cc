// Implementation of codec.h over zstd (RFC 8878).
#include "agent/package/codec.h"

#include <zstd.h>

namespace dipper::package {
namespace {
constexpr int kLevel = 19;  // blocks are small and made once, so the best ratio costs little
}

BlockDecoder::BlockDecoder() : context_(ZSTD_createDCtx()) {}

BlockDecoder::~BlockDecoder() { ZSTD_freeDCtx(context_); }

base::Status BlockDecoder::Decode(base::ByteView stored, base::MutableBytes raw) {
  if (context_ == nullptr) return base::Status::kResourceExhausted;
  const size_t length = ZSTD_decompressDCtx(context_, raw.data(), raw.size(), stored.data(), stored.size());
  if (ZSTD_isError(length) != 0 || length != raw.size()) return base::Status::kDataLoss;
  return base::Status::kOk;
}

base::Result<size_t> EncodeBlock(base::ByteView raw, base::MutableBytes stored) {
  const size_t length = ZSTD_compress(stored.data(), stored.size(), raw.data(), raw.size(), kLevel);
  if (ZSTD_isError(length) != 0) return base::Status::kResourceExhausted;
  return length;
}

}  // namespace dipper::package
