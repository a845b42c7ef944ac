// Recordings that were damaged, changed or made elsewhere: refused, cut, or told where they part.
#include <gtest/gtest.h>

#include "agent/store/page.h"
#include "tests/unit/agent/runtime/recorder_world.h"
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

/// Reads a page's records, changes them, writes them anew.
void RewritePage(base::MutableBytes page, const std::function<void(Record&, uint64_t number)>& change) {
  store::RecorderPage about;
  base::MutableBytes records;
  DIPPER_CHECK(Ok(store::OpenPage(page, &about, &records)));
  RecordReader reader;
  RecordWriter writer;
  const File copy(records.begin(), records.end());
  reader.Open(copy);
  std::vector<uint8_t> fresh(store::kPageRecordBytes);
  writer.Reset(fresh);
  for (uint32_t i = 0; i < about.records; ++i) {
    Record record;
    DIPPER_CHECK(Ok(reader.Next(&record)));
    change(record, about.first_record + i);
    writer.Put(record);
  }
  std::ranges::copy(fresh, store::PageRecords(page).begin());
  store::SealPage(about, writer.bytes(), page);
}

TEST(RecorderDamage, AChangedSampleIsFoundByRecordAndDigest) {
  File file = MakeFile();
  const size_t last = LastSegment(file);
  store::SegmentHead head;
  ASSERT_EQ(store::DecodeSegmentHead(base::ByteView(file).subspan(last, store::kRecorderPageBytes), &head),
            base::Status::kOk);
  uint64_t changed = 0;
  std::vector<float> values;
  RewritePage(base::MutableBytes(file).subspan(last + head.pages_offset, store::kRecorderPageBytes),
              [&](Record& record, uint64_t number) {
                if (record.kind != RecordKind::kInput || changed != 0 || number < head.first_record + 20)
                  return;
                values.assign(record.input.values.begin(), record.input.values.end());
                values[0] += 1e-3F;
                record.input.values = values;
                changed = number;
              });
  ASSERT_NE(changed, 0U);
  const lab::ReplayResult result = ReplayOf(file);
  ASSERT_TRUE(result.parting.has_value());
  EXPECT_EQ(result.parting->what, "champion");
  EXPECT_EQ(result.parting->segment, head.sequence);
  EXPECT_LE(result.parting->equal_at, changed);
  EXPECT_GE(result.parting->record, changed);
  EXPECT_LE(result.parting->record - result.parting->equal_at, 2 * Recorder::kDigestEvery);
  EXPECT_EQ(result.parting->recorded.size(), 64U);
  EXPECT_NE(result.parting->recorded, result.parting->computed);
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
