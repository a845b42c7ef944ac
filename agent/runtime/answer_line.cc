// Implementation of answer_line.h.
#include "agent/runtime/answer_line.h"

#include <algorithm>

#include "agent/runtime/uncertainty.h"
#include "agent/telemetry/json_writer.h"

namespace dipper::runtime {
namespace {

using telemetry::JsonWriter;

std::string_view ErrorOf(const FeedModel& by, const FeedResult& result) {
  if (by.model == nullptr) return "no_model";
  if (result.refusal == Refusal::kNoFeature) return "no_feature";
  if (result.refusal == Refusal::kLabel) return "label_not_taken";
  if (result.refusal == Refusal::kUnreadable) return "unreadable";
  if (result.is_label) return result.champion.learned ? "" : "label_not_taken";
  return result.champion.observed ? "" : "not_observed";
}

void PutClass(JsonWriter& json, const learn::Spec& spec, const learn::Output& output) {
  const auto best = static_cast<uint32_t>(std::max(output.class_index, 0));
  json.Key("prediction");
  json.Text(spec.class_name(best));
  if (best >= output.probabilities.size()) return;
  json.Key("probability");
  json.Number(output.probabilities[best]);
}

void PutValue(JsonWriter& json, const learn::Output& output) {
  json.Key("prediction");
  json.Number(output.value);
  if (!output.has_interval || output.unbounded) return;
  json.Key("low");
  json.Number(output.low);
  json.Key("high");
  json.Number(output.high);
}

void PutOutput(JsonWriter& json, const learn::Spec& spec, const learn::Output& output) {
  if (spec.task() == schema::Task::Classification) PutClass(json, spec, output);
  if (spec.task() == schema::Task::Regression) PutValue(json, output);
  if (const auto uncertainty = UncertaintyOf(spec.task(), output)) {
    json.Key("uncertainty");
    json.Number(*uncertainty);
  }
  if (output.has_score) {
    json.Key("score");
    json.Number(output.anomaly_score);
  }
  json.Key("alarm");
  json.Bool(output.anomaly_active);
  json.Key("cold");
  json.Bool(output.cold);
}

}  // namespace

std::string_view EncodeAnswer(std::string_view model, const FeedModel& by, const FeedResult& result,
                              base::MutableBytes buffer) {
  DIPPER_CHECK(buffer.size() >= kAnswerBytes);
  JsonWriter json(buffer);
  json.OpenObject();
  json.Key("id");
  json.Uint(result.id);
  json.Key("model");
  json.Text(model);
  const std::string_view error = ErrorOf(by, result);
  if (by.model != nullptr) {
    json.Key("package");
    json.Text(base::ToHex(by.package).brief());
  }
  if (!error.empty()) {
    json.Key("error");
    json.Text(error);
  } else if (result.is_label) {
    json.Key("learned");
    json.Bool(true);
  } else {
    PutOutput(json, *by.spec, result.champion.output);
  }
  json.CloseObject();
  DIPPER_CHECK(!json.overflow());
  return json.view();
}

}  // namespace dipper::runtime
