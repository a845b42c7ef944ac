// Words of a spec text for the schema's enums and unions: the schema's own names in snake_case, in the order
// of their values. Thread-safe: constants.
#pragma once

#include <cctype>
#include <string>
#include <vector>

#include "agent/schema/spec_generated.h"

namespace dipper::lab::words {

/// "StandardScaler" -> "standard_scaler". `names` ends with a null.
inline std::vector<std::string> Snake(const char* const* names) {
  std::vector<std::string> words;
  for (; *names != nullptr; ++names) {
    std::string word;
    for (const char* c = *names; *c != '\0'; ++c) {
      const auto code = static_cast<unsigned char>(*c);
      if (std::isupper(code) != 0 && c != *names) word += '_';
      word += static_cast<char>(std::tolower(code));
    }
    words.push_back(word);
  }
  return words;
}

/// Unions begin with NONE, which no text can name.
inline std::vector<std::string> Kinds(const char* const* names) { return Snake(names + 1); }

inline const std::vector<std::string> kTasks = Snake(schema::EnumNamesTask());
inline const std::vector<std::string> kFeatureTypes = Snake(schema::EnumNamesFeatureType());
inline const std::vector<std::string> kTargetKinds = Snake(schema::EnumNamesTargetKind());
inline const std::vector<std::string> kLosses = Snake(schema::EnumNamesLoss());
inline const std::vector<std::string> kOptimizers = Snake(schema::EnumNamesOptimizer());
inline const std::vector<std::string> kDriftInputs = Snake(schema::EnumNamesDriftInput());
inline const std::vector<std::string> kDriftActions = Snake(schema::EnumNamesDriftAction());
inline const std::vector<std::string> kFaults = Snake(schema::EnumNamesFaultKind());
inline const std::vector<std::string> kImputerModes = Snake(schema::EnumNamesImputerMode());
inline const std::vector<std::string> kStatistics = Snake(schema::EnumNamesStatistic());
inline const std::vector<std::string> kBandScales = Snake(schema::EnumNamesBandScale());
inline const std::vector<std::string> kStages = Kinds(schema::EnumNamesStageParams());
inline const std::vector<std::string> kLearners = Kinds(schema::EnumNamesLearnerParams());
inline const std::vector<std::string> kDetectors = Kinds(schema::EnumNamesDriftParams());

}  // namespace dipper::lab::words
