// zstd behind two calls; codec.cc is the one file that calls it. Not thread-safe: one decoder per thread.
#pragma once

#include "agent/base/bytes.h"
#include "agent/base/status.h"

struct ZSTD_DCtx_s;

namespace dipper::package {

/// Decompresses blocks. Heap: one zstd context of about 160 KiB while it lives.
class BlockDecoder {
 public:
  BlockDecoder();
  ~BlockDecoder();
  BlockDecoder(const BlockDecoder&) = delete;
  BlockDecoder& operator=(const BlockDecoder&) = delete;

  /// Decompresses `stored` into exactly `raw`. kDataLoss: damaged or another length. kResourceExhausted:
  /// there was no memory for the context.
  base::Status Decode(base::ByteView stored, base::MutableBytes raw);

 private:
  ZSTD_DCtx_s* context_;
};

/// Compresses one block; returns the bytes written. kResourceExhausted: `stored` is too small.
base::Result<size_t> EncodeBlock(base::ByteView raw, base::MutableBytes stored);

}  // namespace dipper::package
