# Debian armhf.
set(DIPPER_ARCH armhf)
set(DIPPER_TRIPLET arm-linux-gnueabihf)
set(DIPPER_QEMU qemu-arm-static)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
# Scalar VFP: NEON on 32-bit ARM flushes denormals, which would change learned images
# (docs/reference/numerics.md).
set(CMAKE_C_FLAGS_INIT "-mfpu=vfpv3-d16")
# Formats count in 64 bits, memory here in 32: where a size that has been checked against a block of memory is
# narrowed to it, gcc warns on this target only. The notes about a change of the ABI in gcc 7 concern nobody.
set(CMAKE_CXX_FLAGS_INIT
  "-mfpu=vfpv3-d16 -Wno-psabi -Wno-error=conversion -Wno-error=sign-conversion -Wno-error=cast-align")
include("${CMAKE_CURRENT_LIST_DIR}/debian-cross.cmake")
