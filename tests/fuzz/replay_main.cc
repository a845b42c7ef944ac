// Replays a corpus through a fuzz target as an ordinary test: each file as it is, truncated to sixteenths,
// and with a fixed number of seeded byte changes, so that a build without libFuzzer still walks the error
// paths.
//   fuzz_<target> [--mutations N] FOLDER...
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kMutations = 100;
constexpr int kTruncations = 16;

void Run(const std::vector<uint8_t>& bytes) { (void)LLVMFuzzerTestOneInput(bytes.data(), bytes.size()); }

void Replay(const std::vector<uint8_t>& bytes, uint64_t seed, int mutations) {
  Run(bytes);
  const auto parts = static_cast<size_t>(std::min(mutations, kTruncations));
  for (size_t part = 0; part < parts; ++part) {
    Run({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(bytes.size() * part / parts)});
  }
  uint64_t state = seed * 2862933555777941757ULL + 3037000493ULL;
  for (int i = 0; i < mutations && !bytes.empty(); ++i) {
    std::vector<uint8_t> changed = bytes;
    for (int k = 0; k <= i % 3; ++k) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      changed[(state >> 33) % changed.size()] = static_cast<uint8_t>(state >> 24);
    }
    Run(changed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  int mutations = kMutations;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--mutations") == 0 && i + 1 < argc) {
      mutations = std::atoi(argv[++i]);
      continue;
    }
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(argv[i], error))
      files.push_back(entry.path());
  }
  if (files.empty()) {
    std::fprintf(stderr, "no corpus: give a folder with at least one file\n");
    return 1;
  }
  std::sort(files.begin(), files.end());
  for (size_t i = 0; i < files.size(); ++i) {
    std::ifstream in(files[i], std::ios::binary);
    const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    Replay(bytes, i + 1, mutations);
  }
  std::printf("%zu files replayed\n", files.size());
  return 0;
}
