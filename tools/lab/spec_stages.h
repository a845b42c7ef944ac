// Every parameter of every stage; see spec_params.h. Thread-safe: pure functions.
#pragma once

#include "tools/lab/spec_kinds.h"

namespace dipper::lab {

template <typename Fields>
void Describe(Fields& f, schema::StandardScalerT& p) {
  f.Inputs(p.inputs);
  f.Number("decay", p.decay, {0, 1, false, true});
  f.Number("clip", p.clip, {0, 1e6});
}

template <typename Fields>
void Describe(Fields& f, schema::LagsT& p) {
  f.Inputs(p.inputs);
  f.RequiredCounts("lags", p.lags, 1, learn::kMaxLag, "list how many samples back, for example [1, 2]");
  f.Flag("differences", p.differences);
}

template <typename Fields>
void Describe(Fields& f, schema::OneHotT& p) {
  f.Inputs(p.inputs);
}

template <typename Fields>
void Describe(Fields& f, schema::FaultT& p) {
  f.RequiredChoice("fault", p.kind, words::kFaults);
  f.Count("at_sample", p.at_sample, 0, kMaxLong);
  f.Count("value", p.value, 0, kMaxCount);
}

template <typename Fields>
void Describe(Fields& f, schema::RobustClipT& p) {
  f.Inputs(p.inputs);
  f.Number("limit", p.limit, {1, 1e6});
  f.Count("window", p.window, 64, 1U << 24U);
}

template <typename Fields>
void Describe(Fields& f, schema::ImputerT& p) {
  f.Inputs(p.inputs);
  f.Choice("mode", p.mode, words::kImputerModes);
  f.Number("constant", p.constant, {-1e30, 1e30});
  f.Number("decay", p.decay, {0, 1, false, true});
  f.Flag("missing_flags", p.missing_flags);
}

template <typename Fields>
void Describe(Fields& f, schema::HashedT& p) {
  f.Inputs(p.inputs);
  f.Count("buckets", p.buckets, 1, 256);
}

template <typename Fields>
void Describe(Fields& f, schema::InteractionsT& p) {
  f.Inputs(p.inputs);
  f.Flag("squares", p.squares);
}

template <typename Fields>
void Describe(Fields& f, schema::RollingT& p) {
  f.Inputs(p.inputs);
  f.Count("window", p.window, 2, learn::kMaxLag);
  f.Choices("statistics", p.statistics, words::kStatistics, "list some, for example [\"mean\", \"std\"]");
}

template <typename Fields>
void Describe(Fields& f, schema::BandEnergyT& p) {
  f.Inputs(p.inputs);
  f.Count("window", p.window, 64, 1024);
  f.Count("hop", p.hop, 1, 1024);
  f.Count("bands", p.bands, 1, 32);
  f.Numbers("edges", p.edges, {0, 0.5});
  f.Choice("scale", p.scale, words::kBandScales);
}

}  // namespace dipper::lab
