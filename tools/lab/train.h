// Pretraining: a model image learned from a CSV file, and the `.dimg` file that carries it to `package build`
// (docs/reference/image-file.md). Errors are lab::Error. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/schema/spec_generated.h"
#include "tools/lab/csv_table.h"

namespace dipper::lab {

inline constexpr uint64_t kImageFileHeaderBytes = 128;

/// A model image with what it was made from.
struct ImageFile {
  base::Digest spec_digest;  ///< SHA-256 of the compiled spec.
  base::Digest data_digest;  ///< SHA-256 of the training file; zero for a fresh image. Goes to the lineage.
  uint64_t first_row = 0;    ///< Rows [first_row, end_row) were learned.
  uint64_t end_row = 0;
  uint64_t labels = 0;  ///< Labels learned.
  std::vector<uint8_t> image;
};

/// Observes and learns rows [first_row, end_row) of the table, labels prompt.
/// @param warnings  Of WarningsOf, if wanted.
ImageFile TrainImage(const schema::SpecT& spec, const CsvTable& table, const std::string& label,
                     uint64_t first_row, uint64_t end_row, std::vector<std::string>* warnings = nullptr);

/// An image that has learned nothing.
ImageFile FreshImage(const schema::SpecT& spec);

std::vector<uint8_t> EncodeImageFile(const ImageFile& file);
/// Throws Error (5): not an image file, damaged, or a version this program does not know.
ImageFile DecodeImageFile(base::ByteView bytes, const std::string& path);
ImageFile ReadImageFile(const std::string& path);

}  // namespace dipper::lab
