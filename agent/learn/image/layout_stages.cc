// See layout.h: the stages, each of which may widen or replace the inputs that the next one sees.
#include <algorithm>

#include "agent/learn/image/planner.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn {

using base::Status;

Status Planner::SelectInputs(const flatbuffers::Vector<uint16_t>* wanted, Kind kind, StageLayout* stage) {
  uint32_t count = 0;
  if (wanted == nullptr || wanted->size() == 0) {
    for (uint32_t i = 0; i < width_; ++i) {
      const bool categorical = categories_[i] > 0;
      if (kind == Kind::kAny || (kind == Kind::kCategorical) == categorical) {
        selected_[count++] = static_cast<uint16_t>(i);
      }
    }
  } else {
    if (wanted->size() > width_) return Refuse("stage.inputs: more inputs than there are");
    for (uint32_t i = 0; i < wanted->size(); ++i) {
      const uint16_t input = wanted->Get(i);
      if (input >= width_ || (i > 0 && input <= wanted->Get(i - 1))) {
        return Refuse("stage.inputs: existing inputs in ascending order, each once");
      }
      const bool categorical = categories_[input] > 0;
      if (kind == Kind::kNumeric && categorical) {
        return Refuse(
            "stage.inputs: this stage takes numeric inputs; put one_hot before it for a categorical one");
      }
      if (kind == Kind::kCategorical && !categorical)
        return Refuse("stage.inputs: one_hot takes categorical inputs");
      selected_[count++] = input;
    }
  }
  if (count == 0) return Refuse("stage.inputs: no input is of the type that this stage takes");
  return AddTable({selected_.data(), count}, &stage->inputs);
}

Status Planner::PlanScaler(const schema::StandardScaler& in, StageLayout* stage) {
  if (!(in.decay() >= 0.0 && in.decay() < 1.0)) return Refuse("standard_scaler.decay: 0 or below 1");
  if (!(in.clip() >= 0.0 && in.clip() <= 1e6)) return Refuse("standard_scaler.clip: 0 to 1e6 deviations");
  DIPPER_RETURN_IF_ERROR(SelectInputs(in.inputs(), Kind::kNumeric, stage));
  stage->config = StandardScalerConfig{width_, {}, in.decay(), in.clip()};
  return Status::kOk;
}

Status Planner::PlanLags(const schema::Lags& in, StageLayout* stage) {
  DIPPER_RETURN_IF_ERROR(SelectInputs(in.inputs(), in.differences() ? Kind::kNumeric : Kind::kAny, stage));
  if (in.lags() == nullptr || in.lags()->size() == 0) return Refuse("lags.lags: at least one lag");
  for (uint32_t i = 0; i < in.lags()->size(); ++i) {
    const uint16_t lag = in.lags()->Get(i);
    if (lag < 1 || lag > kMaxLag || (i > 0 && lag <= in.lags()->Get(i - 1))) {
      return Refuse("lags.lags: 1 to 4096 samples, in ascending order, each once");
    }
  }
  const uint64_t added = uint64_t{stage->inputs.count} * in.lags()->size();
  if (width_ + added > kMaxInputs) return Refuse("lags: more than 512 inputs after this stage");
  stage->config = LagsConfig{width_, {}, {}, in.differences()};
  DIPPER_RETURN_IF_ERROR(AddTable({in.lags()->data(), in.lags()->size()}, &stage->parameters));
  uint32_t next = width_;
  for (uint32_t i = 0; i < stage->inputs.count; ++i) {
    const uint16_t kind = categories_[plan_.tables[stage->inputs.first + i]];
    for (uint32_t j = 0; j < stage->parameters.count; ++j) categories_[next++] = kind;
  }
  width_ = next;
  return Status::kOk;
}

Status Planner::PlanOneHot(const schema::OneHot& in, StageLayout* stage) {
  DIPPER_RETURN_IF_ERROR(SelectInputs(in.inputs(), Kind::kCategorical, stage));
  std::array<uint16_t, kMaxInputs> counts;
  std::array<uint16_t, kMaxInputs> after;
  uint32_t selected = 0;
  uint32_t next = 0;
  for (uint32_t i = 0; i < width_; ++i) {
    const bool replaced = selected < stage->inputs.count && plan_.tables[stage->inputs.first + selected] == i;
    const uint32_t places = replaced ? categories_[i] + 1U : 1U;
    if (next + places > kMaxInputs) return Refuse("one_hot: more than 512 inputs after this stage");
    for (uint32_t j = 0; j < places; ++j) after[next++] = replaced ? uint16_t{0} : categories_[i];
    if (replaced) counts[selected++] = categories_[i];
  }
  DIPPER_RETURN_IF_ERROR(AddTable({counts.data(), selected}, &stage->parameters));
  stage->config = OneHotConfig{width_, {}, {}};
  std::copy(after.begin(), after.begin() + next, categories_.begin());
  width_ = next;
  return Status::kOk;
}

Status Planner::PlanFault(const schema::Fault& in, StageLayout* stage) {
#ifdef DIPPER_TEST_FAULTS
  if (in.kind() > schema::FaultKind::MAX) return Refuse("fault.kind: unknown kind", Status::kUnimplemented);
  stage->config = FaultConfig{static_cast<FaultAction>(in.kind()), in.at_sample(), in.value()};
  return Status::kOk;
#else
  (void)in;
  (void)stage;
  return Refuse("stage fault: only test builds (DIPPER_TEST_FAULTS) have it", Status::kUnimplemented);
#endif
}

// Inputs that a stage appends are numeric.
Status Planner::Append(uint32_t out_width, const char* why) {
  if (out_width > kMaxInputs) return Refuse(why);
  std::fill(categories_.begin() + width_, categories_.begin() + out_width, uint16_t{0});
  width_ = out_width;
  return Status::kOk;
}

Status Planner::PlanImputer(const schema::Imputer& in, StageLayout* stage) {
  if (in.mode() > schema::ImputerMode::MAX)
    return Refuse("imputer.mode: unknown mode", Status::kUnimplemented);
  if (!(in.decay() >= 0.0 && in.decay() < 1.0)) return Refuse("imputer.decay: 0 or below 1");
  if (!(in.constant() >= -1e30 && in.constant() <= 1e30)) return Refuse("imputer.constant: -1e30 to 1e30");
  const bool mean = in.mode() == schema::ImputerMode::Mean;
  DIPPER_RETURN_IF_ERROR(SelectInputs(in.inputs(), mean ? Kind::kNumeric : Kind::kAny, stage));
  std::array<uint16_t, kMaxInputs> kinds;
  for (uint32_t i = 0; i < stage->inputs.count; ++i) {
    kinds[i] = categories_[plan_.tables[stage->inputs.first + i]];
  }
  DIPPER_RETURN_IF_ERROR(AddTable({kinds.data(), stage->inputs.count}, &stage->parameters));
  ImputerConfig config;
  config.width = width_;
  config.mode = static_cast<ImputerMode>(in.mode());
  config.constant = in.constant();
  config.decay = in.decay();
  config.missing_flags = in.missing_flags();
  stage->config = config;
  return Append(width_ + (config.missing_flags ? stage->inputs.count : 0),
                "imputer: more than 512 inputs after this stage");
}

Status Planner::PlanHashed(const schema::Hashed& in, StageLayout* stage) {
  if (in.buckets() < 1 || in.buckets() > 256) return Refuse("hashed.buckets: 1 to 256");
  DIPPER_RETURN_IF_ERROR(SelectInputs(in.inputs(), Kind::kCategorical, stage));
  stage->config = HashedConfig{width_, {}, in.buckets()};
  uint32_t selected = 0;
  uint32_t next = 0;
  for (uint32_t i = 0; i < width_; ++i) {
    if (selected < stage->inputs.count && plan_.tables[stage->inputs.first + selected] == i) {
      ++selected;
    } else {
      categories_[next++] = categories_[i];
    }
  }
  width_ = next;
  return Append(next + in.buckets(), "hashed: more than 512 inputs after this stage");
}

Status Planner::PlanInteractions(const schema::Interactions& in, StageLayout* stage) {
  DIPPER_RETURN_IF_ERROR(SelectInputs(in.inputs(), Kind::kNumeric, stage));
  stage->config = InteractionsConfig{width_, {}, in.squares()};
  const uint32_t n = stage->inputs.count;
  return Append(width_ + n * (n - 1) / 2 + (in.squares() ? n : 0),
                "interactions: more than 512 inputs after this stage; select fewer inputs");
}

Status Planner::PlanRolling(const schema::Rolling& in, StageLayout* stage) {
  if (in.window() < 2 || in.window() > kMaxLag) return Refuse("rolling.window: 2 to 4096 samples");
  const uint32_t statistics = in.statistics() == nullptr ? 0 : in.statistics()->size();
  if (statistics < 1 || statistics > kRollingStatistics) return Refuse("rolling.statistics: 1 to 12 of them");
  std::array<uint16_t, kRollingStatistics> list{};
  for (uint32_t i = 0; i < statistics; ++i) {
    const auto statistic = static_cast<uint16_t>(in.statistics()->Get(i));
    if (statistic >= kRollingStatistics)
      return Refuse("rolling.statistics: unknown statistic", Status::kUnimplemented);
    if (std::find(list.begin(), list.begin() + i, statistic) != list.begin() + i)
      return Refuse("rolling.statistics: each one once");
    list[i] = statistic;
  }
  DIPPER_RETURN_IF_ERROR(SelectInputs(in.inputs(), Kind::kNumeric, stage));
  DIPPER_RETURN_IF_ERROR(AddTable({list.data(), statistics}, &stage->parameters));
  stage->config = RollingConfig{width_, {}, {}, in.window()};
  return Append(width_ + stage->inputs.count * statistics, "rolling: more than 512 inputs after this stage");
}

Status Planner::PlanBandEnergy(const schema::BandEnergy& in, StageLayout* stage) {
  const uint32_t window = in.window();
  if (window < 64 || window > 1024 || (window & (window - 1)) != 0) {
    return Refuse("band_energy.window: 64, 128, 256, 512 or 1024 samples");
  }
  if (in.hop() < 1 || in.hop() > window) return Refuse("band_energy.hop: 1 sample to the window");
  if (in.bands() < 1 || in.bands() > 32) return Refuse("band_energy.bands: 1 to 32");
  if (in.scale() > schema::BandScale::MAX)
    return Refuse("band_energy.scale: unknown scale", Status::kUnimplemented);
  std::array<uint16_t, 33> edges{};
  const uint32_t count = in.edges() == nullptr ? 0 : in.edges()->size();
  // The verifier looks at a vector's place in steps of 4 bytes only.
  if (count > 0 && reinterpret_cast<uintptr_t>(in.edges()->Data()) % alignof(double) != 0) {
    return Refuse("band_energy.edges: aligned to 8 bytes");
  }
  if (count != 0 && count != in.bands() + 1U)
    return Refuse("band_energy.edges: one more than bands, or none");
  for (uint32_t i = 0; i < count; ++i) {
    const double edge = in.edges()->Get(i);
    if (!(edge >= 0.0 && edge <= 0.5)) return Refuse("band_energy.edges: parts of the sample rate, 0 to 0.5");
    edges[i] = static_cast<uint16_t>(SaturatingToInt<uint32_t>(edge * 65536.0 + 0.5));
    if (i > 0 && edges[i] <= edges[i - 1]) return Refuse("band_energy.edges: in ascending order");
  }
  DIPPER_RETURN_IF_ERROR(SelectInputs(in.inputs(), Kind::kNumeric, stage));
  DIPPER_RETURN_IF_ERROR(AddTable({edges.data(), count}, &stage->parameters));
  BandEnergyConfig config;
  config.width = width_;
  config.window = window;
  config.hop = in.hop();
  config.bands = in.bands();
  config.scale = static_cast<BandScale>(in.scale());
  stage->config = config;
  return Append(width_ + stage->inputs.count * config.bands,
                "band_energy: more than 512 inputs after this stage");
}

Status Planner::PlanRobustClip(const schema::RobustClip& in, StageLayout* stage) {
  if (!(in.limit() >= 1.0 && in.limit() <= 1e6)) return Refuse("robust_clip.limit: 1 to 1e6 deviations");
  if (in.window() < 64 || in.window() > 1U << 24U)
    return Refuse("robust_clip.window: 64 to 16777216 samples");
  DIPPER_RETURN_IF_ERROR(SelectInputs(in.inputs(), Kind::kNumeric, stage));
  stage->config = RobustClipConfig{width_, {}, in.limit(), in.window()};
  return Status::kOk;
}

Status Planner::PlanStage(const schema::Stage& in, StageLayout* stage) {
  switch (in.params_type()) {
    case schema::StageParams::StandardScaler:
      return PlanScaler(*in.params_as_StandardScaler(), stage);
    case schema::StageParams::Lags:
      return PlanLags(*in.params_as_Lags(), stage);
    case schema::StageParams::OneHot:
      return PlanOneHot(*in.params_as_OneHot(), stage);
    case schema::StageParams::Fault:
      return PlanFault(*in.params_as_Fault(), stage);
    case schema::StageParams::RobustClip:
      return PlanRobustClip(*in.params_as_RobustClip(), stage);
    case schema::StageParams::Imputer:
      return PlanImputer(*in.params_as_Imputer(), stage);
    case schema::StageParams::Hashed:
      return PlanHashed(*in.params_as_Hashed(), stage);
    case schema::StageParams::Interactions:
      return PlanInteractions(*in.params_as_Interactions(), stage);
    case schema::StageParams::Rolling:
      return PlanRolling(*in.params_as_Rolling(), stage);
    case schema::StageParams::BandEnergy:
      return PlanBandEnergy(*in.params_as_BandEnergy(), stage);
    default:
      return Refuse("stage: unknown kind", Status::kUnimplemented);
  }
}

}  // namespace dipper::learn
