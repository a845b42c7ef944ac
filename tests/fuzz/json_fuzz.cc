// Any bytes as a JSON record: a sample and a label record, by name and by pointer. What is accepted by the
// decoder is one JSON object for another parser call as well; values are finite or the one canonical
// not-a-number; each record has exactly one counted outcome; and a record printed anew decodes to the same
// values.
#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "agent/stream/json.h"
#include "tests/fuzz/sample_spec.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header

constexpr std::array<std::string_view, 3> kPointers = {"/d/values/1", "/m~0n/a~1b", "/d"};

/// By task, by name or by pointer.
stream::JsonDecoder MakeDecoder(int task, bool pointers) {
  stream::JsonDecoder decoder(fuzz::SampleSpec(task));
  stream::JsonPlaces places;
  places.truth = "truth";
  if (pointers) {
    places.features = kPointers;
    places.label = "/d/label";
    places.id = "/d/values/0";
    places.time = "/t";
    places.time_unit = stream::TimeUnit::kMilliseconds;
  }
  DIPPER_CHECK(base::Ok(decoder.Bind(places)));
  return decoder;
}

uint64_t Refused(const stream::JsonCounters& c) {
  return c.malformed + c.duplicates + c.bad_ids + c.bad_labels;
}

bool SameSample(const stream::JsonSample& a, const stream::JsonSample& b) {
  return a.has_id == b.has_id && a.id == b.id && a.has_time == b.has_time && a.time_ns == b.time_ns &&
         a.label.state == b.label.state && a.label.value == b.label.value && a.truth.value == b.truth.value &&
         a.missing_cells == b.missing_cells && a.bad_cells == b.bad_cells && a.unseen_cells == b.unseen_cells;
}

/// A number below the smallest double is none to the decoder, but 0 to the other library.
bool MayUnderflow(std::string_view text) {
  return text.find("e-") != std::string_view::npos || text.find("E-") != std::string_view::npos ||
         text.find(".00000000000000000000") != std::string_view::npos;
}

void TrySample(std::string_view text, const schema::Spec& spec, stream::JsonDecoder decoder) {
  std::array<float, 3> values = {5, 6, 7};
  stream::JsonSample sample;
  const base::Status status = decoder.DecodeSample(text, values, &sample);
  const auto parsed = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!base::Ok(status)) {
    DIPPER_CHECK(values == (std::array<float, 3>{5, 6, 7}) && !sample.has_id);
    DIPPER_CHECK(decoder.counters().records == 0 && Refused(decoder.counters()) == 1);
    return;
  }
  DIPPER_CHECK(parsed.is_object());
  DIPPER_CHECK(decoder.counters().records == 1 && Refused(decoder.counters()) == 0);
  fuzz::CheckSample(spec, values, sample);
  uint32_t absent = 0;
  for (const float value : values) absent += std::isfinite(value) ? 0U : 1U;
  DIPPER_CHECK(absent == sample.missing_cells + sample.bad_cells);
  // Printing sorts members and writes numbers in another way; the meaning stays.
  const std::string printed = parsed.dump();
  if (printed.size() > stream::kMaxLineBytes || MayUnderflow(text)) return;
  std::array<float, 3> again{};
  stream::JsonSample sample_again;
  DIPPER_CHECK(base::Ok(decoder.DecodeSample(printed, again, &sample_again)));
  for (size_t f = 0; f < again.size(); ++f)
    DIPPER_CHECK(std::bit_cast<uint32_t>(again[f]) == std::bit_cast<uint32_t>(values[f]));
  DIPPER_CHECK(SameSample(sample, sample_again));
}

void TryLabel(std::string_view text, const schema::Spec& spec, stream::JsonDecoder decoder) {
  stream::JsonLabel label;
  if (!base::Ok(decoder.DecodeLabel(text, &label))) {
    DIPPER_CHECK(decoder.counters().labels == 0 && Refused(decoder.counters()) == 1);
    return;
  }
  DIPPER_CHECK(decoder.counters().labels == 1 && Refused(decoder.counters()) == 0);
  DIPPER_CHECK(std::isfinite(label.weight) && label.weight >= 0);
  DIPPER_CHECK(label.label.state != stream::LabelState::kAbsent);
  fuzz::CheckLabel(spec, label.label);
}

/// By its members it is one of both, and as what it is it has the same values and one counted outcome.
void TryEither(std::string_view text, bool partial, stream::JsonDecoder decoder) {
  stream::JsonDecoder alone = decoder;
  std::array<float, 3> values = {5, 6, 7}, same = values;
  stream::JsonRecord record;
  const base::Status status = decoder.Decode(text, partial, values, &record);
  const stream::JsonCounters& c = decoder.counters();
  DIPPER_CHECK(c.records + c.labels + c.no_features + Refused(c) == 1);
  DIPPER_CHECK((status == base::Status::kNotFound) == (c.no_features == 1));
  if (!base::Ok(status) || record.is_label) DIPPER_CHECK(values == same);
  if (!base::Ok(status)) return;
  stream::JsonSample sample;
  stream::JsonLabel label;
  DIPPER_CHECK(c.labels == (record.is_label ? 1U : 0U));
  if (record.is_label) {
    DIPPER_CHECK(base::Ok(alone.DecodeLabel(text, &label)) && label.id == record.label.id &&
                 record.id == label.id);
    DIPPER_CHECK(label.weight == record.label.weight && label.label.state == record.label.label.state);
    return;
  }
  DIPPER_CHECK(base::Ok(alone.DecodeSample(text, same, &sample)) && SameSample(sample, record.sample));
  using Bits = std::array<uint32_t, 3>;
  DIPPER_CHECK(std::bit_cast<Bits>(values) == std::bit_cast<Bits>(same));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto decoders = [] {
    std::vector<stream::JsonDecoder> made;
    for (int i = 0; i < 6; ++i) made.push_back(MakeDecoder(i / 2, i % 2 == 1));
    return made;
  }();
  if (size == 0) return 0;
  // The first byte chooses the task and the places.
  const size_t chosen = data[0] % decoders.size();
  const schema::Spec& spec = fuzz::SampleSpec(static_cast<int>(chosen / 2));
  const std::string_view text = base::AsText({data + 1, size - 1});
  TrySample(text, spec, decoders[chosen]);
  TryLabel(text, spec, decoders[chosen]);
  TryEither(text, data[0] >= 128, decoders[chosen]);
  return 0;
}
