// How a partition may be named, and what counts as a device.
#include "agent/app/config/partition_path.h"

#include <gtest/gtest.h>

namespace dipper::app {
namespace {

TEST(PartitionPath, ANameMayStandInAFolder) {
  for (const char* path : {"PARTLABEL=boot", "/etc/dipper/PARTLABEL=boot"}) {
    const PartitionPath read = ReadPartitionPath(path);
    EXPECT_TRUE(read.by_name) << path;
    EXPECT_EQ(read.target, "boot") << path;
    EXPECT_TRUE(IsDevice(path)) << path;
  }
  EXPECT_EQ(ReadPartitionPath("PARTLABEL=a/b").target, "a/b");
}

TEST(PartitionPath, AFileIsNoDevice) {
  for (const char* path : {"boot.img", "/var/lib/dipper/boot.img", "/srv/MYPARTLABEL=boot"}) {
    EXPECT_FALSE(ReadPartitionPath(path).by_name) << path;
    EXPECT_EQ(ReadPartitionPath(path).target, path);
    EXPECT_FALSE(IsDevice(path)) << path;
  }
  EXPECT_TRUE(IsDevice("/dev/mmcblk0p2"));
}

}  // namespace
}  // namespace dipper::app
