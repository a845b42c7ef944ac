// AnswerLine: what a model answers to a record, as one line of JSON for whoever wrote it
// (docs/reference/line-protocol.md). Thread-safe: a pure function over caller memory. No heap.
#pragma once

#include <string_view>

#include "agent/runtime/sample_feed.h"

namespace dipper::runtime {

inline constexpr size_t kAnswerBytes =
    1024;  ///< More than any answer: names are at most 64 bytes, escaped six times that.

/// @param model   Id of the model that answers.
/// @param by      The champion that the answer is of; null models have no answer but an error.
/// @param buffer  At least kAnswerBytes.
/// @returns a view of `buffer`, without line end.
std::string_view EncodeAnswer(std::string_view model, const FeedModel& by, const FeedResult& result,
                              base::MutableBytes buffer);

}  // namespace dipper::runtime
