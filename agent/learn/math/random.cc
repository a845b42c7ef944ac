// See random.h.
#include "agent/learn/math/random.h"

#include "agent/learn/math/functions.h"

namespace dipper::learn {

RandomState SeedRandom(uint64_t seed, uint64_t stream) {
  uint64_t x = seed + stream * 0xd1342543de82ef95ULL;
  RandomState state;
  for (uint64_t& word : state.word) {
    x += 0x9e3779b97f4a7c15ULL;
    uint64_t z = x;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    word = z ^ (z >> 31);  // a bijection of four different numbers: never all zero
  }
  return state;
}

base::Status ValidateRandom(const RandomState& state) {
  const std::array<uint64_t, 4>& s = state.word;
  return (s[0] | s[1] | s[2] | s[3]) != 0 ? base::Status::kOk : base::Status::kDataLoss;
}

uint32_t NextBelow(RandomState& state, uint32_t bound) {
  uint64_t product = (NextU64(state) >> 32) * bound;
  if (static_cast<uint32_t>(product) < bound) {
    const uint32_t biased = (0U - bound) % bound;
    while (static_cast<uint32_t>(product) < biased) product = (NextU64(state) >> 32) * bound;
  }
  return static_cast<uint32_t>(product >> 32);
}

base::Result<PoissonTable> MakePoissonTable(double mean) {
  if (!(mean > 0.0 && mean <= 16.0)) return base::Status::kInvalidArgument;
  PoissonTable table;
  double probability = Exp(-mean);
  double cumulative = 0;
  for (uint32_t k = 0; k <= PoissonTable::kMaxCount; ++k) {
    cumulative += probability;
    probability *= mean / static_cast<double>(k + 1);
    table.threshold[k] = cumulative < 1.0 ? static_cast<uint64_t>(cumulative * 0x1p53) : uint64_t{1} << 53;
  }
  table.threshold[PoissonTable::kMaxCount] = uint64_t{1} << 53;
  return table;
}

uint32_t NextPoisson(RandomState& state, const PoissonTable& table) {
  const uint64_t draw = NextU64(state) >> 11;
  uint32_t count = 0;
  while (draw >= table.threshold[count]) ++count;
  return count;
}

}  // namespace dipper::learn
