// Error: how tools report what went wrong, with the exit code that a command ends with. Thrown inside tools
// only.
#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dipper::lab {

/// Exit codes of every command.
enum class ExitCode : int {
  kOk = 0,
  kFailure = 1,
  kUsage = 2,
  kNotFound = 3,
  kNeedsConfirmation = 4,
  kVerificationFailed = 5,
  kUnreachable = 6,
  kThresholdBreached = 7,
};

/// The message says what, why and what to do next; it is printed as "dipper: error: <message>".
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

/// Bytes that a terminal would obey, as \xNN. @param lines  Line ends stay.
std::string WithoutControls(std::string_view text, bool lines = true);

/// "; did you mean 'x'?" for the candidate nearest to `name`, or "" when none is near.
std::string Suggestion(std::string_view name, std::span<const std::string> candidates);

}  // namespace dipper::lab
