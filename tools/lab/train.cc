// Pretraining run and the image file (docs/reference/image-file.md).
#include "tools/lab/train.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"
#include "tools/lab/desk_model.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"
#include "tools/lab/samples.h"

namespace dipper::lab {
namespace {

constexpr std::array<uint8_t, 4> kMagic = {'D', 'I', 'M', 'G'};
constexpr uint32_t kFormat = 1;
constexpr size_t kCrcOffset = kImageFileHeaderBytes - sizeof(uint32_t);

ImageFile Start(const DeskModel& desk, const learn::Model& model) {
  ImageFile file;
  file.spec_digest = desk.spec().digest();
  file.image.assign(model.image().begin(), model.image().end());
  return file;
}

[[noreturn]] void FailRow(uint64_t row, const char* verb, base::Status status) {
  throw Error(ExitCode::kFailure,
              fmt::format("row {}: the model refused to {} ({})", row, verb, base::StatusName(status)));
}

}  // namespace

ImageFile FreshImage(const schema::SpecT& spec) {
  DeskModel desk(spec);
  const learn::Model model = desk.Create();
  return Start(desk, model);
}

ImageFile TrainImage(const schema::SpecT& spec, const CsvTable& table, const std::string& label,
                     uint64_t first_row, uint64_t end_row, std::vector<std::string>* warnings) {
  DeskModel desk(spec);
  learn::Model model = desk.Create();
  const SampleTable samples = DecodeTable(desk.spec(), table, label);
  if (warnings != nullptr) *warnings = WarningsOf(samples, table.path());
  if (first_row >= std::min(end_row, samples.rows)) {
    const std::string end = end_row == std::numeric_limits<uint64_t>::max() ? "" : std::to_string(end_row);
    throw Error(ExitCode::kUsage, fmt::format("--rows {}:{} selects nothing; '{}' has {} usable rows",
                                              first_row, end, table.path(), samples.rows));
  }
  end_row = std::min(end_row, samples.rows);
  for (uint64_t i = first_row; i < end_row; ++i) {
    const base::Status observed = model.Observe(i - first_row, 0, samples.Row(i), nullptr);
    if (!base::Ok(observed)) FailRow(i, "observe", observed);
    if (samples.label_kinds[i] != LabelKind::kKnown) continue;
    const base::Status learned = model.Learn(i - first_row, samples.labels[i], 1, nullptr);
    if (!base::Ok(learned)) FailRow(i, "learn", learned);
  }
  if (model.labels_learned() == 0) {
    throw Error(ExitCode::kFailure,
                fmt::format("no row of '{}' has a label that this spec can learn{}; check --label "
                            "and target.classes",
                            table.path(),
                            samples.first_unknown_label.empty()
                                ? std::string()
                                : ", the first one is '" + Printable(samples.first_unknown_label) + "'"));
  }
  // The device's stream does not go on where this one ends.
  model.StartSeries();
  ImageFile file = Start(desk, model);
  file.data_digest = table.digest();
  file.first_row = first_row;
  file.end_row = end_row;
  file.labels = model.labels_learned();
  return file;
}

std::vector<uint8_t> EncodeImageFile(const ImageFile& file) {
  std::vector<uint8_t> bytes(kImageFileHeaderBytes);
  base::ByteWriter writer(bytes);
  writer.PutBytes(kMagic);
  writer.Put(kFormat);
  writer.Put(static_cast<uint64_t>(file.image.size()));
  writer.PutDigest(file.spec_digest);
  writer.PutDigest(file.data_digest);
  writer.Put(file.first_row);
  writer.Put(file.end_row);
  writer.Put(file.labels);
  base::Store(bytes.data() + kCrcOffset,
              base::Crc32c(file.image, base::Crc32c(base::ByteView(bytes).first(kCrcOffset))));
  bytes.insert(bytes.end(), file.image.begin(), file.image.end());
  return bytes;
}

ImageFile DecodeImageFile(base::ByteView bytes, const std::string& path) {
  const auto fail = [&](const std::string& why) -> void {
    throw Error(ExitCode::kVerificationFailed,
                fmt::format("'{}' {}; make it with 'dipper train'", path, why));
  };
  if (bytes.size() < kImageFileHeaderBytes || !std::equal(kMagic.begin(), kMagic.end(), bytes.begin())) {
    fail("is not a model image file (.dimg)");
  }
  base::ByteReader reader(bytes.subspan(kMagic.size()));
  const auto format = reader.Get<uint32_t>();
  if (format != kFormat) fail(fmt::format("has format {}, and this program knows {}", format, kFormat));
  const auto length = reader.Get<uint64_t>();
  const base::ByteView image = bytes.subspan(kImageFileHeaderBytes);
  if (length != image.size())
    fail(fmt::format("is cut or has more: {} bytes of image, {} declared", image.size(), length));
  ImageFile file;
  file.spec_digest = reader.GetDigest();
  file.data_digest = reader.GetDigest();
  file.first_row = reader.Get<uint64_t>();
  file.end_row = reader.Get<uint64_t>();
  file.labels = reader.Get<uint64_t>();
  if (base::Load<uint32_t>(bytes.data() + kCrcOffset) !=
      base::Crc32c(image, base::Crc32c(bytes.first(kCrcOffset)))) {
    fail("is damaged: its checksum differs");
  }
  file.image.assign(image.begin(), image.end());
  return file;
}

ImageFile ReadImageFile(const std::string& path) { return DecodeImageFile(ReadFile(path), path); }

}  // namespace dipper::lab
