// The self-test of package_maker.h: the parts of `dipper package` that run a model.
#include <fmt/format.h>

#include <new>

#include "agent/base/time.h"
#include "agent/learn/image/limits.h"
#include "agent/learn/image/model.h"
#include "agent/stream/decoder.h"
#include "tools/cli/output.h"
#include "tools/cli/package_maker.h"
#include "tools/lab/csv_table.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

constexpr int64_t kStepNs = base::kSecondNs;

/// A copy of bytes at a multiple of 16.
class AlignedCopy {
 public:
  explicit AlignedCopy(base::ByteView from)
      : data_(static_cast<uint8_t*>(::operator new (from.size(), std::align_val_t{16}))), size_(from.size()) {
    if (!from.empty()) std::memcpy(data_, from.data(), from.size());
  }
  ~AlignedCopy() { ::operator delete (data_, std::align_val_t{16}); }
  AlignedCopy(const AlignedCopy&) = delete;
  AlignedCopy& operator=(const AlignedCopy&) = delete;
  base::MutableBytes bytes() { return {data_, size_}; }

 private:
  uint8_t* data_;
  size_t size_;
};

learn::Spec ParseSpec(base::ByteView bytes) {
  const char* why = nullptr;
  const auto spec = learn::Spec::Parse(bytes, &why);
  if (!spec.ok()) {
    throw Error(
        ExitCode::kVerificationFailed,
        fmt::format("the spec is refused: {}", why == nullptr ? base::StatusName(spec.status()) : why));
  }
  return *spec;
}

/// A model over a copy of an image.
struct Running {
  Running(base::ByteView spec_bytes, base::ByteView image)
      : spec_memory(spec_bytes), image_memory(image), spec(ParseSpec(spec_memory.bytes())), model(Attach()) {}

  AlignedCopy spec_memory;
  AlignedCopy image_memory;
  learn::Spec spec;
  learn::Model model;

 private:
  learn::Model Attach() {
    auto attached = learn::Model::Attach(spec, image_memory.bytes());
    if (!attached.ok()) {
      throw Error(ExitCode::kVerificationFailed,
                  fmt::format("the image does not belong to the spec or is damaged ({}); train it again",
                              base::StatusName(attached.status())));
    }
    return *attached;
  }
};

/// Runs one step; what a model refuses (a duplicate id, an unknown sample) is part of the sequence.
void RunStep(learn::Model* model, schema::SelfTestKind kind, uint64_t id, int64_t time_ns,
             std::span<const float> values, double y, double weight) {
  if (kind == schema::SelfTestKind::Observe) {
    (void)model->Observe(id, time_ns, values, nullptr);
  } else {
    (void)model->Learn(id, y, weight, nullptr);
  }
}

class StepMaker {
 public:
  StepMaker(Running* running, const std::string& label)
      : running_(running), decoder_(running->spec.table(), label), values_(running->spec.feature_count()) {}

  void Bind(const lab::CsvTable& data) {
    const std::vector<std::string_view> names(data.columns().begin(), data.columns().end());
    stream::HeaderMatch match;
    if (!Ok(decoder_.BindColumns(names, &match))) {
      throw Error(ExitCode::kUsage,
                  fmt::format("{} has none of the spec's features as a column, or one twice; give the "
                              "kind of data that the model was trained on",
                              data.path()));
    }
    if (match.missing_features > 0) {
      Warn(fmt::format("{} has no column '{}': it is missing in the whole self-test", data.path(),
                       running_->spec.feature_name(match.first_missing)));
    }
  }

  /// False when the row is unusable.
  bool Add(std::span<const std::string_view> cells) {
    stream::DecodedSample sample;
    if (!Ok(decoder_.DecodeCells(cells, values_, &sample))) return false;
    const uint64_t id = first_id_ + rows_;
    auto observe = std::make_unique<schema::SelfTestStepT>();
    observe->kind = schema::SelfTestKind::Observe;
    observe->id = id;
    observe->time_ns = static_cast<int64_t>(rows_) * kStepNs;
    observe->values = values_;
    Push(std::move(observe));
    ++rows_;
    if (sample.label.state != stream::LabelState::kPresent) return true;
    auto learn = std::make_unique<schema::SelfTestStepT>();
    learn->kind = schema::SelfTestKind::Learn;
    learn->id = id;
    learn->y = sample.label.value;
    Push(std::move(learn));
    return true;
  }

  uint64_t rows() const { return rows_; }
  std::vector<std::unique_ptr<schema::SelfTestStepT>> Take() { return std::move(steps_); }

 private:
  void Push(std::unique_ptr<schema::SelfTestStepT> step) {
    RunStep(&running_->model, step->kind, step->id, step->time_ns, step->values, step->y, step->weight);
    steps_.push_back(std::move(step));
  }

  Running* running_;
  stream::SampleDecoder decoder_;
  std::vector<float> values_;
  std::vector<std::unique_ptr<schema::SelfTestStepT>> steps_;
  uint64_t first_id_ = running_->model.last_id() + 1;  // goes on where training ended
  uint64_t rows_ = 0;
};

}  // namespace

std::unique_ptr<schema::SelfTestT> MakeSelfTest(base::ByteView spec, base::ByteView image,
                                                const std::string& data, uint32_t rows,
                                                const std::string& label) {
  const lab::CsvTable table = lab::CsvTable::Read(data);
  Running running(spec, image);
  StepMaker maker(&running, label);
  maker.Bind(table);
  uint64_t skipped = 0;
  uint64_t first_skipped = 0;
  table.ForEachRow(
      [&](std::span<const std::string_view> cells, uint64_t) {
        (void)maker.Add(cells);
        return maker.rows() < rows;
      },
      [&](uint64_t line, uint32_t) {
        if (skipped++ == 0) first_skipped = line;
      });
  if (skipped > 0) Warn(lab::SkippedText(skipped, data, first_skipped));
  if (maker.rows() == 0) {
    throw Error(ExitCode::kUsage, fmt::format("{} has no usable row for a self-test", data));
  }
  if (maker.rows() < rows)
    Warn(fmt::format("{} has only {} usable rows: a shorter self-test", data, maker.rows()));
  if (!running.model.AllFinite()) {
    throw Error(ExitCode::kVerificationFailed,
                "after the self-test the model holds numbers that are not finite; every device would refuse "
                "it, so train "
                "it again with scaled inputs or a smaller rate");
  }
  auto test = std::make_unique<schema::SelfTestT>();
  test->steps = maker.Take();
  test->image_sha256 = std::make_unique<schema::Sha256>(package::ToSchema(running.model.ImageDigest()));
  return test;
}

void FillVersions(schema::ManifestT* manifest) {
  auto layout = std::make_unique<schema::LayoutVersionT>();
  layout->kind = "image";
  layout->version = learn::kImageLayoutVersion;
  manifest->layouts.push_back(std::move(layout));
  manifest->numerics_version = learn::kNumericsVersion;
}

bool RunSelfTest(const package::Manifest& manifest, base::ByteView image) {
  Running running(manifest.spec(), image);
  std::vector<float> values;
  for (uint32_t i = 0; i < manifest.self_test_steps(); ++i) {
    const schema::SelfTestStep& step = manifest.self_test_step(i);
    values.clear();
    if (step.values() != nullptr) values.assign(step.values()->begin(), step.values()->end());
    RunStep(&running.model, step.kind(), step.id(), step.time_ns(), values, step.y(), step.weight());
  }
  return running.model.ImageDigest() == manifest.self_test_digest();
}

}  // namespace dipper::cli
