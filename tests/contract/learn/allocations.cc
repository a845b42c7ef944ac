// Counts heap allocations while every learner observes and learns: there must be none.
// Interposes malloc and friends, so it links no sanitizer (those builds skip it with exit status 77).
// Single-threaded.
#include <cstdio>
#include <cstdlib>

#ifdef DIPPER_SANITIZED

int main() {
  std::puts(
      "skipped: a sanitizer replaces malloc; build without DIPPER_SANITIZE (preset check) to count "
      "allocations");
  return 77;
}

#else

#include <cerrno>
#include <cstring>

#include "tests/contract/learn/cases.h"

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);
}

namespace {
unsigned long allocations = 0;
}

extern "C" {
void* malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) {
  ++allocations;
  return __libc_realloc(old, size);
}
void* memalign(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, size_t alignment, size_t size) {
  ++allocations;
  *out = __libc_memalign(alignment, size);
  return *out != nullptr ? 0 : ENOMEM;
}
void free(void* memory) { __libc_free(memory); }
}

namespace dipper::learn::testing {
namespace {

constexpr uint64_t kSamples = 400000;
constexpr uint64_t kSlowSamples = 100000;  // of learners that take many times the others' time
constexpr size_t kStored = 4096;

bool Slow(const std::string& learner) {
  return learner == "knn" || learner == "race" || learner == "adaptive_forest";
}

/// Allocations of a stream with labels; creation, attaching, freezing, metrics and digest included.
unsigned long Count(const ModelCase& test) {
  Compiled compiled(SpecOf(test));
  const Spec spec = compiled.Parse().value();
  AlignedBytes memory(spec.state_bytes());
  Stream stream(1);
  std::vector<Stream::Sample> samples(kStored);
  for (Stream::Sample& sample : samples) sample = stream.Next(LabelClasses(spec));

  const unsigned long before = allocations;
  if (!Spec::Parse(compiled.bytes()).ok() || !Model::Create(spec, memory.bytes()).ok()) return ~0UL;
  auto model = Model::Attach(spec, memory.bytes());
  if (!model.ok()) return ~0UL;
  const uint64_t count = Slow(test.learner) ? kSlowSamples : kSamples;
  uint64_t refused = 0;
  for (uint64_t i = 0; i < count; ++i) {
    if (i % 8192 < 2) model->SetFrozen(i % 2 == 0);
    const Stream::Sample& sample = samples[i % kStored];
    Output out;
    Outcome outcome;
    if (!base::Ok(model->Observe(i + 1, 0, sample.x, &out))) ++refused;
    if (!base::Ok(model->Learn(i + 1, sample.label, 1.0, &outcome))) ++refused;
    if (i % 1000 == 0 && !base::Ok(model->Predict(sample.x, &out))) ++refused;
  }
  const Metrics metrics = model->ReadMetrics();
  const bool finite = model->AllFinite() && !model->ImageDigest().IsZero();
  const unsigned long during = allocations - before;
  std::printf("%-30s %lu allocations in %llu samples, %llu learned\n", test.name().c_str(), during,
              static_cast<unsigned long long>(metrics.samples),
              static_cast<unsigned long long>(metrics.learned));
  // Truth about anomalies is not wanted where no score is kept; every other call must have worked.
  if (!finite || metrics.samples != count || metrics.learned < count * 9 / 10) return ~0UL;
  if (refused > 0 && test.labelled()) return ~0UL;
  return during;
}

}  // namespace
}  // namespace dipper::learn::testing

int main() {
  // The counter itself must work, or 0 would mean nothing.
  const unsigned long before = allocations;
  void* volatile probe = std::malloc(32);
  std::free(probe);
  int* volatile object = new int(1);
  delete object;
  if (allocations < before + 2) {
    std::puts("failed: malloc is not interposed here, the count would be meaningless");
    return 1;
  }
  bool clean = true;
  for (const auto& test : dipper::learn::testing::AllCases())
    clean = dipper::learn::testing::Count(test) == 0 && clean;
  std::puts(clean ? "ok" : "failed: learning must not allocate");
  return clean ? 0 : 1;
}

#endif
