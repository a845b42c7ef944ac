// See model.h: creating an image, taking one over after checking it, and reading its metrics.
#include <cmath>
#include <cstring>

#include "agent/base/sha256.h"
#include "agent/learn/image/entry.h"
#include "agent/learn/image/model.h"
#include "agent/learn/math/counts.h"
#include "agent/learn/math/fp_env.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {

using base::Status;

namespace {

bool Aligned(base::ByteView memory) { return reinterpret_cast<uintptr_t>(memory.data()) % 16 == 0; }

bool Whole(double x, double below) { return x >= 0.0 && x < below && std::floor(x) == x; }

constexpr double kLargestStored = 1e40;

}  // namespace

/// Checks the sections of an image one after another; every index, count and number.
class ImageChecker {
 public:
  ImageChecker(const Layout& layout, base::ByteView memory) : layout_(layout), memory_(memory) {}

  Status Run() const {
    DIPPER_RETURN_IF_ERROR(Header());
    DIPPER_RETURN_IF_ERROR(Stages());
    DIPPER_RETURN_IF_ERROR(Pending());
    DIPPER_RETURN_IF_ERROR(Truth());
    DIPPER_RETURN_IF_ERROR(Learners());
    return Rest();
  }

 private:
  base::ByteView At(const Section& section) const { return memory_.subspan(section.offset, section.bytes); }

  Status Header() const {
    const auto h = base::Load<ImageHeader>(memory_.data());
    const bool rings = h.pending_count <= layout_.pending_capacity &&
                       (h.pending_head == 0 || h.pending_head < layout_.pending_capacity) &&
                       h.truth_count <= layout_.truth_capacity &&
                       (h.truth_head == 0 || h.truth_head < layout_.truth_capacity);
    const bool numbers = IsFiniteOrMissing(h.last_actual) && !(std::fabs(h.last_actual) > kLargestStored) &&
                         h.residual_scale >= 0.0 && h.residual_scale <= kLargestStored &&
                         std::fabs(h.anomaly_residual) <= kLargestStored;
    bool reserved = true;
    for (const double loss : h.step_losses) {
      if (!(loss >= 0.0 && loss <= kLargestStored)) return Status::kDataLoss;
    }
    for (const uint64_t word : h.reserved) reserved = reserved && word == 0;
    const uint64_t most = layout_.unsupervised ? h.samples : h.labels;
    const bool counts = ValidCounts(h.samples, h.skipped, h.series, h.missing_values, h.clamped_values,
                                    h.labels, h.unmatched_labels, h.rejected_labels, h.lost_samples,
                                    h.background_labels, h.replacements, h.resets) &&
                        h.learned <= most && (h.labels > 0 || h.residual_scale == 0.0);
    const bool background =
        (layout_.background_enabled || (h.background_labels == 0 && h.replacements == 0)) &&
        h.background_loss >= 0.0 && h.background_loss <= kLargestStored && h.foreground_loss >= 0.0 &&
        h.foreground_loss <= kLargestStored;
    if (!background) return Status::kDataLoss;
    return rings && numbers && reserved && counts && h.flags <= kFlagFrozen ? Status::kOk : Status::kDataLoss;
  }

  Status Stages() const {
    for (uint32_t i = 0; i < layout_.stage_count; ++i) {
      const StageLayout& stage = layout_.stages[i];
      DIPPER_RETURN_IF_ERROR(ValidatePart(stage.config, At(stage.section)));
    }
    return Status::kOk;
  }

  bool GoodEntry(const uint8_t* at) const {
    const auto e = base::Load<PendingEntry>(at);
    const bool classification = layout_.target.classification;
    bool good = e.waiting <= 1 && (e.issued >= 0.0 || Conformal::Unbounded(e.issued)) &&
                std::fabs(e.issued) <= kLargestStored && std::fabs(e.base) <= kLargestStored;
    if (classification) {
      const auto classes = static_cast<double>(layout_.target.classes);
      good = good && Whole(e.value, classes) && Whole(e.trivial, classes);
    } else {
      good = good && std::fabs(e.value) <= kLargestStored && std::fabs(e.trivial) <= kLargestStored;
    }
    const double* outputs = PlaceOf<double>(at + sizeof(PendingEntry));
    for (uint32_t i = 0; i < layout_.entry_outputs; ++i) {
      good = good && (classification ? outputs[i] >= 0.0 && outputs[i] <= 1.0 + 1e-9
                                     : std::fabs(outputs[i]) <= kLargestStored);
    }
    const float* inputs = PlaceOf<float>(at + sizeof(PendingEntry) + layout_.entry_outputs * sizeof(double));
    for (uint32_t i = 0; i < layout_.inputs; ++i) good = good && IsFiniteOrMissing(inputs[i]);
    return good;
  }

  Status Pending() const {
    const auto h = base::Load<ImageHeader>(memory_.data());
    const uint8_t* first = memory_.data() + layout_.pending_section.offset;
    for (uint64_t i = 0; i < layout_.pending_capacity; ++i) {
      if (!GoodEntry(first + i * layout_.pending_entry_bytes)) return Status::kDataLoss;
    }
    uint64_t last = 0;
    for (uint64_t i = 0; i < h.pending_count; ++i) {
      // Header() has found pending_count <= pending_capacity, so whoever is here divides by one at least.
      const uint64_t place =
          (h.pending_head + i) % layout_.pending_capacity;  // NOLINT(clang-analyzer-core.DivideZero)
      const auto e = base::Load<PendingEntry>(first + place * layout_.pending_entry_bytes);
      const bool rising =
          (i == 0 || e.id > last) && e.id <= h.last_id && e.sample < h.samples && e.learned <= h.learned;
      if (!rising) return Status::kDataLoss;
      last = e.id;
    }
    return Status::kOk;
  }

  Status Truth() const {
    const TruthEntry* ring = PlaceOf<TruthEntry>(memory_.data() + layout_.truth_section.offset);
    for (uint32_t i = 0; i < layout_.truth_capacity; ++i) {
      if (!(ring[i].score >= 0.0 && ring[i].score <= 1.0)) return Status::kDataLoss;
    }
    return Status::kOk;
  }

  Status Learners() const {
    for (uint32_t i = 0; i < layout_.learner_count; ++i) {
      DIPPER_RETURN_IF_ERROR(ValidatePart(layout_.learners[i].config, At(layout_.learners[i].section)));
    }
    const auto h = base::Load<ImageHeader>(memory_.data());
    if (h.background_labels > 0) {
      DIPPER_RETURN_IF_ERROR(ValidatePart(layout_.learners[0].config, At(layout_.background_section)));
    }
    if (layout_.unsupervised) return HalfSpaceTrees::Validate(layout_.scorer, At(layout_.scorer_section));
    return layout_.race_enabled ? Race::Validate(layout_.race, At(layout_.race_section)) : Status::kOk;
  }

  Status Rest() const {
    if (layout_.target.classification) {
      DIPPER_RETURN_IF_ERROR(
          ClassificationMetrics::Validate(layout_.classification_metrics, At(layout_.metrics_section)));
    } else {
      DIPPER_RETURN_IF_ERROR(
          RegressionMetrics::Validate(layout_.regression_metrics, At(layout_.metrics_section)));
    }
    if (!layout_.unsupervised)
      DIPPER_RETURN_IF_ERROR(LossWindow::Validate(layout_.loss_window, At(layout_.window_section)));
    if (layout_.intervals_enabled)
      DIPPER_RETURN_IF_ERROR(Conformal::Validate(layout_.intervals, At(layout_.intervals_section)));
    if (layout_.auc_enabled)
      DIPPER_RETURN_IF_ERROR(AucWindow::Validate(layout_.auc, At(layout_.auc_section)));
    if (layout_.anomaly_enabled) {
      DIPPER_RETURN_IF_ERROR(AnomalyScore::Validate(layout_.anomaly, At(layout_.anomaly_section)));
    }
    for (uint32_t i = 0; i < layout_.detector_count; ++i) {
      const DetectorLayout& detector = layout_.detectors[i];
      for (uint32_t copy = 0; copy < detector.copies; ++copy) {
        const base::ByteView own = At(detector.section).subspan(copy * detector.stride, detector.stride);
        DIPPER_RETURN_IF_ERROR(ValidatePart(detector.config, own));
      }
    }
    return Status::kOk;
  }

  const Layout& layout_;
  base::ByteView memory_;
};

base::Result<uint64_t> Model::StateBytes(const Spec& spec) { return spec.state_bytes(); }

base::Result<Model> Model::Create(const Spec& spec, base::MutableBytes memory) {
  const Layout& layout = spec.plan().layout;
  if (!Aligned(memory) || memory.size() != layout.total_bytes) return Status::kInvalidArgument;
  DIPPER_RETURN_IF_ERROR(CheckFloatEnvironment());
  std::memset(memory.data(), 0, memory.size());
  // The tables come first: a model reads them when it is made.
  std::memcpy(memory.data() + layout.table_section.offset, spec.plan().tables.data(),
              layout.table_count * sizeof(uint16_t));
  const Model model(layout, memory);
  ImageHeader& h = model.header();
  h.magic = kImageMagic;
  h.layout_version = kImageLayoutVersion;
  h.numerics_version = kNumericsVersion;
  h.total_bytes = layout.total_bytes;
  h.spec_digest = spec.digest();
  h.last_actual = CanonicalNan();
  for (uint32_t i = 0; i < layout.stage_count; ++i) {
    const StageLayout& stage = model.layout_.stages[i];
    DIPPER_RETURN_IF_ERROR(CreatePart(stage.config, model.At(stage.section)));
  }
  for (uint32_t i = 0; i < layout.learner_count; ++i) {
    const LearnerLayout& learner = model.layout_.learners[i];
    DIPPER_RETURN_IF_ERROR(CreatePart(learner.config, model.At(learner.section)));
  }
  if (layout.unsupervised) {
    DIPPER_RETURN_IF_ERROR(HalfSpaceTrees::Create(model.layout_.scorer, model.At(layout.scorer_section)));
  }
  if (layout.race_enabled) DIPPER_RETURN_IF_ERROR(Race::Create(layout.race, model.At(layout.race_section)));
  const base::MutableBytes metrics = model.At(layout.metrics_section);
  DIPPER_RETURN_IF_ERROR(layout.target.classification
                             ? ClassificationMetrics::Create(layout.classification_metrics, metrics)
                             : RegressionMetrics::Create(layout.regression_metrics, metrics));
  if (!layout.unsupervised) {
    DIPPER_RETURN_IF_ERROR(LossWindow::Create(layout.loss_window, model.At(layout.window_section)));
  }
  if (layout.intervals_enabled) {
    DIPPER_RETURN_IF_ERROR(Conformal::Create(layout.intervals, model.At(layout.intervals_section)));
  }
  if (layout.auc_enabled) DIPPER_RETURN_IF_ERROR(AucWindow::Create(layout.auc, model.At(layout.auc_section)));
  if (layout.anomaly_enabled) {
    DIPPER_RETURN_IF_ERROR(AnomalyScore::Create(layout.anomaly, model.At(layout.anomaly_section)));
  }
  for (uint32_t i = 0; i < layout.detector_count; ++i) {
    const DetectorLayout& detector = layout.detectors[i];
    for (uint32_t copy = 0; copy < detector.copies; ++copy) {
      const base::MutableBytes own =
          model.At(detector.section).subspan(copy * detector.stride, detector.stride);
      DIPPER_RETURN_IF_ERROR(CreatePart(detector.config, own));
    }
  }
  return model;
}

base::Result<Model> Model::Attach(const Spec& spec, base::MutableBytes memory) {
  const Layout& layout = spec.plan().layout;
  if (!Aligned(memory) || memory.size() != layout.total_bytes) return Status::kInvalidArgument;
  DIPPER_RETURN_IF_ERROR(CheckFloatEnvironment());
  const Model model(layout, memory);
  const ImageHeader& h = model.header();
  if (h.magic != kImageMagic) return Status::kDataLoss;
  if (h.layout_version != kImageLayoutVersion || h.numerics_version != kNumericsVersion) {
    return Status::kUnimplemented;
  }
  if (h.total_bytes != layout.total_bytes || h.spec_digest != spec.digest()) return Status::kDataLoss;
  if (std::memcmp(model.tables(), spec.plan().tables.data(), layout.table_count * sizeof(uint16_t)) != 0) {
    return Status::kDataLoss;
  }
  DIPPER_RETURN_IF_ERROR(ImageChecker(model.layout_, memory).Run());
  return model;
}

bool Model::AllFinite() const { return base::Ok(ImageChecker(layout_, memory_).Run()); }

base::Digest Model::ImageDigest() const { return base::Sha256Of(memory_); }

void Model::SetFrozen(bool frozen) { header().flags = frozen ? kFlagFrozen : 0; }
bool Model::frozen() const { return (header().flags & kFlagFrozen) != 0; }
uint64_t Model::samples() const { return header().samples; }
uint64_t Model::labels_learned() const { return header().learned; }
uint64_t Model::last_id() const { return header().last_id; }
int64_t Model::last_time_ns() const { return header().last_time_ns; }

double Model::race_weight(uint32_t member) const {
  DIPPER_CHECK(member < race_members());
  return Race(layout_.race, At(layout_.race_section)).weight(member);
}

Metrics Model::ReadMetrics() const {
  const ImageHeader& h = header();
  const double none = CanonicalNan();
  Metrics m;
  m.samples = h.samples;
  m.skipped = h.skipped;
  m.series = h.series;
  m.missing_values = h.missing_values;
  m.clamped_values = h.clamped_values;
  m.labels = h.labels;
  m.learned = h.learned;
  m.unmatched_labels = h.unmatched_labels;
  m.rejected_labels = h.rejected_labels;
  m.lost_samples = h.lost_samples;
  for (uint64_t i = 0; i < h.pending_count; ++i) {
    m.pending += EntryAt((h.pending_head + i) % layout_.pending_capacity).head->waiting;
  }
  m.pending_capacity = layout_.pending_capacity;
  if (h.pending_count > 0) m.pending_age_samples = h.samples - EntryAt(h.pending_head).head->sample;
  m.accuracy = m.kappa = m.kappa_temporal = m.log_loss = m.mae = m.rmse = m.r2 = m.auc = m.pr_auc = none;
  m.balanced_accuracy = m.macro_f1 = m.brier = m.calibration_error = m.windowed_loss = none;
  m.interval_coverage = m.interval_width = m.interval_unbounded = none;
  m.trivial_accuracy = m.trivial_kappa = m.trivial_mae = m.trivial_rmse = none;
  ReadLossMetrics(&m);
  if (layout_.auc_enabled) {
    std::array<uint32_t, 1024> scratch;
    const AucWindow window(layout_.auc, At(layout_.auc_section));
    if (window.count() <= scratch.size()) {
      const AucWindow::Areas areas = window.ReadAreas({scratch.data(), window.count()});
      m.auc = areas.roc;
      m.pr_auc = areas.precision_recall;
    }
  }
  for (uint32_t i = 0; i < layout_.detector_count; ++i) {
    const DetectorLayout& detector = layout_.detectors[i];
    for (uint32_t copy = 0; copy < detector.copies; ++copy) {
      WithPart(detector.config, At(detector.section).subspan(copy * detector.stride, detector.stride),
               [&m](auto& part) {
                 m.drift_warnings += part.warnings();
                 m.drift_alarms += part.alarms();
                 m.drift_statistic =
                     part.statistic() > m.drift_statistic ? part.statistic() : m.drift_statistic;
               });
    }
  }
  if (layout_.anomaly_enabled) {
    const AnomalyScore anomaly(layout_.anomaly, At(layout_.anomaly_section));
    m.anomaly_events = anomaly.events();
    m.anomaly_score = anomaly.score();
    m.anomaly_active = anomaly.active();
    m.anomaly_peak = anomaly.peak();
    m.anomaly_samples = anomaly.samples();
  }
  m.cold = h.learned < layout_.min_labels;
  m.frozen = frozen();
  m.replacements = h.replacements;
  return m;
}

base::Result<FeatureDrift> Model::ReadFeatureDrift(uint32_t feature) const {
  FeatureDrift drift;
  bool watched = false;
  if (feature >= layout_.features || tables()[layout_.categories.first + feature] > 0)
    return Status::kNotFound;
  for (uint32_t i = 0; i < layout_.detector_count; ++i) {
    const DetectorLayout& detector = layout_.detectors[i];
    if (detector.input != schema::DriftInput::Features) continue;
    watched = true;
    WithPart(detector.config, At(detector.section).subspan(feature * detector.stride, detector.stride),
             [&drift](auto& part) {
               drift.warnings += part.warnings();
               drift.alarms += part.alarms();
               drift.statistic = part.statistic() > drift.statistic ? part.statistic() : drift.statistic;
             });
  }
  if (!watched) return Status::kNotFound;
  return drift;
}

void Model::ReadLossMetrics(Metrics* m) const {
  if (!layout_.unsupervised)
    m->windowed_loss = LossWindow(layout_.loss_window, At(layout_.window_section)).Read();
  if (layout_.intervals_enabled) {
    const Conformal::Summary s = Conformal(layout_.intervals, At(layout_.intervals_section)).Read();
    m->interval_coverage = s.coverage;
    m->interval_width = s.width;
    m->interval_unbounded = s.unbounded;
  }
  if (layout_.target.classification) {
    const ClassificationMetrics::Summary s =
        ClassificationMetrics(layout_.classification_metrics, At(layout_.metrics_section)).Read();
    m->accuracy = s.accuracy;
    m->kappa = s.kappa;
    m->kappa_temporal = s.kappa_temporal;
    m->log_loss = s.log_loss;
    m->balanced_accuracy = s.balanced_accuracy;
    m->macro_f1 = s.macro_f1;
    m->brier = s.brier;
    m->calibration_error = s.calibration_error;
    m->trivial_accuracy = s.trivial_accuracy;
    m->trivial_kappa = s.trivial_kappa;
    m->faded_loss = s.faded_loss;
    m->faded_trivial_loss = s.faded_trivial_loss;
    return;
  }
  const RegressionMetrics::Summary s =
      RegressionMetrics(layout_.regression_metrics, At(layout_.metrics_section)).Read();
  m->mae = s.mae;
  m->rmse = s.rmse;
  m->r2 = s.r2;
  m->trivial_mae = s.trivial_mae;
  m->trivial_rmse = s.trivial_rmse;
  m->faded_loss = s.faded_mae;
  m->faded_trivial_loss = s.faded_trivial_mae;
}

}  // namespace dipper::learn
