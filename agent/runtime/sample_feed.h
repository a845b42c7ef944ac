// SampleFeed: takes records from a source to the champion and the challenger. Both see the same samples and
// labels in the same order; what they answered goes back to the caller for the gate, alarms and telemetry.
// Not thread-safe. No heap after construction, but for records of JSON: their decoder allocates.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "agent/base/fixed.h"
#include "agent/learn/image/model.h"
#include "agent/runtime/label_limit.h"
#include "agent/runtime/model_input.h"
#include "agent/runtime/run_marker.h"
#include "agent/stream/decoder.h"
#include "agent/stream/json.h"
#include "hal/api/clock.h"
#include "hal/api/sample_source.h"

namespace dipper::runtime {

/// One of the two models that a sample goes to. `model` is null when there is none; `spec` is the one it runs
/// by.
struct FeedModel {
  learn::Model* model = nullptr;
  const learn::Spec* spec = nullptr;
  base::Digest package;
};

/// What one model answered to one record.
struct FeedAnswer {
  bool observed = false;  ///< `output` holds the prediction for this sample.
  learn::Output output;
  bool learned = false;  ///< `outcome` holds the scored label.
  learn::Outcome outcome;
  int64_t took_ns = -1;  ///< Observe and Learn together; -1: not timed.
};

/// What one input does to a model: the one place where learning is called, for streams and for replays.
/// @param takes_labels  False: a forecast, whose labels come by themselves.
void StepModel(learn::Model& model, bool takes_labels, const ModelInput& input, FeedAnswer* answer);

class Recorder;

/// Why the champion could not use a record.
enum class Refusal : uint8_t {
  kNone,
  kUnreadable,  ///< Or there is no champion.
  kNoFeature,   ///< Not one of its features is in it.
  kLabel,       ///< A label record without an id, without a label, or with an unusable weight.
};

struct FeedResult {
  bool is_sample = false;  ///< The record was a usable sample.
  bool is_label = false;   ///< It was a label that came on its own, usable or not.
  bool labelled = false;   ///< It had a label that may be learned.
  Refusal refusal = Refusal::kNone;
  uint64_t id = 0;      ///< The record's own, or its place in the source.
  int64_t time_ns = 0;  ///< Of the sample: its own, or when it was read.
  FeedAnswer champion;
  FeedAnswer challenger;
  bool has_truth = false;
  bool truth = false;
};

struct FeedCounters {
  uint64_t samples = 0;
  uint64_t skipped = 0;  ///< Records that could not be used.
  uint64_t unusable_labels = 0;
  uint64_t limited_labels = 0;  ///< From the network, above the limit: not learned.
};

class SampleFeed {
 public:
  static constexpr size_t kMaxHeaderBytes = 16 * 1024;

  /// @param truth         Name of the truth column, "" for none; must outlive this.
  /// @param number        Of the model, for the marker.
  /// @param labels_per_s  Most labels a second that are taken from the network.
  SampleFeed(std::string_view truth, uint32_t number, double labels_per_s, RunMarker& marker)
      : truth_(truth), number_(number), label_limit_(labels_per_s), marker_(marker) {}

  /// Which models run from now on. Cheap when nothing changed; otherwise their columns are matched anew.
  void SetModels(const FeedModel& champion, const FeedModel& challenger);

  /// Feeds one record to both models. Cost: the models' Observe and Learn.
  /// @param now_ns  Monotonic time.
  /// @param timer   Times each model; null: neither.
  /// kOk: `*result` says what came of it, which may be that the record was skipped and counted.
  /// kFailedPrecondition: the header has no column that the champion knows, or a record of JSON no member.
  base::Status OnRecord(const hal::Record& record, int64_t now_ns, FeedResult* result,
                        hal::Clock* timer = nullptr);

  /// Told of every record before the models see it; null: nobody.
  void SetRecorder(Recorder* recorder) { recorder_ = recorder; }

  const FeedCounters& counters() const { return counters_; }
  const FeedModel& champion() const { return champion_.at; }
  /// Features of the last sample, as the champion saw them.
  std::span<const float> champion_values() const {
    return {champion_.values.data(), champion_.decoder ? champion_.decoder->feature_count() : 0};
  }

 private:
  struct Lane {
    FeedModel at;
    std::optional<stream::SampleDecoder> decoder;
    std::optional<stream::JsonDecoder> json;  ///< Made when the first such record comes.
    std::array<float, learn::kMaxFeatures> values{};
    bool bound = false;
  };

  /// A record as one model understands it.
  struct Decoded {
    stream::DecodedSample sample;
    bool is_label = false;
    uint64_t id = 0;
    int64_t time_ns = 0;
    double weight = 1;
    Refusal refusal = Refusal::kUnreadable;  ///< Of a record that was not decoded.
  };

  void Bind(Lane* lane, const FeedModel& to);
  bool Decode(Lane* lane, const hal::Record& record, Decoded* to);
  void BindJson(Lane* lane);
  bool DecodeJson(Lane* lane, const hal::Record& record, std::span<float> values, Decoded* to);
  bool DecodeLabel(Lane* lane, std::string_view text, Decoded* to);
  void Run(Lane* lane, const Decoded& decoded, hal::Clock* timer, FeedAnswer* answer);

  std::string_view truth_;
  uint32_t number_;
  LabelLimit label_limit_;
  RunMarker& marker_;
  std::array<uint8_t, kMaxHeaderBytes> header_{};
  size_t header_bytes_ = 0;
  Lane champion_;
  Lane challenger_;
  FeedCounters counters_;
  Recorder* recorder_ = nullptr;
};

}  // namespace dipper::runtime
