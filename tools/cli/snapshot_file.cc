// Implementation of snapshot_file.h.
#include "tools/cli/snapshot_file.h"

#include <fmt/format.h>

#include <array>

#include "agent/base/sha256.h"
#include "agent/base/time.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/desk_model.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::cli {

SnapshotFile ReadSnapshot(const std::string& path, const lab::ContentKeys& keys) {
  return ParseSnapshot(lab::ReadFile(path), path, keys);
}

SnapshotFile ParseSnapshot(const std::vector<uint8_t>& bytes, const std::string& path,
                           const lab::ContentKeys& keys) {
  lab::Recording file(bytes, path);
  std::array<lab::LaneOpening, runtime::kLanes> lanes;
  std::vector<uint8_t> gate;
  if (file.segments().empty()) throw lab::Error(lab::ExitCode::kVerificationFailed, path + ": it is empty");
  // Of a recording, the newest opening.
  lab::RecordedSegment& segment = file.segments().back();
  if (!lab::Recording::Open(&segment, keys, &lanes, &gate)) {
    throw lab::Error(lab::ExitCode::kVerificationFailed, path + ": " + segment.damage);
  }
  if (lanes[0].spec.empty()) {
    throw lab::Error(lab::ExitCode::kVerificationFailed, path + ": no model served when it was taken");
  }
  const runtime::RecordedModel& model = segment.about.lanes[0];
  std::vector<uint64_t> words((lanes[0].spec.size() + 7) / 8);  // aligned, as the verifier wants it
  std::memcpy(words.data(), lanes[0].spec.data(), lanes[0].spec.size());
  const base::ByteView spec(reinterpret_cast<const uint8_t*>(words.data()), lanes[0].spec.size());
  if (!learn::Spec::Parse(spec).ok()) {
    throw lab::Error(lab::ExitCode::kVerificationFailed, path + ": its spec is of another version of dipper");
  }
  SnapshotFile snapshot;
  schema::GetSpec(spec.data())->UnPackTo(&snapshot.spec);
  lab::DeskModel desk(snapshot.spec);
  const learn::Model learned = desk.Attach(lanes[0].image);
  snapshot.image.spec_digest = desk.spec().digest();
  snapshot.image.data_digest = base::Sha256Of(bytes);
  snapshot.image.labels = learned.labels_learned();
  snapshot.image.end_row = learned.samples();
  snapshot.image.image = lanes[0].image;
  snapshot.package = model.package;
  snapshot.encrypted = segment.head.bodies[1].sealed;
  snapshot.note =
      fmt::format("snapshot {} of package {} after {} samples and {} labels, taken {}",
                  base::ToHex(model.image).view(), base::ToHex(model.package).view(), learned.samples(),
                  learned.labels_learned(), TimeText(segment.about.wall_ns / base::kSecondNs));
  return snapshot;
}

}  // namespace dipper::cli
