// One learner on 8 features, for call_cost to count the instructions of single calls: after a warm-up every
// call goes through MeasuredObserve and MeasuredLearn, on which callgrind is told to look. Alone it prints
// nothing.
//
// usage: call_cost_probe LEARNER WARM_UP SAMPLES
//        call_cost_probe --list
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/bench/learn/bench_cases.h"

using dipper::base::Status;
using dipper::learn::Model;

extern "C" {
[[gnu::noinline]] Status MeasuredObserve(Model* model, uint64_t id, const std::vector<float>* x,
                                         dipper::learn::Output* out) {
  return model->Observe(id, 0, *x, out);
}
[[gnu::noinline]] Status MeasuredLearn(Model* model, uint64_t id, double label, dipper::learn::Outcome* out) {
  return model->Learn(id, label, 1.0, out);
}
}

namespace dipper::learn::testing {
namespace {

constexpr uint32_t kFeatures = 8;

int Run(const std::string& learner, uint64_t warm_up, uint64_t samples) {
  Fixture model(SpecWith(learner, kFeatures, 0));
  const Rows rows = Draw(kFeatures, LabelClasses(model.spec()));
  Output out;
  Outcome outcome;
  uint64_t refused = 0;
  for (uint64_t id = 1; id <= warm_up + samples; ++id) {
    const std::vector<float>& x = rows.x[id % kRows];
    const double label = rows.labels[id % kRows];
    const bool measured = id > warm_up;
    const Status observed =
        measured ? MeasuredObserve(&model.model(), id, &x, &out) : model->Observe(id, 0, x, &out);
    const Status learned = measured ? MeasuredLearn(&model.model(), id, label, &outcome)
                                    : model->Learn(id, label, 1.0, &outcome);
    if (!base::Ok(observed) || !base::Ok(learned)) ++refused;
  }
  return refused < 200 ? 0 : 1;  // half_space_trees: a cold scorer keeps no score for a label
}

}  // namespace
}  // namespace dipper::learn::testing

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--list") {
    for (const char* learner : dipper::learn::testing::kLearners) std::puts(learner);
    return 0;
  }
  if (argc != 4) {
    std::fputs("usage: call_cost_probe LEARNER WARM_UP SAMPLES | --list\n", stderr);
    return 2;
  }
  return dipper::learn::testing::Run(argv[1], std::strtoull(argv[2], nullptr, 10),
                                     std::strtoull(argv[3], nullptr, 10));
}
