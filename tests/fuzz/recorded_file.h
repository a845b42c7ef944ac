// Recordings and snapshots for the fuzz targets: good ones, and changes to them whose checksums are made
// right again, as a forger or an unlucky flip before the checksum would. Not thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "agent/base/bytes.h"
#include "tests/fuzz/input.h"

namespace dipper::fuzz {

/// One segment: champion, challenger and a gate, two pages of samples, labels and digests.
const std::vector<uint8_t>& GoodRecording();
/// The champion's image alone.
const std::vector<uint8_t>& GoodSnapshot();

/// Puts numbers from the input over places in the file: mostly where something is said, not in the images.
void EditFile(Input& input, base::MutableBytes file);
/// Makes every checksum right that lies inside the file.
/// @param images  Also the images' SHA-256.
void RemakeChecks(base::MutableBytes file, bool images);
/// Fills the first page with records from the input.
void PlantRecords(Input& input, base::MutableBytes file);

}  // namespace dipper::fuzz
