// See model.h: the rings of samples that wait for a label, and of scores that wait for the truth about
// anomalies. Places are taken in the order of the samples; ids rise along a ring.
#include "agent/learn/image/entry.h"
#include "agent/learn/image/model.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {

using base::Status;

void Model::DropOldest() {
  ImageHeader& h = header();
  h.pending_head = h.pending_head + 1 == layout_.pending_capacity ? 0 : h.pending_head + 1;
  h.pending_count -= 1;
}

void Model::DropDone() {
  const ImageHeader& h = header();
  while (h.pending_count > 0 && EntryAt(h.pending_head).head->waiting == 0) DropOldest();
}

Model::Entry Model::NextEntry(uint64_t id) {
  ImageHeader& h = header();
  const uint64_t max_age = layout_.pending_max_age;
  while (h.pending_count > 0) {
    const PendingEntry& oldest = *EntryAt(h.pending_head).head;
    const bool too_old = max_age > 0 && h.samples - oldest.sample > max_age;
    if (oldest.waiting != 0 && !too_old && h.pending_count < layout_.pending_capacity) break;
    h.lost_samples += oldest.waiting;
    DropOldest();
  }
  uint64_t place = h.pending_head + h.pending_count;
  if (place >= layout_.pending_capacity) place -= layout_.pending_capacity;
  h.pending_count += 1;
  const Entry entry = EntryAt(place);
  *entry.head = PendingEntry{};
  entry.head->id = id;
  entry.head->sample = h.samples;
  entry.head->learned = h.learned;
  entry.head->waiting = 1;
  entry.head->resets = static_cast<uint32_t>(h.resets);
  return entry;
}

Model::Entry Model::FindWaiting(uint64_t id) const {
  const ImageHeader& h = header();
  if (h.pending_count == 0 || id > h.last_id) return {};
  const auto at = [&](uint64_t index) {
    uint64_t place = h.pending_head + index;
    return EntryAt(place >= layout_.pending_capacity ? place - layout_.pending_capacity : place);
  };
  // Ids mostly count up by one, so the distance from the newest usually says where it is; otherwise bisect.
  const uint64_t back = h.last_id - id;
  if (back < h.pending_count) {
    const Entry guess = at(h.pending_count - 1 - back);
    if (guess.head->id == id) return guess.head->waiting != 0 ? guess : Entry();
  }
  uint64_t low = 0;
  uint64_t high = h.pending_count;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (at(middle).head->id < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == h.pending_count) return {};
  const Entry found = at(low);
  return found.head->id == id && found.head->waiting != 0 ? found : Entry();
}

void Model::KeepTruth(uint64_t id, double score) {
  ImageHeader& h = header();
  if (h.truth_count == layout_.truth_capacity) {
    h.truth_head = (h.truth_head + 1) % layout_.truth_capacity;
    h.truth_count -= 1;
  }
  TruthEntry* ring = PlaceOf<TruthEntry>(At(layout_.truth_section).data());
  ring[(h.truth_head + h.truth_count) % layout_.truth_capacity] = {id, score};
  h.truth_count += 1;
}

bool Model::TakeTruth(uint64_t id, double* score) {
  // Truth comes in the order of the samples, so what is older than a match has lost its chance.
  ImageHeader& h = header();
  const TruthEntry* ring = PlaceOf<TruthEntry>(At(layout_.truth_section).data());
  for (uint64_t back = 1; back <= h.truth_count; ++back) {
    const uint64_t index = h.truth_count - back;
    const TruthEntry& entry = ring[(h.truth_head + index) % layout_.truth_capacity];
    if (entry.id < id) return false;
    if (entry.id > id) continue;
    *score = entry.score;
    h.truth_head = (h.truth_head + index + 1) % layout_.truth_capacity;
    h.truth_count -= index + 1;
    return true;
  }
  return false;
}

Status Model::LearnTruth(uint64_t id, double y, double weight, Outcome* out) {
  ImageHeader& h = header();
  double score = 0.0;
  if (layout_.truth_capacity == 0 || !TakeTruth(id, &score)) {
    h.unmatched_labels += 1;
    return Status::kNotFound;
  }
  if (weight > 0.0) AucWindow(layout_.auc, At(layout_.auc_section)).Add(score, y > 0.5);
  *out = Outcome();
  out->id = id;
  out->has_score = true;
  out->anomaly_score = score;
  return Status::kOk;
}

void Model::StartSeries() {
  ImageHeader& h = header();
  for (uint64_t i = 0; i < h.pending_count; ++i) {
    h.lost_samples += EntryAt((h.pending_head + i) % layout_.pending_capacity).head->waiting;
  }
  h.pending_head = 0;
  h.pending_count = 0;
  h.truth_head = 0;
  h.truth_count = 0;
  h.last_actual = CanonicalNan();
  h.series += 1;
  for (uint32_t i = 0; i < layout_.stage_count; ++i) {
    const StageLayout& stage = layout_.stages[i];
    WithPart(stage.config, At(stage.section), [](auto& part) {
      if constexpr (requires { part.Reset(); }) part.Reset();
    });
  }
}

}  // namespace dipper::learn
