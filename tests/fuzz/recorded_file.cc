// Implementation of recorded_file.h.
#include "tests/fuzz/recorded_file.h"

#include <array>
#include <string>

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"
#include "agent/runtime/recording/recorder_records.h"
#include "agent/store/page.h"
#include "agent/store/recorder_format.h"
#include "agent/update/loaded_model.h"
#include "tests/unit/agent/learn/spec_maker.h"
#include "tools/lab/desk_model.h"
#include "tools/lab/spec_text.h"
#include "tools/lab/train.h"

namespace dipper::fuzz {
namespace {

using runtime::kLanes;

constexpr uint64_t kSpecBudget = 8192;
constexpr size_t kSegmentAt = store::kRecordingHeadBytes + 8;
constexpr int kPages = 2, kSamplesAPage = 24;
// docs/reference/recording.md: places that the checksums need.
constexpr size_t kHeadPagesOffset = 52, kHeadAboutBytes = 56, kHeadBodies = 132, kBodyBytes = 80,
                 kHeadAbout = 532;
constexpr size_t kAboutImage = 72 + 32, kAboutLane = 208;
constexpr uint32_t kFileMagic = 0x4C465244, kHeadMagic = 0x47535244, kPageMagic = 0x47505244;
constexpr int kMaxEdits = 24;

schema::SpecT SpecOf(const char* learner) {
  schema::SpecT spec = learn::testing::MakeSpec(learner, 2, 0);
  spec.budget_bytes = kSpecBudget;
  return spec;
}

/// A model that has learned a little, with what its segment opens with.
struct Lane {
  explicit Lane(const char* learner)
      : spec(SpecOf(learner)),
        compiled(lab::CompileSpec(spec)),
        desk(spec),
        model(desk.Attach(lab::FreshImage(spec).image)) {}
  schema::SpecT spec;
  std::vector<uint8_t> compiled;
  lab::DeskModel desk;
  learn::Model model;
};

base::Digest Named(uint8_t byte) {
  base::Digest digest;
  digest.bytes.fill(byte);
  return digest;
}

void PutBody(std::vector<uint8_t>* file, store::SegmentHead* head, size_t index, base::ByteView bytes) {
  const size_t at = base::AlignUp(file->size() - kSegmentAt, store::kSectorBytes);
  head->bodies[index] = {.offset = static_cast<uint32_t>(at),
                         .bytes = static_cast<uint32_t>(bytes.size()),
                         .crc = base::Crc32c(bytes)};
  file->resize(kSegmentAt + at);
  file->insert(file->end(), bytes.begin(), bytes.end());
}

/// Opening of a file with one segment; pages may be appended. @returns the head as it was encoded.
store::SegmentHead Open(std::vector<uint8_t>* file, runtime::SegmentAbout* about, std::vector<Lane*> lanes,
                        base::ByteView gate) {
  file->assign(kSegmentAt + store::kRecorderPageBytes, 0);
  store::SegmentHead head;
  head.sequence = head.first_record = 1;
  for (size_t i = 0; i < lanes.size(); ++i) {
    about->lanes[i].package = Named(static_cast<uint8_t>(i + 1));
    about->lanes[i].image = lanes[i]->model.ImageDigest();
    PutBody(file, &head, 2 * i, lanes[i]->compiled);
    PutBody(file, &head, 2 * i + 1, lanes[i]->model.image());
  }
  if (!gate.empty()) PutBody(file, &head, 4, gate);
  file->resize(kSegmentAt + base::AlignUp(file->size() - kSegmentAt, store::kRecorderPageBytes));
  head.pages_offset = static_cast<uint32_t>(file->size() - kSegmentAt);
  head.segment_bytes = head.pages_offset + kPages * store::kRecorderPageBytes;
  head.ring.AssignTruncated("main");
  about->numerics = learn::kNumericsVersion;
  about->image_layout = learn::kImageLayoutVersion;
  head.about_bytes = runtime::EncodeAbout(*about, head.about);
  store::EncodeSegmentHead(head, base::MutableBytes(*file).subspan(kSegmentAt, store::kRecorderPageBytes));
  return head;
}

void CloseFile(std::vector<uint8_t>* file) {
  store::EncodeRecordingHead({file->size(), 1}, *file);
  base::Store(file->data() + store::kRecordingHeadBytes, uint64_t{file->size() - kSegmentAt});
}

/// Both models take it; the gate counts it.
runtime::Record Fed(Lane* champion, Lane* challenger, update::Gate* gate, const runtime::ModelInput& input) {
  runtime::Record record{.to_champion = true, .to_challenger = true, .input = input};
  std::array<runtime::FeedAnswer, kLanes> answers{};
  Lane* const lanes[] = {champion, challenger};
  for (size_t i = 0; i < kLanes; ++i) {
    runtime::StepModel(lanes[i]->model, true, input, &answers[i]);
    record.answered[i] = true;
    record.marks[i] = runtime::MarkOf(answers[i]);
  }
  if (answers[1].observed) {
    update::CountSample(&champion->desk.spec(), &answers[0].output, challenger->desk.spec(),
                        answers[1].output, gate);
  }
  if (answers[1].learned && answers[1].outcome.valid)
    gate->Add(answers[1].outcome.loss, answers[0].outcome.loss);
  return record;
}

runtime::Record Digests(Lane* champion, Lane* challenger, const update::Gate& gate) {
  std::vector<uint8_t> state(update::kGateStateBytes);
  DIPPER_CHECK(gate.Save(state).ok());
  return {.kind = runtime::RecordKind::kDigests,
          .images = {champion->model.ImageDigest(), challenger->model.ImageDigest()},
          .has_gate = true,
          .powered_ns = gate.powered_ns(),
          .gate_state = base::Sha256Of(state)};
}

std::vector<uint8_t> MakeRecording() {
  Lane champion("linear"), challenger("rls");
  runtime::SegmentAbout about;
  about.has_gate = true;
  about.gate = {.loss_bound = 4, .margin = 0.2, .deadline_samples = 1000};
  update::Gate gate(about.gate, Named(2));
  std::vector<uint8_t> state(update::kGateStateBytes), file;
  DIPPER_CHECK(gate.Save(state).ok());
  const store::SegmentHead head = Open(&file, &about, {&champion, &challenger}, state);
  runtime::RecordWriter writer;
  learn::testing::Numbers numbers(1);
  uint64_t first = 1;
  for (uint32_t page = 0; page < kPages; ++page) {
    std::vector<uint8_t> bytes(store::kRecorderPageBytes);
    writer.Reset(store::PageRecords(bytes));
    uint32_t count = 0;
    const auto put = [&](const runtime::Record& record) {
      writer.Put(record);
      ++count;
    };
    for (int i = 0; i < kSamplesAPage; ++i) {
      const uint64_t id = page * uint64_t{kSamplesAPage} + static_cast<uint64_t>(i);
      const std::array<float, 2> values{static_cast<float>(numbers.Normal()), 1.0F};
      const bool late = i % 5 == 4;
      put(Fed(&champion, &challenger, &gate,
              {.id = id,
               .time_ns = 1000,
               .has_label = !late,
               .label = 2.0 * static_cast<double>(values[0]),
               .values = values}));
      if (!late) continue;
      put(Fed(&champion, &challenger, &gate,
              {.is_label = true, .id = id, .time_ns = 1000, .has_label = true, .label = 1, .values = {}}));
    }
    put({.kind = runtime::RecordKind::kTiming, .took_ns = 12345});
    put(Digests(&champion, &challenger, gate));
    static_cast<void>(store::SealPage(
        {.segment = head.sequence, .index = page, .records = count, .first_record = first, .sealed = false},
        writer.bytes(), bytes));
    first += count;
    file.insert(file.end(), bytes.begin(), bytes.end());
  }
  CloseFile(&file);
  return file;
}

std::vector<uint8_t> MakeSnapshot() {
  Lane champion("linear");
  runtime::SegmentAbout about;
  about.cause = runtime::SegmentCause::kSnapshot;
  std::vector<uint8_t> file;
  static_cast<void>(Open(&file, &about, {&champion}, {}));
  CloseFile(&file);
  return file;
}

bool Inside(base::MutableBytes bytes, uint64_t at, uint64_t count) {
  return at <= bytes.size() && count <= bytes.size() - at;
}

/// The envelope's own length, if it can be one.
size_t LengthOf(base::MutableBytes bytes, size_t least, size_t most) {
  const auto length = base::Load<uint32_t>(bytes.data() + 8);
  return length < least || length > most ? most : length;
}

}  // namespace

const std::vector<uint8_t>& GoodRecording() {
  static const std::vector<uint8_t> file = MakeRecording();
  return file;
}

const std::vector<uint8_t>& GoodSnapshot() {
  static const std::vector<uint8_t> file = MakeSnapshot();
  return file;
}

void EditFile(Input& input, base::MutableBytes file) {
  for (int i = 0; i < kMaxEdits && !input.empty(); ++i) {
    const uint8_t how = input.Get<uint8_t>();
    const auto pages = base::Load<uint32_t>(file.data() + kSegmentAt + kHeadPagesOffset);
    size_t at = 0;
    switch (how % 6) {
      case 0:  // the file's head and the segment's length
        at = input.Below(kSegmentAt);
        break;
      case 1:  // the segment's head without its bodies
        at = kSegmentAt + input.Below(kHeadBodies);
        break;
      case 2:
        at = kSegmentAt + kHeadBodies + input.Below(5 * kBodyBytes);
        break;
      case 3:
        at = kSegmentAt + kHeadAbout + input.Below(800);
        break;
      case 4:  // pages, as far as they are where they were
        at = kSegmentAt + pages + input.Below(kPages * store::kRecorderPageBytes);
        break;
      default:  // specs, images, the gate's state
        at = kSegmentAt + store::kRecorderPageBytes + input.Get<uint16_t>();
        break;
    }
    if (at >= file.size()) continue;
    input.Fill(file.subspan(at, std::min<size_t>(size_t{1} << (how / 6 % 4), file.size() - at)));
  }
}

void RemakeChecks(base::MutableBytes file, bool images) {
  store::Seal(file.first(store::kRecordingHeadBytes), kFileMagic, 1);
  const base::MutableBytes segment = file.subspan(kSegmentAt);
  for (size_t body = 0; body < store::kRecorderBodies; ++body) {
    uint8_t* const place = segment.data() + kHeadBodies + body * kBodyBytes;
    const auto offset = base::Load<uint32_t>(place), bytes = base::Load<uint32_t>(place + 4);
    if (!Inside(segment, offset, bytes)) continue;
    base::Store(place + 8, base::Crc32c(segment.subspan(offset, bytes)));
    if (!images || body % 2 == 0) continue;
    const base::Digest digest = base::Sha256Of(segment.subspan(offset, bytes));
    std::ranges::copy(digest.bytes, segment.data() + kHeadAbout + kAboutImage + body / 2 * kAboutLane);
  }
  const size_t about =
      std::min<size_t>(base::Load<uint32_t>(segment.data() + kHeadAboutBytes), store::kMaxAboutBytes);
  store::Seal(segment.first(kHeadAbout + about), kHeadMagic, 1);
  const auto pages = base::Load<uint32_t>(segment.data() + kHeadPagesOffset);
  for (uint64_t at = pages; Inside(segment, at, store::kRecorderPageBytes); at += store::kRecorderPageBytes) {
    const auto page = segment.subspan(static_cast<size_t>(at), store::kRecorderPageBytes);
    const size_t least = store::kPageHeadBytes + store::kRecorderSealBytes;
    store::Seal(page.first(LengthOf(page, least, page.size())), kPageMagic, 1);
  }
}

void PlantRecords(Input& input, base::MutableBytes file) {
  const auto pages = base::Load<uint32_t>(GoodRecording().data() + kSegmentAt + kHeadPagesOffset);
  const auto page = file.subspan(kSegmentAt + pages, store::kRecorderPageBytes);
  const uint32_t count = input.Get<uint8_t>();
  const base::ByteView records = input.Take(store::kPageRecordBytes);
  std::ranges::copy(records, store::PageRecords(page).begin());
  static_cast<void>(
      store::SealPage({.segment = 1, .index = 0, .records = count, .first_record = 1, .sealed = false},
                      static_cast<uint32_t>(records.size()), page));
}

}  // namespace dipper::fuzz
