// Why the trees of a pool answer what they answer. Internal to hoeffding_tree* and adaptive_forest*. Nothing
// is kept for it: the mean of a split node is that of the leaves below, which hold all labels that went
// through it since the branch began. Sources: Saabas, "Interpreting random forests", 2014
// (blog.datadive.net: terms along the path); Breiman, Friedman, Olshen and Stone, "Classification and
// regression trees", 1984, section 5.3 (importance). Not SHAP (Lundberg, Erion, Chen, DeGrave, Prutkin, Nair,
// Katz, Himmelfarb, Bansal and Lee, "From local explanations to global understanding with explainable AI for
// trees", Nature Machine Intelligence 2, 2020), which averages over all orders of the inputs: here an input
// is credited by what the path knew before, so of two inputs that act only together the one split by last
// gets most. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/learn/learners/hoeffding_tree_layout.h"

namespace dipper::learn::tree {

/// Adds `share` times: to terms[i] what the splits by input i on the way moved the answer (the probability of
/// class `output`, or the value) and what the leaf's model makes of input i (linear: its terms; naive Bayes:
/// its likelihoods; both, of classes, as score_way.h divides them), to terms[inputs] the root's mean, to
/// terms[inputs + 1] the rest: what the leaf's model answers without any input beyond the leaf's mean. Cost:
/// O((nodes of the tree + inputs) * outputs), no heap.
void AddContributions(const View& view, uint32_t root, const Sample& sample, uint32_t output, double share,
                      std::span<double> terms);

/// Adds to out[i] `share` times what the splits by input i take away, each weighted by its share of the
/// tree's labels: entropy in nats, or variance of the target between the two sides. Cost: O(nodes * (depth +
/// outputs)), no heap.
void AddImportance(const View& view, uint32_t root, double share, std::span<double> out);

/// Makes the sum 1, unless all are 0.
void Normalize(std::span<double> out);

}  // namespace dipper::learn::tree
