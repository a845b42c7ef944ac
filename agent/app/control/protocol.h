// The control socket's words: one request line in, lettered reply lines out. Byte-exact:
// docs/reference/control-socket.md. Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dipper::app {

inline constexpr std::string_view kControlGreeting = "dipper/1";
inline constexpr size_t kMaxRequestBytes = 512;  ///< With its line end.

enum class ControlVerb : uint8_t {
  kStatus,
  kSlots,
  kLog,
  kInstall,
  kConfirm,
  kFallBack,
  kUndo,
  kFactoryReset,
  kRecording
};

struct ControlRequest {
  ControlVerb verb = ControlVerb::kStatus;
  std::string model;  ///< Empty: all, or the only one.
  bool json = false;
  bool follow = false;  ///< log: go on with what is appended.
  bool wait = false;    ///< install: until the trial has ended.
  bool yes = false;     ///< factory_reset: it is meant.
  bool write = false;   ///< recording: to the file that comes along.
  uint64_t count = 20;  ///< log: newest entries.
};

/// First letter of a reply line.
enum class ReplyKind : char {
  kText = 'T',      ///< A line for people, on stdout.
  kJson = 'J',      ///< One JSON object, on stdout.
  kProgress = 'P',  ///< A line for people about what is going on, on stderr.
  kEnd = 'X',       ///< "X<exit code> <message>": the last line.
};

// Exit codes of the client: those of the dipper command.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitNotConfirmed = 4;
inline constexpr int kExitNotVerified = 5;
inline constexpr int kExitUnreachable = 6;

inline constexpr uint64_t kMaxLogCount = 1000000;

std::string_view VerbText(ControlVerb verb);
/// What a factory reset without its yes is answered.
inline constexpr std::string_view kResetWarning =
    "factory-reset erases the model's installed packages and all that they have learned; trust root, floor, "
    "denied packages and numbers stay. Nothing was done: say so with --yes";

/// The request as sent, with its line end.
std::string RequestLine(const ControlRequest& request);
/// @param line  Without line end. @returns an empty text, or what is wrong with it.
std::string ParseRequest(std::string_view line, ControlRequest* request);

}  // namespace dipper::app
