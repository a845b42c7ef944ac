// Where every part of a model image lies and how it is configured: plain numbers computed from a spec, the
// same for Spec (which checks them) and Model (which uses them). Thread-safe: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "agent/learn/image/limits.h"
#include "agent/learn/image/parts.h"
#include "agent/learn/learners/anomaly_score.h"
#include "agent/learn/learners/half_space_trees.h"
#include "agent/learn/learners/race.h"
#include "agent/learn/metrics/auc.h"
#include "agent/learn/metrics/classification.h"
#include "agent/learn/metrics/conformal.h"
#include "agent/learn/metrics/regression.h"
#include "agent/learn/metrics/window.h"
#include "agent/schema/spec_generated.h"

namespace dipper::learn {

/// A range of bytes of the image; offset and size are multiples of 16.
struct Section {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

/// A list in the image's table section (16-bit numbers): which inputs, which lags.
struct TableList {
  uint32_t first = 0;
  uint32_t count = 0;
};

struct StageLayout {
  StageConfig config;
  uint32_t in_width = 0, out_width = 0;
  TableList inputs;      ///< selected inputs, ascending
  TableList parameters;  ///< lags: the lags; one_hot: category counts of the selected inputs
  Section section;
};

struct LearnerLayout {
  LearnerConfig config;
  Section section;
};

struct DetectorLayout {
  DetectorConfig config;
  schema::DriftInput input = schema::DriftInput::Loss;
  schema::DriftAction on_alarm = schema::DriftAction::Report;
  Section section;
  uint32_t copies = 1;  ///< on features: one for each feature, categorical ones left unused
  uint64_t stride = 0;  ///< bytes from one copy to the next
};

struct TargetLayout {
  schema::TargetKind kind = schema::TargetKind::LabelColumn;
  bool classification = false;
  uint32_t feature = 0;  ///< FeatureAhead
  uint32_t ahead = 0;    ///< FeatureAhead
  uint32_t classes = 0;  ///< 0 unless classification
  bool balanced = false;
  uint32_t label_delay = 0;  ///< labels between a sample and its own, as far as known
};

/// Everything a model needs to know about its image, without pointers.
struct Layout {
  uint32_t features = 0;
  bool all_numeric = true;  ///< no feature is categorical
  uint32_t inputs = 0;      ///< of the learner
  uint32_t outputs = 0;     ///< of the learner
  TargetLayout target;
  uint32_t stage_count = 0;
  std::array<StageLayout, kMaxStages> stages;
  TableList categories;          ///< per feature
  TableList learner_categories;  ///< per learner input
  uint32_t table_count = 0;
  uint32_t input_stride = 0;  ///< widest row of stage values, in floats
  bool in_place = false;      ///< stages run in the pending ring's place of their sample

  uint32_t learner_count = 1;
  std::array<LearnerLayout, kMaxRaceMembers> learners;  ///< one, or the members of a race
  bool background_enabled = false;  ///< a second learner of the same kind may grow beside the first
  Section background_section;
  bool race_enabled = false;
  bool race_trivial = false;  ///< the no-change rival is the last member
  RaceConfig race;
  Section race_section;
  bool unsupervised = false;  ///< `scorer` scores every sample; no learner, nothing waits for labels
  HalfSpaceTreesConfig scorer;
  Section scorer_section;
  uint32_t entry_outputs = 0;  ///< answers kept with a sample: the model's, then each member's

  uint32_t pending_capacity = 0, pending_entry_bytes = 0;
  uint64_t pending_max_age = 0;
  uint32_t truth_capacity = 0;  ///< FeatureAhead with anomaly scoring, else 0
  bool anomaly_enabled = false, auc_enabled = false;
  AnomalyScoreConfig anomaly;
  ClassificationMetricsConfig classification_metrics;
  RegressionMetricsConfig regression_metrics;
  LossWindowConfig loss_window;
  bool intervals_enabled = false;
  ConformalConfig intervals;
  AucWindowConfig auc;
  uint32_t detector_count = 0;
  std::array<DetectorLayout, kMaxDetectors> detectors;
  bool watches_features = false;  ///< one of them is on features
  uint32_t min_labels = 0;

  Section table_section, pending_section, truth_section, metrics_section, window_section, auc_section,
      anomaly_section, intervals_section;
  uint64_t total_bytes = 0;

  /// Points the lists of every configuration into `tables`, which hold the content of the table section and
  /// must outlive the layout; null: to nothing. Copies of a layout point to the same tables.
  void Bind(const uint16_t* tables);
};

/// A layout and the content of its table section.
struct Plan {
  Layout layout;
  std::array<uint16_t, kMaxTableEntries> tables{};
};

/// Computes the plan of a verified table, checking every value. Statuses and `why` as Spec::Parse.
base::Status MakePlan(const schema::Spec& table, Plan* plan, const char** why);

}  // namespace dipper::learn
