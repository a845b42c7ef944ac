// What a compiled spec may hold: each refusal with its status and a reason that names the key.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

using base::Status;

struct Case {
  const char* name;
  std::function<void(schema::SpecT*)> change;
  Status status;
  const char* why;  // must occur in the reason
};

schema::SpecT Good() {
  schema::SpecT spec = MakeSpec("linear", 3, 2);
  AddStage(&spec, schema::StandardScalerT());
  AddDrift(&spec);
  return spec;
}

template <typename Params>
std::function<void(schema::SpecT*)> Learner(const std::function<void(Params*)>& change) {
  return [change](schema::SpecT* spec) {
    Params params;
    change(&params);
    spec->learner.Reset();
    spec->learner.Set(params);
  };
}

void Lag(schema::SpecT* spec, const std::vector<uint16_t>& lags) {
  schema::LagsT stage;
  stage.lags = lags;
  AddStage(spec, stage);
}

void Detector(schema::SpecT* spec, double delta, double threshold, uint32_t min_samples) {
  spec->drift.clear();
  schema::PageHinkleyT test;
  test.delta = delta;
  test.threshold = threshold;
  test.min_samples = min_samples;
  auto drift = std::make_unique<schema::DriftT>();
  drift->params.Set(test);
  spec->drift.push_back(std::move(drift));
}

const double kNan = std::numeric_limits<double>::quiet_NaN();

const Case kCases[] = {
    {"model_id empty", [](auto* s) { s->model_id = ""; }, Status::kInvalidArgument, "model_id"},
    {"model_id path", [](auto* s) { s->model_id = "../x"; }, Status::kInvalidArgument, "model_id"},
    {"model_id wildcard", [](auto* s) { s->model_id = "a+"; }, Status::kInvalidArgument, "model_id"},
    {"model_id long", [](auto* s) { s->model_id = std::string(33, 'a'); }, Status::kInvalidArgument,
     "model_id"},
    {"no features", [](auto* s) { s->features.clear(); }, Status::kInvalidArgument, "feature"},
    {"257 features",
     [](auto* s) {
       for (int i = 0; i < 254; ++i) AddFeature(s, "x" + std::to_string(i));
     },
     Status::kInvalidArgument, "256"},
    {"same names", [](auto* s) { s->features[1]->name = "f0"; }, Status::kInvalidArgument, "feature.name"},
    {"control character", [](auto* s) { s->features[1]->name = "a\nb"; }, Status::kInvalidArgument,
     "feature.name"},
    {"numeric with categories", [](auto* s) { s->features[0]->categories = {"a"}; }, Status::kInvalidArgument,
     "categories"},
    {"categorical without", [](auto* s) { s->features[0]->type = schema::FeatureType::Categorical; },
     Status::kInvalidArgument, "categories"},
    {"same categories",
     [](auto* s) {
       AddFeature(s, "k", {"a", "a"});
     },
     Status::kInvalidArgument, "categories"},
    {"categorical input",
     [](auto* s) {
       AddFeature(s, "k", {"a", "b"});
     },
     Status::kInvalidArgument, "one_hot"},
    {"one class", [](auto* s) { s->target->classes = {"a"}; }, Status::kInvalidArgument, "target.classes"},
    {"65 classes", [](auto* s) { s->target->spare_classes = 63; }, Status::kInvalidArgument,
     "target.classes"},
    {"same classes",
     [](auto* s) {
       s->target->classes = {"a", "a"};
     },
     Status::kInvalidArgument, "target.classes"},
    {"regression with classes", [](auto* s) { s->task = schema::Task::Regression; }, Status::kInvalidArgument,
     "target.classes"},
    {"anomaly on labels", [](auto* s) { s->task = schema::Task::Anomaly; }, Status::kInvalidArgument,
     "feature_ahead"},
    {"classes of no target", [](auto* s) { s->target->kind = schema::TargetKind::None; },
     Status::kInvalidArgument, "only for task anomaly"},
    {"no target, no scorer",
     [](auto* s) {
       s->task = schema::Task::Anomaly;
       s->target->kind = schema::TargetKind::None;
     },
     Status::kInvalidArgument, "target.classes"},
    {"unknown target", [](auto* s) { s->target->kind = static_cast<schema::TargetKind>(9); },
     Status::kUnimplemented, "target.kind"},
    {"unknown task", [](auto* s) { s->task = static_cast<schema::Task>(7); }, Status::kUnimplemented, "task"},
    {"numeric feature ahead as classes",
     [](auto* s) {
       s->target->kind = schema::TargetKind::FeatureAhead;
       s->target->classes.clear();
     },
     Status::kInvalidArgument, "target.feature"},
    {"feature ahead out of range",
     [](auto* s) {
       s->target->kind = schema::TargetKind::FeatureAhead;
       s->target->feature = 3;
     },
     Status::kInvalidArgument, "no such feature"},
    {"zero ahead",
     [](auto* s) {
       s->target->kind = schema::TargetKind::FeatureAhead;
       s->target->ahead = 0;
     },
     Status::kInvalidArgument, "target.ahead"},
    {"17 stages",
     [](auto* s) {
       for (int i = 0; i < 16; ++i) AddStage(s, schema::StandardScalerT());
     },
     Status::kInvalidArgument, "16 stages"},
    {"no lags", [](auto* s) { Lag(s, {}); }, Status::kInvalidArgument, "lags"},
    {"lag 0", [](auto* s) { Lag(s, {0}); }, Status::kInvalidArgument, "lags"},
    {"lag 4097", [](auto* s) { Lag(s, {4097}); }, Status::kInvalidArgument, "lags"},
    {"lags not ascending",
     [](auto* s) {
       Lag(s, {2, 2});
     },
     Status::kInvalidArgument, "lags"},
    {"too wide",
     [](auto* s) {
       for (int i = 0; i < 8; ++i) Lag(s, {1});
     },
     Status::kInvalidArgument, "512"},
    {"one_hot without categories", [](auto* s) { AddStage(s, schema::OneHotT()); }, Status::kInvalidArgument,
     "stage.inputs"},
    {"scaler input out of range",
     [](auto* s) {
       schema::StandardScalerT scaler;
       scaler.inputs = {3};
       AddStage(s, scaler);
     },
     Status::kInvalidArgument, "stage.inputs"},
    {"scaler decay NaN",
     [](auto* s) {
       schema::StandardScalerT scaler;
       scaler.decay = kNan;
       AddStage(s, scaler);
     },
     Status::kInvalidArgument, "decay"},
    {"scaler decay 1",
     [](auto* s) {
       schema::StandardScalerT scaler;
       scaler.decay = 1;
       AddStage(s, scaler);
     },
     Status::kInvalidArgument, "decay"},
    {"scaler clip",
     [](auto* s) {
       schema::StandardScalerT t;
       t.clip = -1;
       AddStage(s, t);
     },
     Status::kInvalidArgument, "clip"},
    {"rate 0", Learner<schema::LinearT>([](auto* p) { p->rate = 0; }), Status::kInvalidArgument,
     "linear.rate"},
    {"rate NaN", Learner<schema::LinearT>([](auto* p) { p->rate = kNan; }), Status::kInvalidArgument,
     "linear.rate"},
    {"l2", Learner<schema::LinearT>([](auto* p) { p->l2 = 2; }), Status::kInvalidArgument, "linear.l2"},
    {"squared on classes", Learner<schema::LinearT>([](auto* p) { p->loss = schema::Loss::Squared; }),
     Status::kInvalidArgument, "linear.loss"},
    {"unknown loss", Learner<schema::LinearT>([](auto* p) { p->loss = static_cast<schema::Loss>(99); }),
     Status::kUnimplemented, "linear.loss"},
    {"forgetting", Learner<schema::RlsT>([](auto* p) { p->forgetting = 0.5; }), Status::kInvalidArgument,
     "rls.forgetting"},
    {"regularization", Learner<schema::RlsT>([](auto* p) { p->regularization = 0; }),
     Status::kInvalidArgument, "rls.regularization"},
    {"grace", Learner<schema::HoeffdingTreeT>([](auto* p) { p->grace_labels = 0; }), Status::kInvalidArgument,
     "grace_labels"},
    {"delta", Learner<schema::HoeffdingTreeT>([](auto* p) { p->delta = 1; }), Status::kInvalidArgument,
     "delta"},
    {"tie", Learner<schema::HoeffdingTreeT>([](auto* p) { p->tie = kNan; }), Status::kInvalidArgument, "tie"},
    {"depth", Learner<schema::HoeffdingTreeT>([](auto* p) { p->max_depth = 0; }), Status::kInvalidArgument,
     "max_depth"},
    {"pool above budget", Learner<schema::HoeffdingTreeT>([](auto* p) { p->pool_bytes = 200000; }),
     Status::kResourceExhausted, "budget"},
    {"pending 65537",
     [](auto* s) {
       s->pending = std::make_unique<schema::PendingT>();
       s->pending->capacity = 65537;
     },
     Status::kInvalidArgument, "pending.capacity"},
    {"pending huge",
     [](auto* s) {
       s->pending = std::make_unique<schema::PendingT>();
       s->pending->capacity = 0xffffffffU;
     },
     Status::kInvalidArgument, "pending.capacity"},
    {"anomaly on classes", [](auto* s) { s->anomaly = std::make_unique<schema::AnomalyScoreT>(); },
     Status::kInvalidArgument, "anomaly"},
    {"score drift without anomaly", [](auto* s) { AddDrift(s, schema::DriftInput::Score); },
     Status::kInvalidArgument, "drift.input"},
    {"5 detectors",
     [](auto* s) {
       for (int i = 0; i < 4; ++i) AddDrift(s);
     },
     Status::kInvalidArgument, "drift"},
    {"threshold 0", [](auto* s) { Detector(s, 0.1, 0.0, 30); }, Status::kInvalidArgument, "page_hinkley"},
    {"detector delta NaN", [](auto* s) { Detector(s, kNan, 50.0, 30); }, Status::kInvalidArgument,
     "page_hinkley"},
    {"loss bound NaN", [](auto* s) { s->loss_bound = kNan; }, Status::kInvalidArgument, "loss_bound"},
    {"budget too small", [](auto* s) { s->budget_bytes = 2048; }, Status::kResourceExhausted, "budget"},
    {"pending above budget",
     [](auto* s) {
       s->pending = std::make_unique<schema::PendingT>();
       s->pending->capacity = 60000;
     },
     Status::kResourceExhausted, "pending.capacity"},
    {"stages above budget",
     [](auto* s) {
       s->budget_bytes = 16384;
       Lag(s, {4096});
     },
     Status::kResourceExhausted, "shorter lags"},
    {"detectors above budget",
     [](auto* s) {
       s->budget_bytes = 8192;
       s->drift.clear();
       for (int i = 0; i < 3; ++i) {
         auto drift = std::make_unique<schema::DriftT>();
         drift->params.Set(schema::AdwinT());
         drift->input = schema::DriftInput::Features;
         s->drift.push_back(std::move(drift));
       }
     },
     Status::kResourceExhausted, "drift detectors"},
    {"no room for a tree",
     [](auto* s) {
       schema::HoeffdingTreeT tree;
       s->learner.Reset();
       s->learner.Set(tree);
       s->budget_bytes = 3072;
     },
     Status::kResourceExhausted, "budget: too small"},
    {"budget huge", [](auto* s) { s->budget_bytes = ~uint64_t{0}; }, Status::kInvalidArgument, "budget"},
};

TEST(Spec, RefusesByName) {
  for (const Case& test : kCases) {
    SCOPED_TRACE(test.name);
    schema::SpecT spec = Good();
    test.change(&spec);
    Compiled compiled(spec);
    const auto parsed = compiled.Parse();
    EXPECT_EQ(parsed.status(), test.status) << base::StatusName(parsed.status());
    EXPECT_NE(std::string(compiled.why()).find(test.why), std::string::npos)
        << "reason was: " << compiled.why();
  }
}

TEST(Spec, AcceptsAndAnswers) {
  schema::SpecT table = Good();
  AddFeature(&table, "kind", {"a", "b"});
  schema::OneHotT one_hot;
  AddStage(&table, one_hot);
  table.target->spare_classes = 2;
  Compiled compiled(table);
  const auto parsed = compiled.Parse();
  ASSERT_TRUE(parsed.ok()) << compiled.why();
  const Spec& spec = parsed.value();
  EXPECT_EQ(spec.feature_count(), 4U);
  EXPECT_EQ(spec.input_count(), 6U);  // f0 f1 f2 a b other
  EXPECT_EQ(spec.class_count(), 4U);
  EXPECT_EQ(spec.class_name(1), "c1");
  EXPECT_EQ(spec.class_name(3), "");
  EXPECT_EQ(spec.category_count(3), 2U);
  EXPECT_EQ(spec.FindFeature("kind"), 3U);
  EXPECT_EQ(spec.FindFeature("none"), 4U);
  EXPECT_EQ(spec.model_id(), "main");
  EXPECT_EQ(spec.state_bytes() % 16, 0U);
  EXPECT_LE(spec.state_bytes(), table.budget_bytes);
}

TEST(Spec, ABudgetSizesTheRingAndTheScoreWindows) {
  struct Sizes {
    uint64_t budget;
    uint32_t waiting, scores;
  };
  for (const Sizes& sizes : {Sizes{4096, 8, 64}, Sizes{16384, 16, 256}, Sizes{65536, 64, 1024},
                             Sizes{uint64_t{1} << 20U, 64, 1024}}) {
    for (const uint32_t classes : {0U, 2U}) {
      schema::SpecT table = MakeSpec("linear", 3, classes);
      table.budget_bytes = sizes.budget;
      Compiled compiled(table);
      const auto parsed = compiled.Parse();
      ASSERT_TRUE(parsed.ok()) << sizes.budget << compiled.why();
      const Layout& layout = parsed->plan().layout;
      EXPECT_EQ(layout.pending_capacity, sizes.waiting);
      EXPECT_EQ(layout.loss_window.window, classes == 2 ? 1024 : sizes.scores);
      EXPECT_EQ(layout.auc_enabled, classes == 2);
      EXPECT_EQ(layout.auc.window, sizes.scores);
    }
  }
}

TEST(Spec, TheRingCoversTheLabelDelayAndKeepsWhatIsSaid) {
  schema::SpecT table = MakeSpec("linear", 3, 2);
  table.budget_bytes = 16384;
  const auto capacity = [&table] {
    Compiled compiled(table);
    const auto parsed = compiled.Parse();
    return parsed.ok() ? parsed->plan().layout.pending_capacity : 0;
  };
  table.target->label_delay = 48;
  EXPECT_EQ(capacity(), 49U);
  table.target->label_delay = 3;
  EXPECT_EQ(capacity(), 16U);
  table.pending = std::make_unique<schema::PendingT>();  // 64, the schema's
  EXPECT_EQ(capacity(), 64U);
  table.pending->capacity = 5;
  EXPECT_EQ(capacity(), 5U);
  table.pending->capacity = 0;  // by the budget, for a [pending] that says something else
  EXPECT_EQ(capacity(), 16U);
  // Wide samples: a quarter of the budget, and never fewer than 8.
  schema::SpecT wide = MakeSpec("linear", 200, 2);
  wide.budget_bytes = 32768;
  table = std::move(wide);
  EXPECT_EQ(capacity(), 32768U / 4 / 880);
}

TEST(Spec, EveryLearnerFitsIntoSixteenKibibytes) {
  for (const char* learner :
       {"linear", "rls", "naive_bayes", "hoeffding_tree", "adaptive_forest", "knn", "race"}) {
    for (const uint32_t classes : {0U, 2U}) {
      if (classes == 0 && std::string(learner) == "naive_bayes") continue;
      schema::SpecT table = MakeSpec(learner, 8, classes);
      table.budget_bytes = 16384;
      if (auto* forest = table.learner.AsAdaptiveForest()) {
        if (classes == 0) continue;  // its histograms are larger: see the test below
        forest->trees = 5;           // as spec init does
      }
      if (auto* race = table.learner.AsRace()) race->members.resize(2);  // linear, hoeffding_tree
      AddStage(&table, schema::StandardScalerT());
      auto drift = std::make_unique<schema::DriftT>();
      drift->params.Set(schema::AdwinT());
      table.drift.push_back(std::move(drift));
      Compiled compiled(table);
      const auto parsed = compiled.Parse();
      ASSERT_TRUE(parsed.ok()) << learner << classes << ": " << compiled.why();
      EXPECT_LE(parsed->state_bytes(), 16384U);
      AlignedBytes memory(parsed->state_bytes());
      EXPECT_TRUE(Model::Create(parsed.value(), memory.bytes()).ok());
    }
  }
}

TEST(Spec, AForestOfValuesNeedsMoreAndSaysSo) {
  schema::SpecT table = MakeSpec("adaptive_forest", 8, 0);
  table.budget_bytes = 16384;
  Compiled small(table);
  EXPECT_EQ(small.Parse().status(), Status::kResourceExhausted);
  EXPECT_NE(std::string(small.why()).find("smaller learner"), std::string::npos) << small.why();
  table.budget_bytes = 65536;
  Compiled larger(table);
  EXPECT_TRUE(larger.Parse().ok()) << larger.why();
}

TEST(Spec, TreeTakesWhatIsLeftOfTheBudget) {
  schema::SpecT table = MakeSpec("hoeffding_tree", 3, 2);
  Compiled compiled(table);
  const auto parsed = compiled.Parse();
  ASSERT_TRUE(parsed.ok()) << compiled.why();
  EXPECT_LE(parsed->state_bytes(), table.budget_bytes);
  EXPECT_GT(parsed->state_bytes(), table.budget_bytes - 4096);
}

TEST(Spec, FaultStageOnlyInTestBuilds) {
  schema::SpecT table = Good();
  AddStage(&table, schema::FaultT());
  Compiled compiled(table);
#ifdef DIPPER_TEST_FAULTS
  EXPECT_TRUE(compiled.Parse().ok()) << compiled.why();
#else
  EXPECT_EQ(compiled.Parse().status(), Status::kUnimplemented);
  EXPECT_NE(std::string(compiled.why()).find("fault"), std::string::npos);
#endif
}

TEST(Spec, RefusesDamagedAndMisalignedBytes) {
  Compiled compiled(Good());
  const base::MutableBytes bytes = compiled.bytes();
  EXPECT_EQ(Spec::Parse({}).status(), Status::kDataLoss);
  EXPECT_EQ(Spec::Parse(bytes.first(bytes.size() - 8)).status(), Status::kDataLoss);
  AlignedBytes shifted(bytes.size() + 16);
  std::memcpy(shifted.bytes().data() + 4, bytes.data(), bytes.size());
  EXPECT_EQ(Spec::Parse(shifted.bytes().subspan(4, bytes.size())).status(), Status::kInvalidArgument);
  // Whatever one byte is changed to: refused or fully usable, never a crash.
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int mask : {0x01, 0x80, 0xff}) {
      bytes[at] = static_cast<uint8_t>(bytes[at] ^ mask);
      const auto parsed = Spec::Parse(bytes);
      if (parsed.ok() && parsed->state_bytes() < (1U << 20)) {
        AlignedBytes memory(parsed->state_bytes());
        EXPECT_TRUE(Model::Create(parsed.value(), memory.bytes()).ok());
      }
      bytes[at] = static_cast<uint8_t>(bytes[at] ^ mask);
    }
  }
  EXPECT_TRUE(Spec::Parse(bytes).ok());
}

}  // namespace
}  // namespace dipper::learn::testing
