// Implementation of snapshot.h.
#include "agent/runtime/recording/snapshot.h"

#include <algorithm>
#include <cstdio>

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"
#include "agent/package/seal.h"
#include "agent/store/page.h"

namespace dipper::runtime {

using base::Status;
using schema::Reason;

namespace {

constexpr uint32_t kMagic = 0x424E5344;  // "DSNB"
constexpr uint16_t kLayout = 1;
constexpr uint64_t kLengthBytes = 8;
constexpr size_t kHashPart = 4096;

uint32_t BlockCount(uint64_t bytes) {
  return static_cast<uint32_t>((bytes + kSnapshotBlockBytes - 1) / kSnapshotBlockBytes);
}

/// A file with one segment and no pages: head, spec, image.
uint64_t ImageFileBytes(uint64_t spec_bytes, uint64_t image_bytes) {
  return store::kRecordingHeadBytes + kLengthBytes + store::kRecorderPageBytes +
         base::AlignUp(base::AlignUp(spec_bytes, store::kSectorBytes) + image_bytes,
                       store::kRecorderPageBytes);
}

telemetry::Topic Join(std::initializer_list<std::string_view> parts) {
  std::array<char, telemetry::kMaxTopicBytes> text{};
  size_t length = 0;
  for (const std::string_view part : parts) {
    if (part.size() > text.size() - length) return {};
    std::copy(part.begin(), part.end(), text.begin() + static_cast<std::ptrdiff_t>(length));
    length += part.size();
  }
  telemetry::Topic topic;
  topic.AssignTruncated({text.data(), length});
  return topic;
}

}  // namespace

telemetry::Topic SnapshotFilter(std::string_view fleet, std::string_view device, std::string_view model) {
  const bool good = telemetry::IsTopicId(fleet) && telemetry::IsNodeId(device) && telemetry::IsTopicId(model);
  if (!good) return {};
  return Join({telemetry::kTopicRoot, fleet, "/", device, "/m/", model, "/snapshot/+/+"});
}

telemetry::Topic SnapshotTopic(std::string_view fleet, std::string_view device, std::string_view model,
                               const base::Digest& file, uint32_t block) {
  if (SnapshotFilter(fleet, device, model).empty()) return {};
  std::array<char, 16> number{};
  const int length = std::snprintf(number.data(), number.size(), "%u", block);
  return Join({telemetry::kTopicRoot,
               fleet,
               "/",
               device,
               "/m/",
               model,
               "/snapshot/",
               base::ToHex(file).view(),
               "/",
               {number.data(), static_cast<size_t>(length)}});
}

base::Result<SnapshotBlock> DecodeSnapshotBlock(base::ByteView message) {
  DIPPER_ASSIGN_OR_RETURN(const uint32_t length, store::Unseal(message, kMagic, kLayout));
  if (length != message.size() || length <= kSnapshotHeadBytes ||
      length > kSnapshotHeadBytes + kSnapshotBlockBytes)
    return Status::kDataLoss;
  base::ByteReader reader(message.subspan(store::kEnvelopeBytes));
  SnapshotBlock block;
  block.total_bytes = reader.Get<uint64_t>();
  block.index = reader.Get<uint32_t>();
  block.bytes = message.subspan(kSnapshotHeadBytes);
  const uint64_t begin = uint64_t{block.index} * kSnapshotBlockBytes;
  if (block.total_bytes > kMaxSnapshotBytes || begin >= block.total_bytes) return Status::kDataLoss;
  const uint64_t wanted = std::min<uint64_t>(kSnapshotBlockBytes, block.total_bytes - begin);
  if (block.bytes.size() != wanted) return Status::kDataLoss;
  return block;
}

SnapshotSender::SnapshotSender(const SnapshotConfig& config, hal::Clock& clock, telemetry::Outbox& outbox,
                               Reporter& reporter, Recorder* recorder)
    : config_(config), clock_(clock), outbox_(outbox), reporter_(reporter), recorder_(recorder) {
  if (!config.allow_image) return;
  memory_bytes_ = ImageFileBytes(learn::kMaxSpecBytes, config.max_image_bytes);
  memory_ = std::make_unique<uint8_t[]>(static_cast<size_t>(memory_bytes_));
}

void SnapshotSender::Tell(std::string_view how) {
  // No count: in this kind of event it is of samples, and nobody has counted a recording's.
  std::array<char, 160> text{};
  const char* what = of_recorder_ ? "recording" : "image";
  const int how_length = static_cast<int>(how.size());
  const int length =
      digest_.IsZero()
          ? std::snprintf(text.data(), text.size(), "snapshot: %s %.*s", what, how_length, how.data())
          : std::snprintf(text.data(), text.size(), "snapshot: %s %.12s of %llu bytes %.*s", what,
                          base::ToHex(digest_).view().data(), static_cast<unsigned long long>(total_),
                          how_length, how.data());
  reporter_.Send(telemetry::Event{.kind = schema::EventKind::RawDataSent,
                                  .package = {.digest = package_},
                                  .image = image_,
                                  .detail = {text.data(), static_cast<size_t>(length)}},
                 config_.model, config_.place);
}

/// The file with the image as it is now, sealed if its package is encrypted.
Reason SnapshotSender::TakeImage(update::Updater& updater) {
  update::LoadedModel* model = updater.loaded(false);
  if (model == nullptr) return Reason::NoModel;
  const base::ByteView spec = model->spec->bytes();
  const base::ByteView image = model->image_memory();
  total_ = ImageFileBytes(spec.size(), image.size());
  if (total_ > memory_bytes_) return Reason::TooLarge;
  const base::MutableBytes file(memory_.get(), static_cast<size_t>(total_));
  std::ranges::fill(file, uint8_t{0});
  store::EncodeRecordingHead({total_, 1}, file);
  const base::MutableBytes segment = file.subspan(store::kRecordingHeadBytes + kLengthBytes);
  base::Store(file.data() + store::kRecordingHeadBytes, uint64_t{segment.size()});
  SegmentAbout about;
  about.wall_ns = clock_.WallNs();
  about.monotonic_ns = clock_.MonotonicNs();
  about.numerics = learn::kNumericsVersion;
  about.image_layout = learn::kImageLayoutVersion;
  about.cause = SegmentCause::kSnapshot;
  about.session = config_.session;
  about.agent_version.AssignTruncated(config_.agent_version);
  package_ = model->package;
  image_ = model->model->ImageDigest();
  about.lanes[0] = {.package = package_, .image = image_, .name = model->name, .version = model->version};
  store::SegmentHead head;
  head.sequence = head.first_record = 1;
  head.segment_bytes = head.pages_offset = static_cast<uint32_t>(segment.size());
  head.ring.AssignTruncated(config_.model);
  head.about_bytes = EncodeAbout(about, head.about);
  store::RecorderBody& of_spec = head.bodies[0];
  store::RecorderBody& of_image = head.bodies[1];
  of_spec.offset = store::kRecorderPageBytes;
  of_spec.bytes = static_cast<uint32_t>(spec.size());
  of_image.offset = static_cast<uint32_t>(of_spec.offset + base::AlignUp(spec.size(), store::kSectorBytes));
  of_image.bytes = static_cast<uint32_t>(image.size());
  std::ranges::copy(spec, segment.subspan(of_spec.offset).begin());
  const base::MutableBytes copy = segment.subspan(of_image.offset, image.size());
  std::ranges::copy(image, copy.begin());
  of_image.sealed = model->encrypted;
  if (model->encrypted && !base::Ok(package::SealAtRest(model->content_key, package::SealPurpose::kSnapshot,
                                                        model->package, copy, of_image.seal)))
    return Reason::StorageError;
  of_spec.crc = base::Crc32c(spec);
  of_image.crc = base::Crc32c(copy);
  store::EncodeSegmentHead(head, segment.first(store::kRecorderPageBytes));
  return Reason::None;
}

Status SnapshotSender::Read(uint64_t offset, base::MutableBytes to) {
  if (of_recorder_) return recorder_->ReadFile(offset, to);
  std::copy_n(memory_.get() + offset, to.size(), to.begin());
  return Status::kOk;
}

Reason SnapshotSender::Begin(std::string_view what, update::Updater& updater) {
  const bool recording = what == "recording";
  if (!recording && !what.empty() && what != "image") return Reason::BadFormat;
  if (recording ? !config_.allow_recording : !config_.allow_image) return Reason::NotAllowed;
  if (busy() || (recording && recorder_ != nullptr && recorder_->fetched())) return Reason::Busy;
  package_ = image_ = {};
  if (recording) {
    const Status status = recorder_ != nullptr ? recorder_->BeginFetch() : Status::kNotFound;
    if (!base::Ok(status)) return status == Status::kNotFound ? Reason::NoModel : Reason::StorageError;
  } else if (const Reason reason = TakeImage(updater); reason != Reason::None) {
    return reason;
  }
  of_recorder_ = recording;
  stage_ = recording ? Stage::kMeasuring : Stage::kHashing;
  digest_ = {};
  hash_ = {};
  hashed_ = 0;
  next_slice_ns_ = 0;
  told_waiting_ = false;
  next_ = acknowledged_ = 0;
  waiting_ = {};
  allowance_ = 0;
  return Reason::None;
}

/// One turn's part of reading a file before it can be sent.
void SnapshotSender::Prepare() {
  if (stage_ == Stage::kHashing) {
    HashSlice();
    return;
  }
  const auto done = recorder_->Measure(kSliceBytes / store::kRecorderPageBytes);
  if (!done.ok()) {
    End("was given up: it cannot be read");
  } else if (*done) {
    total_ = recorder_->file_bytes();
    stage_ = Stage::kHashing;
  }
}

void SnapshotSender::HashSlice() {
  std::array<uint8_t, kHashPart> part;
  const uint64_t end = std::min<uint64_t>(total_, hashed_ + kSliceBytes);
  while (hashed_ < end) {
    const auto bytes =
        base::MutableBytes(part).first(static_cast<size_t>(std::min<uint64_t>(kHashPart, end - hashed_)));
    if (!base::Ok(Read(hashed_, bytes))) {
      End("was given up: it cannot be read");
      return;
    }
    hash_.Update(bytes);
    hashed_ += bytes.size();
  }
  if (hashed_ < total_) return;
  digest_ = hash_.Finish();
  stage_ = Stage::kSending;
  Tell("is being sent");
}

void SnapshotSender::End(std::string_view how, bool whole) {
  stage_ = Stage::kIdle;
  if (of_recorder_) recorder_->Release(whole);
  Tell(how);
}

void SnapshotSender::OnEvent(const telemetry::TransportEvent& event) {
  if (stage_ != Stage::kSending) return;
  if (event.kind == telemetry::TransportEvent::Kind::kDisconnected) {
    // What was not acknowledged is sent again: goes on where the acknowledged blocks end.
    for (Waiting& waiting : waiting_) {
      if (waiting.used) next_ = std::min(next_, waiting.block);
      waiting = {};
    }
    return;
  }
  if (event.kind != telemetry::TransportEvent::Kind::kPublished) return;
  for (Waiting& waiting : waiting_) {
    if (!waiting.used || waiting.token != event.token) continue;
    waiting.used = false;
    if (event.reason != 0) {
      End("was refused by the broker");
      return;
    }
    acknowledged_ = std::max(acknowledged_, waiting.block + 1);
  }
  const bool idle = std::ranges::none_of(waiting_, &Waiting::used);
  if (idle && next_ == BlockCount(total_)) End("was sent", true);
}

/// False: not now.
bool SnapshotSender::SendBlock() {
  const auto free = std::ranges::find(waiting_, false, &Waiting::used);
  if (free == waiting_.end() || next_ == BlockCount(total_)) return false;
  if (!outbox_.budget().MayCatchUp()) {
    // Once a file: the line that it waits for rises all day, so it stops and goes on again and again.
    if (!told_waiting_) Tell("waits: telemetry.max_bytes_per_day leaves it no bytes now");
    told_waiting_ = true;
    return false;
  }
  const uint64_t begin = uint64_t{next_} * kSnapshotBlockBytes;
  const auto count = static_cast<size_t>(std::min<uint64_t>(kSnapshotBlockBytes, total_ - begin));
  const auto message = base::MutableBytes(message_).first(kSnapshotHeadBytes + count);
  if (!base::Ok(Read(begin, message.subspan(kSnapshotHeadBytes)))) {
    End("was given up: it cannot be read any more");
    return false;
  }
  base::ByteWriter writer(message.first(kSnapshotHeadBytes).subspan(store::kEnvelopeBytes));
  writer.Put(total_);
  writer.Put(next_);
  writer.Put(uint32_t{0});
  store::Seal(message, kMagic, kLayout);
  uint32_t token = 0;
  const auto topic = SnapshotTopic(config_.fleet, config_.device, config_.model, digest_, next_);
  const Status status = outbox_.SendBlock(topic, message, &token);
  if (status == Status::kInvalidArgument) {
    End("was given up: mqtt.max_message_bytes is too small for its blocks");
    return false;
  }
  if (!base::Ok(status)) return false;
  *free = {.used = true, .token = token, .block = next_++};
  allowance_ -= static_cast<double>(topic.view().size() + message.size());
  return true;
}

void SnapshotSender::Poll(int64_t now_ns) {
  const auto passed = static_cast<double>(std::max<int64_t>(now_ns - last_poll_ns_, 0)) * 1e-9;
  last_poll_ns_ = now_ns;
  if (stage_ == Stage::kIdle) return;
  if (stage_ != Stage::kSending) {
    if (now_ns < next_slice_ns_) return;
    next_slice_ns_ = now_ns + kSlicePauseNs;
    Prepare();
    return;
  }
  const double most = static_cast<double>(kWindow * message_.size());
  allowance_ = std::min(most, allowance_ + passed * static_cast<double>(config_.bytes_per_s));
  while (stage_ == Stage::kSending && outbox_.connected() &&
         allowance_ >= static_cast<double>(message_.size()) && SendBlock()) {
  }
}

}  // namespace dipper::runtime
