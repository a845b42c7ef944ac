// Picked values as members of a flat JSON object. Thread-safe: a pure function.
#pragma once

#include "agent/stream/json_pick.h"
#include "agent/telemetry/json_writer.h"

namespace dipper::runtime {

/// One member; nothing for a value that is absent, which then counts as missing.
inline void PutPicked(telemetry::JsonWriter& json, std::string_view name, const stream::Picked& value,
                      std::string_view prefix = {}) {
  using Kind = stream::Picked::Kind;
  if (value.kind == Kind::kAbsent) return;
  json.Key(name, prefix);
  switch (value.kind) {
    case Kind::kNumber:
      json.Number(value.number);
      break;
    case Kind::kWhole:
      json.Uint(value.whole);
      break;
    case Kind::kText:
      json.Text(value.text.view());
      break;
    default:
      json.Bool(value.kind == Kind::kTrue);
      break;
  }
}

}  // namespace dipper::runtime
