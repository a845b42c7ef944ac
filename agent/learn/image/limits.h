// Fixed upper limits of a model; a spec beyond one of them is refused by name. Thread-safe: constants.
#pragma once

#include <cstdint>

namespace dipper::learn {

/// Any change that can alter a result or an image byte raises one of these two; both are refused when
/// unknown.
inline constexpr uint32_t kImageLayoutVersion = 3;
inline constexpr uint32_t kNumericsVersion = 3;

inline constexpr uint32_t kMaxFeatures = 256;
inline constexpr uint32_t kMaxInputs = 512;  ///< after any stage
inline constexpr uint32_t kMaxStages = 16;
inline constexpr uint32_t kMaxClasses = 64;     ///< named and spare
inline constexpr uint32_t kMaxRaceMembers = 8;  ///< the no-change rival included
inline constexpr uint32_t kMaxAnswers = kMaxClasses * (1 + kMaxRaceMembers);
inline constexpr uint32_t kMaxCategories = 1024;  ///< of one feature
inline constexpr uint32_t kMaxDetectors = 4;
inline constexpr uint32_t kMaxLag = 4096;       ///< samples
inline constexpr uint32_t kMaxAhead = 65536;    ///< samples
inline constexpr uint32_t kMaxPending = 65536;  ///< samples
inline constexpr uint32_t kMaxTableEntries = 4096;
inline constexpr uint64_t kMaxBudgetBytes = uint64_t{1} << 30;

/// Values beyond it are cut at the door: squares and products of them stay finite in double.
inline constexpr float kMaxMagnitude = 1e30F;
inline constexpr double kMaxWeight = 1e6;

}  // namespace dipper::learn
