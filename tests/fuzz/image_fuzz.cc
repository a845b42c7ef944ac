// Damaged model images of every learner and stage: the input chooses a model that has learned and changes its
// image; what Attach accepts must answer with numbers, keep learning, and leave an image that is accepted
// again.
#include <algorithm>
#include <memory>
#include <vector>

#include "agent/learn/math/counts.h"
#include "tests/contract/learn/cases.h"
#include "tests/fuzz/input.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header
using learn::testing::ModelCase;

constexpr uint64_t kImageBytes = 20480;
constexpr uint64_t kTaught = 700;
constexpr int kMaxEdits = 48;

/// A model that has learned, its stream, and room for a damaged copy.
class Victim {
 public:
  explicit Victim(const ModelCase& test)
      : good_(Small(test)), copy_(good_.memory().size()), again_(good_.memory().size()), stream_(1) {
    RunStream(good_.model(), good_.spec(), &stream_, kTaught, 3);
    DIPPER_CHECK(good_->AllFinite());
  }
  const learn::Spec& spec() const { return good_.spec(); }
  learn::testing::Stream stream() const { return stream_; }
  base::MutableBytes Copy() {
    std::memcpy(copy_.bytes().data(), good_.memory().data(), copy_.bytes().size());
    return copy_.bytes();
  }
  base::MutableBytes Again() { return again_.bytes(); }

 private:
  static schema::SpecT Small(const ModelCase& test) {
    schema::SpecT spec = SpecOf(test);
    for (spec.budget_bytes = kImageBytes;; spec.budget_bytes += 8192) {
      if (learn::testing::Compiled(spec).Parse().ok() || spec.budget_bytes > 262144) return spec;
    }
  }

  learn::testing::Fixture good_;
  learn::testing::AlignedBytes copy_;
  learn::testing::AlignedBytes again_;
  learn::testing::Stream stream_;
};

/// One of each learner, stage, detector and option; the ones that learn slowly are left out.
const std::vector<ModelCase>& Cases() {
  static const std::vector<ModelCase> cases = [] {
    std::vector<ModelCase> found;
    for (const ModelCase& test : learn::testing::AllCases()) {
      const bool plain = test.target == "binary" || test.target == "regression" || test.target == "scores" ||
                         test.target == "ahead_late" || test.target == "anomaly";
      if (!test.slow && (plain || !test.extra.empty())) found.push_back(test);
    }
    return found;
  }();
  return cases;
}

Victim& VictimOf(size_t index) {
  static std::vector<std::unique_ptr<Victim>> victims(Cases().size());
  if (victims[index] == nullptr) victims[index] = std::make_unique<Victim>(Cases()[index]);
  return *victims[index];
}

/// Words that are plausible somewhere, or nowhere.
constexpr uint64_t kWords[] = {0,
                               1,
                               2,
                               0x7fffffff,
                               0xffffffff,
                               0x7ff0000000000000,  // infinity
                               0x7ff8000000000001,  // a not-a-number
                               0x7e37e43c8800759c,  // 1e300
                               0xbff0000000000000,  // -1
                               0x3ff0000000000000,  // 1
                               0x7f8000007f800000,  // two infinities in float32
                               0x7149f2ca7149f2ca,  // two times 1e30
                               0x0000000000000001,  // the smallest denormal
                               0xffffffffffffffff};

void Edit(base::MutableBytes image, fuzz::Input& input) {
  for (int i = 0; i < kMaxEdits && !input.empty(); ++i) {
    const uint8_t kind = input.Get<uint8_t>();
    const size_t at = input.Get<uint32_t>() % image.size();
    switch (kind % 6) {
      case 0:
        input.Fill(image.subspan(at, 1));
        break;
      case 1:
        input.Fill(image.subspan(at / 4 * 4, 4));
        break;
      case 2:
        input.Fill(image.subspan(at / 8 * 8, 8));
        break;
      case 3: {
        const uint64_t word = kWords[input.Below(static_cast<uint32_t>(std::size(kWords)))];
        base::Store(image.data() + at / 8 * 8, word);
        break;
      }
      case 4: {  // numbers that are plausible elsewhere
        const size_t from = input.Get<uint32_t>() % image.size();
        const size_t length = std::min({size_t{8} << (kind >> 6), image.size() - at, image.size() - from});
        std::memmove(image.data() + at, image.data() + from, length);
        break;
      }
      default: {
        const size_t length = std::min<size_t>(input.Get<uint8_t>(), image.size() - at);
        input.Fill(image.subspan(at, length));
        break;
      }
    }
  }
}

bool FiniteOrUnknown(double value) { return learn::IsFinite(value) || value != value; }

void CheckOutput(const learn::Output& out) {
  DIPPER_CHECK(learn::IsFinite(out));
  if (out.has_interval && !out.unbounded && out.class_index < 0) DIPPER_CHECK(out.low <= out.high);
  if (out.has_score) DIPPER_CHECK(out.anomaly_score >= 0 && out.anomaly_score <= 1);
}

void CheckMetrics(const learn::Metrics& m) {
  for (const double value : {m.accuracy, m.kappa, m.log_loss, m.mae, m.rmse, m.r2, m.auc, m.macro_f1, m.brier,
                             m.pr_auc, m.faded_loss, m.drift_statistic, m.interval_coverage}) {
    DIPPER_CHECK(FiniteOrUnknown(value));
  }
  DIPPER_CHECK(m.pending <= m.pending_capacity);
}

/// Goes on for `samples`, the labels `delay` late.
void Use(learn::Model& model, const Victim& victim, uint64_t samples, uint64_t delay) {
  learn::testing::Stream stream = victim.stream();
  const uint32_t classes = learn::testing::LabelClasses(victim.spec());
  std::vector<double> labels;
  const uint64_t first = model.last_id() + 1;
  learn::Output out;
  for (uint64_t i = 0; i < samples; ++i) {
    const auto sample = stream.Next(classes);
    labels.push_back(sample.label);
    const base::Status status = model.Observe(first + i, static_cast<int64_t>(i), sample.x, &out);
    DIPPER_CHECK(base::Ok(status) || status == base::Status::kAlreadyExists);
    if (base::Ok(status)) CheckOutput(out);
    if (i >= delay) (void)model.Learn(first + i - delay, labels[i - delay], 1.0, nullptr);
  }
  DIPPER_CHECK(base::Ok(model.Predict(stream.Next(classes).x, &out)));
  CheckOutput(out);
  CheckMetrics(model.ReadMetrics());
  std::vector<double> terms(model.input_count() + 2);
  if (base::Ok(model.Importance(std::span(terms).first(model.input_count())))) {
    for (const double term : terms) DIPPER_CHECK(learn::IsFinite(term));
  }
  if (base::Ok(model.Contributions(stream.Next(classes).x, 0, terms))) {
    for (const double term : terms) DIPPER_CHECK(learn::IsFinite(term));
  }
}

/// A count that is as high as one may be: the next sample takes it beyond, and the image is damage then, as
/// is meant. No device comes so far.
bool CountsToTheEnd(base::ByteView image) {
  constexpr uint64_t kLast = 1 << 20;
  for (size_t at = 0; at + sizeof(uint64_t) <= image.size(); at += sizeof(uint64_t)) {
    const auto word = base::Load<uint64_t>(image.data() + at);
    if (word <= learn::kMostCounted && word > learn::kMostCounted - kLast) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  fuzz::Input input(data, size);
  Victim& victim = VictimOf(input.Below(static_cast<uint32_t>(Cases().size())));
  const uint8_t use = input.Get<uint8_t>();
  const base::MutableBytes image = victim.Copy();
  Edit(image, input);
  auto model = learn::Model::Attach(victim.spec(), image);
  if (!model.ok() || CountsToTheEnd(image)) return 0;
  DIPPER_CHECK(model->AllFinite());
  Use(*model, victim, 1 + use % 24, use / 64);
  DIPPER_CHECK(model->AllFinite());
  std::memcpy(victim.Again().data(), image.data(), image.size());
  DIPPER_CHECK(learn::Model::Attach(victim.spec(), victim.Again()).ok());
  return 0;
}
