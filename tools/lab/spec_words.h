// Words of a spec text for the schema's enums and unions, in the order of their values. Thread-safe:
// constants.
#pragma once

#include <string>
#include <vector>

namespace dipper::lab::words {

inline const std::vector<std::string> kTasks = {"classification", "regression", "anomaly"};
inline const std::vector<std::string> kFeatureTypes = {"numeric", "categorical"};
inline const std::vector<std::string> kTargetKinds = {"label_column", "feature_ahead", "none"};
inline const std::vector<std::string> kLosses = {"default", "logistic", "squared", "softmax"};
inline const std::vector<std::string> kDriftInputs = {"loss", "score"};
inline const std::vector<std::string> kFaults = {"hang", "abort", "not_a_number", "slow", "leak"};
// Unions begin with NONE, which no text can name.
inline const std::vector<std::string> kStages = {"standard_scaler", "lags", "one_hot", "fault"};
inline const std::vector<std::string> kLearners = {"linear", "rls", "hoeffding_tree"};
inline const std::vector<std::string> kDetectors = {"page_hinkley"};

}  // namespace dipper::lab::words
