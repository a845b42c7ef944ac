// Where a token's PIN comes from: a file that the URI names, the environment, or the person at the terminal.
// Never from the command line, which every user of a machine can read. Not thread-safe.
#pragma once

#include <string>

namespace dipper::cli {

/// A PIN in memory, wiped when it goes away.
class TokenPin {
 public:
  explicit TokenPin(std::string text) : text_(std::move(text)) {}
  ~TokenPin();
  TokenPin(const TokenPin&) = delete;
  TokenPin& operator=(const TokenPin&) = delete;
  std::string& text() { return text_; }

 private:
  std::string text_;
};

/// @param source  `pin-source` of the URI: "file:PATH" or a path; empty: the variable DIPPER_PKCS11_PIN, else
///                a prompt on the terminal.
/// @param token   Label, for the prompt and for messages.
/// Throws Error: 3 no such file, 2 no source at all (nothing given and no terminal), 1 an unreadable one.
TokenPin AskPin(const std::string& source, const std::string& token);

}  // namespace dipper::cli
