// Every parameter of every stage, learner and detector, once: its key in a spec text, its place in the
// schema's object and its range (docs/reference/spec.md). Reading and printing a text both walk these lists,
// so neither can forget a key. `Fields` is ParamReader (spec_text.cc) or ParamPrinter (spec_print.cc).
// Thread-safe: pure functions.
#pragma once

#include "tools/lab/spec_kinds.h"
#include "tools/lab/spec_stages.h"

namespace dipper::lab {

// ---- learners

template <typename Fields>
void Describe(Fields& f, schema::LinearT& p) {
  f.Choice("loss", p.loss, words::kLosses);
  f.Choice("optimizer", p.optimizer, words::kOptimizers);
  f.Number("rate", p.rate, {0, 1, true, false});
  f.Number("l1", p.l1, {0, 1000});
  f.Number("l2", p.l2, {0, 1});
  f.Number("huber_delta", p.huber_delta, {0.001, 5});
  f.Number("quantile", p.quantile, {0.001, 0.999});
}

template <typename Fields>
void Describe(Fields& f, schema::RlsT& p) {
  f.Number("forgetting", p.forgetting, {0.9, 1});
  f.Number("regularization", p.regularization, {1e-9, 1e6});
}

template <typename Fields>
void Describe(Fields& f, schema::HoeffdingTreeT& p) {
  f.Bytes("pool_bytes", p.pool_bytes, 0, learn::kMaxBudgetBytes);
  f.Count("grace_labels", p.grace_labels, 1, kMaxCount);
  f.Number("delta", p.delta, {0, 1, true, true});
  f.Number("tie", p.tie, {0, 1});
  f.Count("max_depth", p.max_depth, 1, 64);
  f.Flag("adaptive", p.adaptive);
}

template <typename Fields>
void Describe(Fields& f, schema::NaiveBayesT& p) {
  f.Number("fading", p.fading, {0.99, 1});
  f.Flag("tempered", p.tempered);
}

template <typename Fields>
void Describe(Fields& f, schema::KnnT& p) {
  f.Count("neighbors", p.neighbors, 1, 64);
  f.Flag("by_distance", p.by_distance);
  f.Count("window", p.window, 0, 1U << 24U);
}

template <typename Fields>
void Describe(Fields& f, schema::AdaptiveForestT& p) {
  f.Bytes("pool_bytes", p.pool_bytes, 0, learn::kMaxBudgetBytes);
  f.Count("trees", p.trees, 1, 64);
  f.Number("lambda", p.lambda, {0, 16, true, false});
  f.Count("subspace", p.subspace, 0, learn::kMaxInputs);
  f.Count("grace_labels", p.grace_labels, 1, kMaxCount);
  f.Number("delta", p.delta, {0, 1, true, true});
  f.Number("tie", p.tie, {0, 1});
  f.Count("max_depth", p.max_depth, 1, 64);
}

template <typename Fields>
void Describe(Fields& f, schema::RaceT& p) {
  f.Number("share", p.share, {0, 0.5});
  f.Flag("trivial", p.trivial);
  f.Members(p.members);
}

template <typename Fields>
void Describe(Fields& f, schema::HalfSpaceTreesT& p) {
  f.Bytes("pool_bytes", p.pool_bytes, 0, learn::kMaxBudgetBytes);
  f.Count("trees", p.trees, 0, 256);
  f.Count("depth", p.depth, 0, 32);
  f.Count("window", p.window, 64, 1048576);
}

// ---- detectors

template <typename Fields>
void Describe(Fields& f, schema::PageHinkleyT& p) {
  f.Number("delta", p.delta, {0, 10});
  f.Number("threshold", p.threshold, {0, 1e6, true, false});
  f.Count("min_samples", p.min_samples, 2, kMaxCount);
}

template <typename Fields>
void Describe(Fields& f, schema::AdwinT& p) {
  f.Number("delta", p.delta, {0, 0.5, true, false});
  f.Number("warning_delta", p.warning_delta, {p.delta, 0.5});
  f.Count("buckets", p.buckets, 2, 8);
  f.Count("rows", p.rows, 2, 24);
  f.Count("clock", p.clock, 4, 64);
  f.Flag("falls", p.falls);
}

template <typename Fields>
void Describe(Fields& f, schema::CusumT& p) {
  f.Number("delta", p.delta, {0, 10, true, false});
  f.Number("threshold", p.threshold, {0, 1e6, true, false});
  f.Count("min_samples", p.min_samples, 2, kMaxCount);
  f.Flag("falls", p.falls);
}

template <typename Fields>
void Describe(Fields& f, schema::HddmAT& p) {
  f.Number("alarm_confidence", p.alarm_confidence, {0, 0.5, true, false});
  f.Number("warning_confidence", p.warning_confidence, {p.alarm_confidence, 0.5});
  f.Flag("falls", p.falls);
}

// ---- other tables

template <typename Fields>
void Describe(Fields& f, schema::PendingT& p) {
  f.Count("capacity", p.capacity, 0, learn::kMaxPending);
  f.Count("max_age_samples", p.max_age_samples, 0, kMaxLong);
}

template <typename Fields>
void Describe(Fields& f, schema::IntervalsT& p) {
  f.Number("coverage", p.coverage, {0.5, 0.999});
  f.Count("window", p.window, 32, 1024);
}

template <typename Fields>
void Describe(Fields& f, schema::AnomalyScoreT& p) {
  f.Number("raise", p.raise, {0, 1, true, true});
  f.Number("clear", p.clear, {0, p.raise, true, false});
  f.Count("min_raise_samples", p.min_raise_samples, 1, kMaxCount);
  f.Count("min_clear_samples", p.min_clear_samples, 1, kMaxCount);
  f.Number("decay", p.decay, {0.5, 1, false, true});
  f.Number("hold", p.hold, {0, 1, false, true});
  f.Count("max_events_per_hour", p.max_events_per_hour, 0, 3600);
}

}  // namespace dipper::lab
