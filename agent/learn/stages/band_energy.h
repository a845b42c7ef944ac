// Band energies: appends, for each selected input, how strong it is in bands of frequency over its last
// `window` samples, for vibration and current. Every `hop` samples the window's mean is taken off, a Hann
// window applied and the spectrum computed by an in-place radix-2 FFT (Cooley and Tukey, "An algorithm for
// the machine calculation of complex Fourier series", Math. Comp. 19, 1965; two real samples packed as one
// complex number); scaled as a one-sided periodogram (Welch, "The use of fast Fourier transform for the
// estimation of power spectra", IEEE Trans. AU-15, 1967), so that a sine of amplitude A adds A^2 / 2 to its
// band and the bands together are about the variance. Values stay until the next hop. A view over caller
// memory; state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/stages/mode.h"

namespace dipper::learn {

enum class BandScale : uint8_t {
  kRms = 0,     ///< root of the mean square in the band, in the input's unit
  kEnergy = 1,  ///< mean square in the band
  kLog = 2      ///< natural logarithm of the mean square, at least -100
};

struct BandEnergyConfig {
  uint32_t width = 0;                  ///< inputs in
  std::span<const uint16_t> inputs{};  ///< which are transformed, ascending
  uint32_t window = 256;               ///< samples: 64, 128, 256, 512 or 1024
  uint32_t hop = 64;                   ///< samples between two transforms of an input, 1 .. window
  uint32_t bands = 8;                  ///< 1 .. 32
  std::span<const uint16_t> edges{};   ///< bands + 1 ascending, in 1/65536 of the sample rate, up to 32768;
                                       ///< empty: from 1 / window to 1/2 in equal ratios
  BandScale scale = BandScale::kRms;
};

class BandEnergy {
 public:
  static base::Result<uint64_t> StateBytes(const BandEnergyConfig& config);
  static base::Status Create(const BandEnergyConfig& config, base::MutableBytes memory);
  static base::Status Validate(const BandEnergyConfig& config, base::ByteView memory);
  BandEnergy(const BandEnergyConfig& config, base::MutableBytes memory)
      : config_(config), memory_(memory.data()) {}

  /// Inputs out: width + inputs * bands, in the order (first input: lowest band first), (second input: ...).
  static uint32_t OutWidth(const BandEnergyConfig& config);

  /// Extends `row` (room for OutWidth values) in place. Missing until the window is full and the input's turn
  /// came: the i-th selected input (from 0) has its turn when the number of samples, this one included, is i
  /// modulo hop, so that one call transforms at most inputs / hop inputs, rounded up. Missing samples count
  /// as the window's mean; the bands are missing when more than half of the window is. kFrozen advances like
  /// kLearn. Cost: a transform is about 2.5 window log2(window) multiplications and additions, other calls
  /// copy; 5 KiB of stack.
  void Apply(StageMode mode, float* row) const;

  /// Forgets all earlier samples. Cost: O(inputs * bands).
  void Reset() const;

 private:
  BandEnergyConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
