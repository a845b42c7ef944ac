// Small out-of-line parts of agent/base: names of status codes and the failed-check exit.
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "agent/base/assert.h"
#include "agent/base/status.h"

namespace dipper::base {

const char* StatusName(Status status) {
  switch (status) {
    case Status::kOk:
      return "ok";
    case Status::kInvalidArgument:
      return "invalid_argument";
    case Status::kNotFound:
      return "not_found";
    case Status::kDataLoss:
      return "data_loss";
    case Status::kResourceExhausted:
      return "resource_exhausted";
    case Status::kFailedPrecondition:
      return "failed_precondition";
    case Status::kUnavailable:
      return "unavailable";
    case Status::kUnimplemented:
      return "unimplemented";
    case Status::kPermissionDenied:
      return "permission_denied";
    case Status::kOutOfRange:
      return "out_of_range";
    case Status::kAborted:
      return "aborted";
    case Status::kDeadlineExceeded:
      return "deadline_exceeded";
    case Status::kAlreadyExists:
      return "already_exists";
    case Status::kInternal:
      return "internal";
  }
  return "unknown";
}

void CheckFailed(const char* file, int line, const char* condition) {
  char digits[12];
  char* end = digits + sizeof digits;
  char* cursor = end;
  do {
    *--cursor = static_cast<char>('0' + line % 10);
    line /= 10;
  } while (line > 0);
  const auto put = [](const char* text, size_t length) {
    // Nothing is left to do about a failed write to stderr on the way out.
    if (::write(STDERR_FILENO, text, length) < 0) return;
  };
  put("dipper: check failed: ", 22);
  put(condition, std::strlen(condition));
  put(" at ", 4);
  put(file, std::strlen(file));
  put(":", 1);
  put(cursor, static_cast<size_t>(end - cursor));
  put("\n", 1);
  std::abort();
}

}  // namespace dipper::base
