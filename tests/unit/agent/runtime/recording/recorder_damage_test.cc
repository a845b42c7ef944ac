// Recordings that were damaged, changed or made elsewhere: refused, cut, or told where they part.
#include <gtest/gtest.h>

#include "agent/store/page.h"
#include "tests/unit/agent/runtime/recording/recorder_world.h"
#include "tools/lab/error.h"

namespace dipper::runtime::test {
namespace {

using File = std::vector<uint8_t>;

File MakeFile(World** keep = nullptr) {
  static std::unique_ptr<World> world = [] {
    auto made = MakeWorld();
    DIPPER_CHECK(made->Serve(MakeRelease(SensorSpec(), "1"), 1));
    for (int i = 0; i < 600; ++i) made->Turn(5);
    return made;
  }();
  if (keep != nullptr) *keep = world.get();
  return Fetch(*world);
}

/// Where the newest segment begins in the file.
size_t LastSegment(const File& file, uint64_t* bytes = nullptr) {
  size_t at = store::kRecordingHeadBytes;
  for (;;) {
    const auto length = base::Load<uint64_t>(file.data() + at);
    if (at + 8 + length >= file.size()) {
      if (bytes != nullptr) *bytes = length;
      return at + 8;
    }
    at += 8 + length;
  }
}

std::string ErrorOf(const File& file) {
  try {
    static_cast<void>(ReplayOf(file));
  } catch (const lab::Error& error) {
    EXPECT_EQ(error.code(), lab::ExitCode::kVerificationFailed);
    return error.what();
  }
  return {};
}

/// Changes the head of every segment and seals it again, as another agent would have written it.
File Rewrite(File file, const std::function<void(SegmentAbout&)>& change) {
  for (size_t at = store::kRecordingHeadBytes; at < file.size();) {
    const auto length = base::Load<uint64_t>(file.data() + at);
    const auto page = base::MutableBytes(file).subspan(at + 8, store::kRecorderPageBytes);
    store::SegmentHead head;
    DIPPER_CHECK(Ok(store::DecodeSegmentHead(page, &head)));
    SegmentAbout about;
    DIPPER_CHECK(Ok(DecodeAbout(head.About(), &about)));
    change(about);
    head.about_bytes = EncodeAbout(about, head.about);
    store::EncodeSegmentHead(head, page);
    at += 8 + length;
  }
  return file;
}
/// Reads the newest segment's records, changes them, writes them anew, as another agent would have. `change`
/// is called for one record after the other until it says that it has changed one.
bool RewriteLast(File* file, const std::function<bool(Record&, uint64_t number)>& change) {
  const size_t last = LastSegment(*file);
  store::SegmentHead head;
  DIPPER_CHECK(
      Ok(store::DecodeSegmentHead(base::ByteView(*file).subspan(last, store::kRecorderPageBytes), &head)));
  RecordReader reader;
  RecordWriter writer;  // both tell records against the one before, from page to page
  bool taken = false;
  for (size_t at = last + head.pages_offset; at < file->size(); at += store::kRecorderPageBytes) {
    const auto page = base::MutableBytes(*file).subspan(at, store::kRecorderPageBytes);
    store::RecorderPage about;
    base::MutableBytes records;
    DIPPER_CHECK(Ok(store::OpenPage(page, &about, &records)));
    const File copy(records.begin(), records.end());
    reader.Open(copy);
    std::vector<uint8_t> fresh(store::kPageRecordBytes);
    writer.Reset(fresh);
    for (uint32_t i = 0; i < about.records; ++i) {
      Record record;
      DIPPER_CHECK(Ok(reader.Next(&record)));
      taken = taken || change(record, about.first_record + i);
      writer.Put(record);
    }
    std::ranges::copy(fresh, store::PageRecords(page).begin());
    store::SealPage(about, writer.bytes(), page);
  }
  return taken;
}

/// Inputs of the newest segment, from 0.
constexpr uint64_t kPlacesInTheSegment[] = {3, 20, 117, 300, 911};

uint64_t InputsOfLast(const File& file) {
  File copy = file;
  uint64_t inputs = 0;
  static_cast<void>(RewriteLast(&copy, [&](Record& record, uint64_t) {
    inputs += record.kind == RecordKind::kInput ? 1 : 0;
    return false;
  }));
  return inputs;
}

TEST(RecorderDamage, AChangedSampleIsNamedByItsOwnRecord) {
  const File good = MakeFile();
  const uint64_t inputs = InputsOfLast(good);
  ASSERT_GT(inputs, 100U);
  for (const uint64_t place : kPlacesInTheSegment) {
    if (place >= inputs) continue;
    File file = good;
    uint64_t seen = 0, changed = 0, id = 0;
    std::vector<float> values;
    ASSERT_TRUE(RewriteLast(&file, [&](Record& record, uint64_t number) {
      if (record.kind != RecordKind::kInput || seen++ != place) return false;
      values.assign(record.input.values.begin(), record.input.values.end());
      values[0] += 1e-3F;
      record.input.values = values;
      changed = number;
      id = record.input.id;
      return true;
    }));
    const lab::ReplayResult result = ReplayOf(file);
    ASSERT_TRUE(result.parting.has_value()) << place;
    EXPECT_TRUE(result.parting->exact());
    EXPECT_EQ(result.parting->record, changed);
    EXPECT_EQ(result.parting->sample_id, id);
    EXPECT_EQ(result.parting->what, "champion");
    EXPECT_EQ(result.parting->of, "answer");
    EXPECT_LT(result.parting->equal_at, changed);
    EXPECT_NE(result.parting->recorded, result.parting->computed);
    EXPECT_NE(result.parting->recorded.find("about "), std::string::npos);
  }
}

TEST(RecorderDamage, AChangedLabelIsNamedByItsOwnRecord) {
  File file = MakeFile();
  uint64_t changed = 0, labels = 0;
  ASSERT_TRUE(RewriteLast(&file, [&](Record& record, uint64_t number) {
    if (record.kind != RecordKind::kInput || !record.input.has_label || labels++ < 50) return false;
    record.input.label += 1e-9;
    changed = number;
    return true;
  }));
  const lab::ReplayResult result = ReplayOf(file);
  ASSERT_TRUE(result.parting.has_value());
  EXPECT_EQ(result.parting->record, changed);
  EXPECT_EQ(result.parting->of, "answer");
}

/// The newest segment alone.
File LastOnly(const File& file) {
  const size_t last = LastSegment(file);
  File only(store::kRecordingHeadBytes + 8);
  only.insert(only.end(), file.begin() + static_cast<long>(last), file.end());
  base::Store(only.data() + store::kRecordingHeadBytes, uint64_t{file.size() - last});
  store::EncodeRecordingHead({only.size(), 1}, only);
  return only;
}

TEST(RecorderDamage, ALearnerThatKnowsOtherThingsIsNamedByItsFirstAnswer) {
  auto world = MakeWorld({.segment_bytes = 48 * 1024, .segments = 3});
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  for (int i = 0; i < 2000; ++i) world->Turn(5);
  const File good = Fetch(*world);
  lab::Recording recording(good, "r");
  ASSERT_GE(recording.segments().size(), 2U);
  File file = LastOnly(good);
  ASSERT_FALSE(ReplayOf(file).parting.has_value());
  // What an earlier segment opened with: a whole image, but of another time.
  const auto found = std::ranges::find_if(recording.segments(), [&](const lab::RecordedSegment& segment) {
    return segment.about.lanes[0].package == recording.segments().back().about.lanes[0].package &&
           segment.about.lanes[0].image != recording.segments().back().about.lanes[0].image;
  });
  ASSERT_NE(found, recording.segments().end());
  const lab::RecordedSegment& before = *found;
  const size_t segment = store::kRecordingHeadBytes + 8;
  const auto page = base::MutableBytes(file).subspan(segment, store::kRecorderPageBytes);
  store::SegmentHead head;
  SegmentAbout about;
  ASSERT_EQ(store::DecodeSegmentHead(page, &head), base::Status::kOk);
  ASSERT_EQ(DecodeAbout(head.About(), &about), base::Status::kOk);
  const store::RecorderBody& old = before.head.bodies[1];
  ASSERT_EQ(old.bytes, head.bodies[1].bytes);
  std::ranges::copy(before.bytes.subspan(old.offset, old.bytes),
                    file.begin() + static_cast<long>(segment) + head.bodies[1].offset);
  head.bodies[1].crc = old.crc;
  about.lanes[0].image = before.about.lanes[0].image;
  head.about_bytes = EncodeAbout(about, head.about);
  store::EncodeSegmentHead(head, page);
  const lab::ReplayResult result = ReplayOf(file);
  ASSERT_TRUE(result.parting.has_value());
  EXPECT_TRUE(result.parting->exact());
  EXPECT_EQ(result.parting->record, head.first_record);
}

TEST(RecorderDamage, ALearnerThatLearnsWhereItMustNotIsNamedByTheNextAnswer) {
  auto world = MakeWorld();
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  for (int i = 0; i < 100; ++i) world->Turn(3);
  world->Command("freeze", 11);
  for (int i = 0; i < 100; ++i) world->Turn(3);
  File file = Fetch(*world);
  ASSERT_FALSE(ReplayOf(file).parting.has_value());
  // Released instead of frozen: it learns the next label, which the answer after that shows.
  uint64_t frozen = 0, learned = 0, shown = 0;
  ASSERT_FALSE(RewriteLast(&file, [&](Record& record, uint64_t number) {
    if (record.kind == RecordKind::kFrozen) {
      frozen = number;
      record.frozen = false;
    } else if (frozen != 0 && record.kind == RecordKind::kInput) {
      if (learned != 0 && shown == 0) shown = number;
      if (learned == 0 && record.input.has_label) learned = number;
    }
    return false;
  }));
  ASSERT_NE(shown, 0U);
  const lab::ReplayResult result = ReplayOf(file);
  ASSERT_TRUE(result.parting.has_value());
  EXPECT_TRUE(result.parting->exact());
  EXPECT_EQ(result.parting->record, shown);
  EXPECT_GT(result.parting->record, frozen);
}

/// A champion that knows, a challenger that does not, to the end of the trial.
File WorseChallenger() {
  auto world = MakeWorld({.segment_bytes = 256 * 1024, .segments = 8});
  DIPPER_CHECK(world->Serve(MakeRelease(SensorSpec("rls"), "1"), 1));
  for (int i = 0; i < 300; ++i) world->Turn(5);
  world->Offer(PairedRelease(SensorSpec("hoeffding_tree"), "2"), 2);
  DIPPER_CHECK(world->RunTo(schema::UpdateState::Trial));
  for (int i = 0; i < 4000 && world->updater().state() == schema::UpdateState::Trial; ++i) world->Turn(3);
  DIPPER_CHECK(world->updater().state() == schema::UpdateState::FellBack);
  for (int i = 0; i < 20; ++i) world->Turn(3);
  return Fetch(*world);
}

TEST(RecorderDamage, TheGateDecidesAgainAndWhereItDidIsNamed) {
  const File file = WorseChallenger();
  const lab::ReplayResult good = ReplayOf(file);
  ASSERT_FALSE(good.parting.has_value()) << good.parting->of << good.parting->computed;
  EXPECT_EQ(good.decisions, 1U);
  // A gate that is surer of itself would have ended the trial sooner.
  const File hasty = Rewrite(file, [](SegmentAbout& about) { about.gate.alpha = 0.5; });
  const lab::ReplayResult early = ReplayOf(hasty);
  ASSERT_TRUE(early.parting.has_value());
  EXPECT_EQ(early.parting->of, "decision");
  EXPECT_TRUE(early.parting->exact());
  EXPECT_EQ(early.parting->recorded, "the trial goes on");
  EXPECT_EQ(early.parting->computed, "ShownWorse");
  EXPECT_LT(early.parting->record, good.last_record);
  // One that is less sure would not have ended it there.
  const File slow = Rewrite(file, [](SegmentAbout& about) { about.gate.alpha = 1e-9; });
  const lab::ReplayResult late = ReplayOf(slow);
  ASSERT_TRUE(late.parting.has_value());
  EXPECT_EQ(late.parting->of, "decision");
  EXPECT_EQ(late.parting->recorded, "ShownWorse");
  EXPECT_EQ(late.parting->computed, "the trial goes on");
  EXPECT_GT(late.parting->record, early.parting->record);
}

TEST(RecorderDamage, AGatePolicyOutOfRangeLeavesItsSegmentOut) {
  const File file = Rewrite(WorseChallenger(), [](SegmentAbout& about) { about.gate.alpha = -1; });
  const lab::ReplayResult result = ReplayOf(file);
  EXPECT_FALSE(result.parting.has_value());
  ASSERT_FALSE(result.notes.empty());
  EXPECT_NE(result.notes.front().find("the gate's state in it cannot be used"), std::string::npos);
  EXPECT_EQ(result.decisions, 0U);
}

TEST(RecorderDamage, WithoutAnswersASpanIsNamed) {
  // As agents before the answers were recorded wrote it.
  File file = MakeFile();
  static_cast<void>(RewriteLast(&file, [](Record& record, uint64_t) {
    record.answered = {};
    return false;
  }));
  const uint64_t before = ReplayOf(file).answers;
  uint64_t changed = 0;
  std::vector<float> values;
  ASSERT_TRUE(RewriteLast(&file, [&](Record& record, uint64_t number) {
    if (record.kind != RecordKind::kInput) return false;
    values.assign(record.input.values.begin(), record.input.values.end());
    values[0] += 1e-3F;
    record.input.values = values;
    changed = number;
    return true;
  }));
  const lab::ReplayResult result = ReplayOf(file);
  EXPECT_EQ(result.answers, before);
  ASSERT_TRUE(result.parting.has_value());
  EXPECT_FALSE(result.parting->exact());
  EXPECT_EQ(result.parting->of, "image");
  EXPECT_LE(result.parting->equal_at, changed);
  EXPECT_GE(result.parting->record, changed);
  EXPECT_LE(result.parting->record - result.parting->equal_at, 2 * Recorder::kDigestEvery);
  EXPECT_EQ(result.parting->recorded.size(), 64U);
}

TEST(RecorderDamage, OtherNumericsAreRefusedByName) {
  const File file = Rewrite(MakeFile(), [](SegmentAbout& about) { about.numerics += 1; });
  const std::string error = ErrorOf(file);
  EXPECT_NE(error.find("numerics version " + std::to_string(learn::kNumericsVersion + 1)), std::string::npos)
      << error;
  EXPECT_NE(error.find("use the dipper of that agent's version"), std::string::npos);
  const std::string layout =
      ErrorOf(Rewrite(MakeFile(), [](SegmentAbout& about) { about.image_layout = 99; }));
  EXPECT_NE(layout.find("image layout 99"), std::string::npos) << layout;
}

TEST(RecorderDamage, ADamagedImageLeavesItsSegmentOut) {
  World* world = nullptr;
  File file = MakeFile(&world);
  lab::Recording whole(file, "r");
  ASSERT_GE(whole.segments().size(), 2U);
  const size_t first = store::kRecordingHeadBytes + 8;
  store::SegmentHead head;
  ASSERT_EQ(store::DecodeSegmentHead(base::ByteView(file).subspan(first, store::kRecorderPageBytes), &head),
            base::Status::kOk);
  const size_t lane = head.bodies[1].bytes != 0 ? 1 : 3;
  file[first + head.bodies[lane].offset + 100] ^= 1;
  const lab::ReplayResult result = ReplayOf(file);
  EXPECT_FALSE(result.parting.has_value());
  ASSERT_EQ(result.notes.size(), 1U);
  EXPECT_NE(result.notes[0].find("image or spec in it is damaged"), std::string::npos) << result.notes[0];
  EXPECT_EQ(result.segments, whole.segments().size() - 1);
  EXPECT_EQ(result.images[0], world->updater().champion()->ImageDigest());
}

TEST(RecorderDamage, AFlippedByteAnywhereNeverGivesAnotherAnswer) {
  World* world = nullptr;
  const File file = MakeFile(&world);
  const base::Digest right = world->updater().champion()->ImageDigest();
  for (size_t at = 0; at < file.size(); at += at < 9000 ? 37 : 1013) {
    File damaged = file;
    damaged[at] ^= 0x40;
    try {
      const lab::ReplayResult result = ReplayOf(damaged);
      // What is left is right, or is said to be missing.
      EXPECT_FALSE(result.parting.has_value()) << at;
      EXPECT_TRUE(result.images[0] == right || !result.notes.empty()) << at;
    } catch (const lab::Error& error) {
      EXPECT_EQ(error.code(), lab::ExitCode::kVerificationFailed) << at;
    }
  }
}

TEST(RecorderDamage, AFileCutShortIsRefused) {
  const File file = MakeFile();
  for (const size_t length : {size_t{0}, size_t{10}, size_t{63}, size_t{64}, size_t{100}, file.size() - 1}) {
    const std::string error = ErrorOf(File(file.begin(), file.begin() + static_cast<long>(length)));
    EXPECT_FALSE(error.empty()) << length;
  }
  EXPECT_NE(ErrorOf(File{'h', 'e', 'l', 'l', 'o'}).find("it is not a recording"), std::string::npos);
}

TEST(RecorderDamage, APageTornAtEachByteEndsTheRecordingBeforeIt) {
  World* world = nullptr;
  const File file = MakeFile(&world);
  const size_t last = LastSegment(file);
  store::SegmentHead head;
  ASSERT_EQ(store::DecodeSegmentHead(base::ByteView(file).subspan(last, store::kRecorderPageBytes), &head),
            base::Status::kOk);
  // The newest segment's first page, torn on the medium: what lies behind the tear is as it was erased.
  const size_t page = last + head.pages_offset;
  store::RecorderPage about;
  File copy(file.begin() + static_cast<long>(page), file.begin() + static_cast<long>(page) + 4096);
  base::MutableBytes records;
  ASSERT_EQ(store::OpenPage(copy, &about, &records), base::Status::kOk);
  const size_t used = store::kPageHeadBytes + store::kRecorderSealBytes + records.size();
  for (size_t cut = 0; cut < used; ++cut) {
    File torn(file.begin() + static_cast<long>(page), file.begin() + static_cast<long>(page) + 4096);
    std::fill(torn.begin() + static_cast<long>(cut), torn.end(), uint8_t{0xFF});
    store::RecorderPage found;
    ASSERT_NE(store::OpenPage(torn, &found, &records), base::Status::kOk) << cut;
  }
  File torn = file;
  std::fill_n(torn.begin() + static_cast<long>(page + used / 2), 4096 - used / 2, uint8_t{0xFF});
  const lab::ReplayResult result = ReplayOf(torn);
  EXPECT_FALSE(result.parting.has_value());
  ASSERT_FALSE(result.notes.empty());
  EXPECT_NE(result.notes.back().find("page 1, which is damaged"), std::string::npos);
  EXPECT_LT(result.last_record, head.first_record);
}

}  // namespace
}  // namespace dipper::runtime::test
