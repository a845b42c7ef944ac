// The answers of the control side as lines: aligned text for people, one JSON object for programs; the same
// for the running agent and for partitions at rest. Byte-exact keys: docs/reference/control-socket.md.
// Thread-safe: pure functions over values.
#pragma once

#include <string>
#include <vector>

#include "agent/app/control/view.h"
#include "agent/store/event_log.h"

namespace dipper::app {

using Lines = std::vector<std::string>;  ///< Without line ends.

Lines StatusText(const ControlView& view);
Lines SlotsText(const ControlView& view);
std::string StatusJson(const ControlView& view);
std::string SlotsJson(const ControlView& view);

/// One entry of the event log. The payload may be damaged or of a newer agent: it is then said so.
std::string EventText(const store::Event& event);
std::string EventJson(const store::Event& event);
/// True when `model` is empty or the entry is of it.
bool IsOfModel(const store::Event& event, std::string_view model);
/// Sequence of the first of the newest `count` entries of that model.
uint64_t FirstEntry(store::EventLog& log, std::string_view model, uint64_t count);

/// What became of a request, for programs.
std::string OutcomeJson(std::string_view request, std::string_view model, bool ok, schema::Reason reason,
                        std::string_view message);

/// "2026-11-21T10:00:00Z"
std::string TimeText(int64_t wall_ns);
/// "3 h 12 min"
std::string DurationText(int64_t ns);
/// Control characters become '?', so that nothing stored can play with a terminal.
std::string Printable(std::string_view text);

}  // namespace dipper::app
