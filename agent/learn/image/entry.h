// One place of the pending ring, as the model's methods see it. Internal to agent/learn/image.
// Not thread-safe: spans into the image.
#pragma once

#include <span>

#include "agent/learn/image/model.h"

namespace dipper::learn {

struct Model::Entry {
  PendingEntry* head = nullptr;  ///< null: no such entry
  std::span<double> answers;     ///< the model's outputs, then those of each member of a race
  std::span<double> outputs;     ///< the model's
  std::span<float> inputs;
};

inline Model::Entry Model::EntryAt(uint64_t place) const {
  uint8_t* at = At(layout_.pending_section).data() + place * layout_.pending_entry_bytes;
  Entry entry;
  entry.head = PlaceOf<PendingEntry>(at);
  at += sizeof(PendingEntry);
  entry.answers = {PlaceOf<double>(at), layout_.entry_outputs};
  entry.outputs = entry.answers.first(layout_.outputs);
  at += layout_.entry_outputs * sizeof(double);
  entry.inputs = {PlaceOf<float>(at), layout_.inputs};
  return entry;
}

}  // namespace dipper::learn
