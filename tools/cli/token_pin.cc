// Implementation of token_pin.h.
#include "tools/cli/token_pin.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

constexpr const char* kVariable = "DIPPER_PKCS11_PIN";
constexpr uint64_t kMaxPinFileBytes = 1024;

std::string FromFile(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IRGRP | S_IROTH)) != 0) {
    fmt::print(stderr, "dipper: warning: {} can be read by others than its owner; chmod 600 it\n", path);
  }
  std::string pin = lab::ReadTextFile(path, kMaxPinFileBytes);
  while (pin.ends_with('\n') || pin.ends_with('\r')) pin.pop_back();
  if (pin.empty()) throw Error(ExitCode::kFailure, fmt::format("the PIN file {} is empty", path));
  return pin;
}

/// Reads a line from the terminal without showing it.
std::string FromTerminal(int terminal, const std::string& token) {
  const std::string prompt = fmt::format("PIN of token {}: ", token);
  termios former{};
  if (::tcgetattr(terminal, &former) != 0) return {};
  termios silent = former;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  std::string pin;
  if (::write(terminal, prompt.data(), prompt.size()) < 0 || ::tcsetattr(terminal, TCSAFLUSH, &silent) != 0) {
    return {};
  }
  for (char c = 0; ::read(terminal, &c, 1) == 1 && c != '\n';) pin += c;
  ::tcsetattr(terminal, TCSAFLUSH, &former);
  const ssize_t written = ::write(terminal, "\n", 1);
  static_cast<void>(written);  // only looks
  return pin;
}

}  // namespace

TokenPin::~TokenPin() { ::explicit_bzero(text_.data(), text_.size()); }

TokenPin AskPin(const std::string& source, const std::string& token) {
  constexpr std::string_view kFile = "file:";
  if (source.starts_with(kFile)) return TokenPin(FromFile(source.substr(kFile.size())));
  if (source.starts_with('/')) return TokenPin(FromFile(source));
  if (!source.empty()) {
    throw Error(ExitCode::kUsage,
                fmt::format("pin-source '{}' is not known; write pin-source=file:PATH", source));
  }
  const char* given = std::getenv(kVariable);
  if (given != nullptr && *given != 0) return TokenPin(given);
  const int terminal = ::open("/dev/tty", O_RDWR | O_CLOEXEC);
  std::string pin;
  if (terminal >= 0) {
    pin = FromTerminal(terminal, token);
    ::close(terminal);
  }
  if (!pin.empty()) return TokenPin(std::move(pin));
  throw Error(ExitCode::kUsage,
              fmt::format("token {} asks for a PIN and none was given; put it into a file and add "
                          "pin-source=file:PATH to the URI, set {}, or run at a terminal",
                          token, kVariable));
}

}  // namespace dipper::cli
