// Implementation of recording.h.
#include "tools/lab/recording.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"
#include "agent/package/seal.h"
#include "tools/lab/error.h"

namespace dipper::lab {
namespace {

using base::Status;
using package::SealPurpose;

constexpr size_t kLengthBytes = 8;

[[noreturn]] void Refuse(const std::string& name, const std::string& why) {
  throw Error(ExitCode::kVerificationFailed, name + ": " + why);
}

package::Secret KeyFor(const ContentKeys& keys, const base::Digest& package) {
  const auto key = keys ? keys(package) : std::nullopt;
  if (key) return *key;
  throw Error(ExitCode::kVerificationFailed,
              fmt::format("the recording is encrypted like package {}; give that package with --package and "
                          "the key of one of its groups with --group-key",
                          base::ToHex(package).view()));
}

/// Empty: not the bytes that were written.
std::optional<std::vector<uint8_t>> TakeBody(const RecordedSegment& segment, size_t index,
                                             const base::Digest& package, const ContentKeys& keys) {
  const store::RecorderBody& body = segment.head.bodies[index];
  const base::ByteView from = segment.bytes.subspan(body.offset, body.bytes);
  if (base::Crc32c(from) != body.crc) return std::nullopt;
  std::vector<uint8_t> bytes(from.begin(), from.end());
  if (!body.sealed) return bytes;
  const package::Secret key = KeyFor(keys, package);
  const bool snapshot = segment.about.cause == runtime::SegmentCause::kSnapshot;
  const SealPurpose purpose = snapshot ? SealPurpose::kSnapshot : SealPurpose::kRecording;
  if (!base::Ok(package::OpenAtRest(key, purpose, package, body.seal, bytes))) return std::nullopt;
  return bytes;
}

}  // namespace

Recording::Recording(std::vector<uint8_t> bytes, std::string name)
    : name_(std::move(name)), bytes_(std::move(bytes)) {
  const auto head = store::DecodeRecordingHead(bytes_);
  if (!head.ok()) {
    Refuse(name_, head.status() == Status::kUnimplemented
                      ? "it was written by a newer agent; use the dipper of that version"
                      : "it is not a recording; make one with dipper-agent recording export");
  }
  if (head->bytes != bytes_.size()) {
    Refuse(name_,
           fmt::format("it should have {} bytes and has {}: fetch it again", head->bytes, bytes_.size()));
  }
  size_t at = store::kRecordingHeadBytes;
  for (uint32_t i = 0; i < head->segments; ++i) {
    const size_t left = bytes_.size() - at;
    const uint64_t length = left < kLengthBytes ? 0 : base::Load<uint64_t>(bytes_.data() + at);
    if (length < store::kRecorderPageBytes || length > left - kLengthBytes) {
      Refuse(name_, fmt::format("segment {} does not fit in it: fetch it again", i + 1));
    }
    RecordedSegment& segment = segments_.emplace_back();
    segment.bytes = base::ByteView(bytes_).subspan(at + kLengthBytes, static_cast<size_t>(length));
    at += kLengthBytes + static_cast<size_t>(length);
    const Status status =
        store::DecodeSegmentHead(segment.bytes.first(store::kRecorderPageBytes), &segment.head);
    if (status == Status::kUnimplemented) {
      Refuse(name_, "a segment was written by a newer agent; use the dipper of that version");
    }
    if (!base::Ok(status) || segment.head.pages_offset > length) {
      segment.damage = "its head is damaged";
    } else if (!base::Ok(runtime::DecodeAbout(segment.head.About(), &segment.about))) {
      segment.damage = "what it says of its models is damaged";
    }
  }
}

bool Recording::Open(RecordedSegment* segment, const ContentKeys& keys,
                     std::array<LaneOpening, runtime::kLanes>* lanes, std::vector<uint8_t>* gate) {
  if (!segment->damage.empty()) return false;
  const char* const kNames[] = {"champion", "challenger"};
  for (size_t lane = 0; lane < runtime::kLanes; ++lane) {
    (*lanes)[lane] = {};
    const runtime::RecordedModel& model = segment->about.lanes[lane];
    if (model.package.IsZero()) continue;
    auto spec = TakeBody(*segment, 2 * lane, model.package, keys);
    auto image = TakeBody(*segment, 2 * lane + 1, model.package, keys);
    if (!spec || !image || base::Sha256Of(*image) != model.image) {
      segment->damage = fmt::format("the {}'s image or spec in it is damaged", kNames[lane]);
      return false;
    }
    (*lanes)[lane] = {std::move(*spec), std::move(*image)};
  }
  gate->clear();
  if (!segment->about.has_gate) return true;
  auto state = TakeBody(*segment, 4, segment->about.lanes[1].package, keys);
  if (!state) segment->damage = "the gate's state in it is damaged";
  if (state) *gate = std::move(*state);
  return segment->damage.empty();
}

std::optional<base::ByteView> Recording::OpenPage(const RecordedSegment& segment, uint64_t index,
                                                  const ContentKeys& keys, std::vector<uint8_t>* page,
                                                  store::RecorderPage* about) {
  const base::ByteView from = segment.bytes.subspan(
      segment.head.pages_offset + index * store::kRecorderPageBytes, store::kRecorderPageBytes);
  page->assign(from.begin(), from.end());
  base::MutableBytes records;
  if (!base::Ok(store::OpenPage(*page, about, &records))) return std::nullopt;
  if (about->segment != segment.head.sequence || about->index != index) return std::nullopt;
  if (!about->sealed) return records;
  // The champion's key, or the challenger's when only that is encrypted.
  const size_t lane = segment.head.bodies[1].sealed ? 0 : 1;
  const base::Digest& package = segment.about.lanes[lane].package;
  const package::Secret key = KeyFor(keys, package);
  const bool opened =
      base::Ok(package::OpenAtRest(key, SealPurpose::kRecording, package, store::PageSeal(*page), records));
  if (!opened) return std::nullopt;
  return records;
}

}  // namespace dipper::lab
