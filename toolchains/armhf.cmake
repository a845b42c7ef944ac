# Debian armhf.
set(DIPPER_ARCH armhf)
set(DIPPER_TRIPLET arm-linux-gnueabihf)
set(DIPPER_QEMU qemu-arm-static)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
# Scalar VFP: NEON on 32-bit ARM flushes denormals, which would change learned images (docs/reference/numerics.md).
set(CMAKE_C_FLAGS_INIT "-mfpu=vfpv3-d16")
set(CMAKE_CXX_FLAGS_INIT "-mfpu=vfpv3-d16")
include("${CMAKE_CURRENT_LIST_DIR}/debian-cross.cmake")
