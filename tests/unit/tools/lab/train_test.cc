// Pretraining and the image file.
#include "tools/lab/train.h"

#include <gtest/gtest.h>

#include "agent/base/sha256.h"
#include "agent/learn/image/model.h"
#include "tests/unit/tools/lab/fixture.h"

namespace dipper::lab {
namespace {

constexpr uint64_t kAll = UINT64_MAX;

TEST(Train, LearnsTheRowsAskedFor) {
  const CsvTable table = Table(TwoClassCsv(300));
  const ImageFile all = TrainImage(TwoClassSpec(), table, "", 0, kAll);
  EXPECT_EQ(all.labels, 300U);
  EXPECT_EQ(all.end_row, 300U);
  EXPECT_EQ(all.data_digest, table.digest());
  EXPECT_EQ(all.spec_digest, base::Sha256Of(CompileSpec(TwoClassSpec())));
  EXPECT_EQ(TrainImage(TwoClassSpec(), table, "class", 0, kAll).image, all.image);
  const ImageFile part = TrainImage(TwoClassSpec(), table, "", 100, 150);
  EXPECT_EQ(part.labels, 50U);
  EXPECT_NE(part.image, all.image);
  EXPECT_NE(FreshImage(TwoClassSpec()).image, part.image);
  EXPECT_EQ(FreshImage(TwoClassSpec()).image.size(), part.image.size());
}

TEST(Train, MakesAnImageThatAModelTakesOver) {
  const ImageFile file = TrainImage(TwoClassSpec(), Table(TwoClassCsv(2000)), "", 0, kAll);
  const std::vector<uint8_t> bytes = CompileSpec(TwoClassSpec());
  const auto spec = learn::Spec::Parse(bytes);
  ASSERT_TRUE(spec.ok());
  alignas(16) static std::array<uint8_t, 65536> memory;
  const base::MutableBytes image = base::MutableBytes(memory).first(file.image.size());
  std::copy(file.image.begin(), file.image.end(), image.begin());
  auto model = learn::Model::Attach(*spec, image);
  ASSERT_TRUE(model.ok());
  learn::Output output;
  ASSERT_EQ(model->Predict(std::array<float, 2>{900, 100}, &output), base::Status::kOk);
  EXPECT_EQ(output.class_index, 1);
  ASSERT_EQ(model->Predict(std::array<float, 2>{100, 900}, &output), base::Status::kOk);
  EXPECT_EQ(output.class_index, 0);
}

TEST(Train, RefusesRowsAndLabelsThatAreNotThere) {
  EXPECT_TRUE(Catch([] {
                TrainImage(TwoClassSpec(), Table(TwoClassCsv(10)), "", 50, 60);
              }).Says("--rows 50:60 selects nothing"));
  EXPECT_TRUE(Catch([] {
                TrainImage(TwoClassSpec(), Table(TwoClassCsv(10)), "", 50, kAll);
              }).Says("--rows 50: selects nothing"));
  EXPECT_EQ(Catch([] { TrainImage(TwoClassSpec(), Table(TwoClassCsv(10)), "", 10, kAll); }).code,
            ExitCode::kUsage);
  EXPECT_EQ(Catch([] { TrainImage(TwoClassSpec(), Table(TwoClassCsv(10)), "klass", 0, kAll); }).code,
            ExitCode::kNotFound);
  EXPECT_TRUE(Catch([] {
                TrainImage(TwoClassSpec(), Table("x,y,class\n1,2,a\n"), "", 0, kAll);
              }).Says("the first one is 'a'"));
}

TEST(ImageFile, IsWrittenByteByByteAsDocumented) {
  ImageFile file;
  file.spec_digest.bytes.fill(0x11);
  file.data_digest.bytes.fill(0x22);
  file.first_row = 3;
  file.end_row = 0x0102030405060708;
  file.labels = 5;
  file.image = {0xAA, 0xBB};
  const std::vector<uint8_t> bytes = EncodeImageFile(file);
  ASSERT_EQ(bytes.size(), 130U);
  EXPECT_EQ(base::AsText(base::ByteView(bytes).first(4)), "DIMG");
  EXPECT_EQ(base::Load<uint32_t>(bytes.data() + 4), 1U);
  EXPECT_EQ(base::Load<uint64_t>(bytes.data() + 8), 2U);
  EXPECT_EQ(bytes[16], 0x11);
  EXPECT_EQ(bytes[47], 0x11);
  EXPECT_EQ(bytes[48], 0x22);
  EXPECT_EQ(base::Load<uint64_t>(bytes.data() + 80), 3U);
  EXPECT_EQ(bytes[88], 8);
  EXPECT_EQ(bytes[95], 1);
  EXPECT_EQ(base::Load<uint64_t>(bytes.data() + 96), 5U);
  EXPECT_EQ(bytes[128], 0xAA);
  const ImageFile back = DecodeImageFile(bytes, "f");
  EXPECT_EQ(back.image, file.image);
  EXPECT_EQ(back.data_digest, file.data_digest);
  EXPECT_EQ(back.end_row, file.end_row);
}

TEST(ImageFile, NoticesEveryChangedByte) {
  ImageFile file;
  file.image = {1, 2, 3};
  const std::vector<uint8_t> good = EncodeImageFile(file);
  for (size_t i = 0; i < good.size(); ++i) {
    std::vector<uint8_t> bytes = good;
    bytes[i] ^= 0x40;
    EXPECT_EQ(Catch([&] { DecodeImageFile(bytes, "f"); }).code, ExitCode::kVerificationFailed) << i;
  }
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_EQ(Catch([&] { DecodeImageFile(base::ByteView(good).first(length), "f"); }).code,
              ExitCode::kVerificationFailed);
  }
}

}  // namespace
}  // namespace dipper::lab
