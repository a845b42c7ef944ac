# Debian arm64.
set(DIPPER_ARCH arm64)
set(DIPPER_TRIPLET aarch64-linux-gnu)
set(DIPPER_QEMU qemu-aarch64-static)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
include("${CMAKE_CURRENT_LIST_DIR}/debian-cross.cmake")
