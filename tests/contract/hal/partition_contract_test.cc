// Runs the contract on the file, on a block device behind a loop device where this machine has one, and on
// the simulated partition.
#include "tests/contract/hal/partition_contract.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "hal/linux/partition_file.h"
#include "hal/sim/partition_sim.h"

namespace dipper::hal {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kBytes = 256 * 1024;

class TempDir {
 public:
  TempDir() {
    std::string pattern = (fs::temp_directory_path() / "dipper-partition-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string File(const char* name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

struct FileUnderTest : PartitionUnderTest {
  FileUnderTest() {
    path = dir.File("p.img");
    file = std::make_unique<PartitionFile>();
    EXPECT_EQ(file->Open({.path = path.c_str(), .create_bytes = kBytes}), base::Status::kOk);
  }
  Partition& partition() override { return *file; }
  void Reopen() override {
    file.reset();
    file = std::make_unique<PartitionFile>();
    ASSERT_EQ(file->Open({.path = path.c_str()}), base::Status::kOk);
  }
  TempDir dir;
  std::string path;
  std::unique_ptr<PartitionFile> file;
};

/// A loop device over a file. `node` is empty, and `why` says so, where the machine has none to give.
struct Loop {
  explicit Loop(const std::string& file) {
    const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) {
      why = "no loop devices here: /dev/loop-control cannot be opened";
      return;
    }
    const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
    ::close(control);
    const std::string candidate = "/dev/loop" + std::to_string(number);
    const int device = number < 0 ? -1 : ::open(candidate.c_str(), O_RDWR | O_CLOEXEC);
    const int backing = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
    if (device >= 0 && backing >= 0 && ::ioctl(device, LOOP_SET_FD, backing) == 0) {
      node = candidate;
    } else {
      why = "no loop devices here: a file cannot be attached";
    }
    if (backing >= 0) ::close(backing);
    if (device >= 0) ::close(device);
  }
  ~Loop() {
    if (node.empty()) return;
    const int device = ::open(node.c_str(), O_RDWR | O_CLOEXEC);
    if (device >= 0 && ::ioctl(device, LOOP_CLR_FD, 0) != 0) std::perror("detaching the loop device");
    if (device >= 0) ::close(device);
  }
  std::string node;
  std::string why;
};

struct BlockUnderTest : PartitionUnderTest {
  BlockUnderTest() {
    PartitionFile maker;
    EXPECT_EQ(maker.Open({.path = dir.File("disk.img").c_str(), .create_bytes = kBytes}), base::Status::kOk);
    maker.Close();
    loop = std::make_unique<Loop>(dir.File("disk.img"));
    if (loop->node.empty()) return;
    file = std::make_unique<PartitionFile>();
    EXPECT_EQ(file->Open({.path = loop->node.c_str()}), base::Status::kOk);
  }
  ~BlockUnderTest() override {
    file.reset();
    loop.reset();
  }
  Partition& partition() override { return *file; }
  void Reopen() override {
    file.reset();
    file = std::make_unique<PartitionFile>();
    ASSERT_EQ(file->Open({.path = loop->node.c_str()}), base::Status::kOk);
  }
  TempDir dir;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<PartitionFile> file;
};

struct SimUnderTest : PartitionUnderTest {
  explicit SimUnderTest(const Geometry& geometry) : sim(geometry, &power) {}
  Partition& partition() override { return sim; }
  void Reopen() override {
    power.on = false;
    power.Restore();
    sim.Restart(7);
  }
  SimPower power;
  PartitionSim sim;
};

std::string Available() { return ""; }

INSTANTIATE_TEST_SUITE_P(
    All, PartitionContract,
    testing::Values(PartitionMaker{"File", Available, [] { return std::make_unique<FileUnderTest>(); }},
                    PartitionMaker{"BlockDevice", [] { return BlockUnderTest().loop->why; },
                                   [] { return std::make_unique<BlockUnderTest>(); }},
                    PartitionMaker{"Simulated", Available,
                                   [] {
                                     return std::make_unique<SimUnderTest>(Geometry{kBytes, 1, 512});
                                   }},
                    PartitionMaker{"SimulatedFlash", Available,
                                   [] {
                                     return std::make_unique<SimUnderTest>(Geometry{kBytes, 16, 4096});
                                   }}),
    [](const auto& maker) { return std::string(maker.param.name); });

// What only the file-backed one promises: opening
// ----------------------------------------------------------------

TEST(PartitionFile, CreatesAFileOfTheSizeAndKeepsItsContent) {
  TempDir dir;
  const std::string path = dir.File("new.img");
  PartitionFile file;
  EXPECT_EQ(file.Open({.path = path.c_str()}), base::Status::kNotFound);
  ASSERT_EQ(file.Open({.path = path.c_str(), .create_bytes = kBytes}), base::Status::kOk);
  EXPECT_EQ(fs::file_size(path), kBytes);
  EXPECT_FALSE(fs::exists(path + ".new"));
  const std::vector<uint8_t> bytes(100, 0x5A);
  ASSERT_EQ(file.Write(7, bytes), base::Status::kOk);
  file.Close();
  ASSERT_EQ(file.Open({.path = path.c_str(), .create_bytes = 2 * kBytes}), base::Status::kOk);
  EXPECT_EQ(file.geometry().size_bytes, kBytes) << "an existing file keeps its size";
  std::vector<uint8_t> back(100);
  ASSERT_EQ(file.Read(7, back), base::Status::kOk);
  EXPECT_EQ(back, bytes);
}

TEST(PartitionFile, AHalfMadeFileOfACutCreationIsReplaced) {
  TempDir dir;
  const std::string path = dir.File("p.img");
  const int fd = ::open((path + ".new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::write(fd, "half", 4), 4);
  ::close(fd);
  PartitionFile file;
  ASSERT_EQ(file.Open({.path = path.c_str(), .create_bytes = kBytes}), base::Status::kOk);
  std::vector<uint8_t> back(4, 1);
  ASSERT_EQ(file.Read(0, back), base::Status::kOk);
  EXPECT_EQ(back, std::vector<uint8_t>(4, 0));
}

TEST(PartitionFile, TwoCannotOpenOnePartition) {
  TempDir dir;
  const std::string path = dir.File("p.img");
  PartitionFile first;
  ASSERT_EQ(first.Open({.path = path.c_str(), .create_bytes = kBytes}), base::Status::kOk);
  PartitionFile second;
  EXPECT_EQ(second.Open({.path = path.c_str()}), base::Status::kFailedPrecondition);
  EXPECT_EQ(second.Open({.path = path.c_str(), .read_only = true}), base::Status::kFailedPrecondition);
  first.Close();
  EXPECT_EQ(second.Open({.path = path.c_str()}), base::Status::kOk);
}

TEST(PartitionFile, RefusesWhatIsNotAPartition) {
  TempDir dir;
  const std::string path = dir.File("p.img");
  {
    PartitionFile maker;
    ASSERT_EQ(maker.Open({.path = path.c_str(), .create_bytes = kBytes}), base::Status::kOk);
  }
  PartitionFile file;
  fs::create_symlink(path, dir.File("link"));
  EXPECT_EQ(file.Open({.path = dir.File("link").c_str()}), base::Status::kInvalidArgument);
  fs::create_directory(dir.File("folder"));
  EXPECT_EQ(file.Open({.path = dir.File("folder").c_str()}), base::Status::kInvalidArgument);
  EXPECT_EQ(file.last_error(), EISDIR);
  EXPECT_EQ(file.Open({.path = "/dev/null"}), base::Status::kInvalidArgument);
  EXPECT_EQ(file.last_error(), ENOTBLK) << "as a character device of raw flash would be";
  EXPECT_EQ(file.Open({.path = path.c_str(), .min_bytes = kBytes + 1}), base::Status::kResourceExhausted);
  EXPECT_EQ(file.Open({.path = path.c_str(), .erase_unit_bytes = 3000}), base::Status::kInvalidArgument);
  fs::resize_file(path, 0);
  EXPECT_EQ(file.Open({.path = path.c_str()}), base::Status::kResourceExhausted);
  EXPECT_EQ(file.Open({.path = "no-such-partition-label", .by_name = true}), base::Status::kNotFound);
  EXPECT_EQ(file.Open({.path = "../sda", .by_name = true}), base::Status::kInvalidArgument);
  EXPECT_EQ(file.Open({.path = ""}), base::Status::kInvalidArgument);
}

TEST(PartitionFile, ReadOnlyIsNeverWritten) {
  TempDir dir;
  const std::string path = dir.File("p.img");
  {
    PartitionFile maker;
    ASSERT_EQ(maker.Open({.path = path.c_str(), .create_bytes = kBytes}), base::Status::kOk);
  }
  PartitionFile file;
  ASSERT_EQ(file.Open({.path = path.c_str(), .read_only = true}), base::Status::kOk);
  EXPECT_EQ(file.Write(0, std::vector<uint8_t>(16, 1)), base::Status::kPermissionDenied);
  EXPECT_EQ(file.Erase(0, 4096), base::Status::kPermissionDenied);
}

TEST(PartitionFile, AFileCutShortIsAnIoErrorNotEmptyBytes) {
  TempDir dir;
  const std::string path = dir.File("p.img");
  PartitionFile file;
  ASSERT_EQ(file.Open({.path = path.c_str(), .create_bytes = kBytes}), base::Status::kOk);
  fs::resize_file(path, kBytes / 2);
  std::vector<uint8_t> back(16);
  EXPECT_EQ(file.Read(kBytes - 16, back), base::Status::kUnavailable);
}

}  // namespace
}  // namespace dipper::hal
