// Signing by an external command (docs/reference/trust.md): bytes or digest on its stdin, signature on its
// stdout. For keys in a cloud's key service, on another machine, behind a passphrase.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "tools/cli/signature_text.h"
#include "tools/cli/signer.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

constexpr std::chrono::seconds kTimeout(300);  // a person may have to find a card or a passphrase
constexpr size_t kMaxOutputBytes = 4096;
constexpr std::array<const char*, 4> kKindNames = {"package", "root", "offer", "command"};

/// A file descriptor that closes itself.
class Handle {
 public:
  explicit Handle(int number = -1) : number_(number) {}
  ~Handle() { Close(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  int get() const { return number_; }
  void Set(int number) { number_ = number; }
  void Close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_;
};

struct Pipe {
  Handle read;
  Handle write;
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw Error(ExitCode::kFailure, fmt::format("cannot make a pipe: {}", std::strerror(errno)));
    }
    read.Set(ends[0]);
    write.Set(ends[1]);
  }
};

/// SIGPIPE off while it lives: a command need not read all that it is given.
class IgnorePipe {
 public:
  IgnorePipe() : former_(std::signal(SIGPIPE, SIG_IGN)) {}
  ~IgnorePipe() { std::signal(SIGPIPE, former_); }
  IgnorePipe(const IgnorePipe&) = delete;
  IgnorePipe& operator=(const IgnorePipe&) = delete;

 private:
  void (*former_)(int);
};

class Child {
 public:
  Child(const std::string& command, const std::vector<std::string>& more_environment, Pipe& in, Pipe& out) {
    std::string shell = "/bin/sh";
    std::string flag = "-c";
    std::string line = command;
    std::array<char*, 4> arguments = {shell.data(), flag.data(), line.data(), nullptr};
    std::vector<std::string> texts = more_environment;
    for (char** at = environ; *at != nullptr; ++at) texts.emplace_back(*at);
    std::vector<char*> environment;
    environment.reserve(texts.size() + 1);
    for (std::string& text : texts) environment.push_back(text.data());
    environment.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in.read.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out.write.get(), STDOUT_FILENO);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t defaults;
    ::sigemptyset(&defaults);
    ::sigaddset(&defaults, SIGPIPE);
    ::posix_spawnattr_setsigdefault(&attributes, &defaults);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    const int error =
        ::posix_spawn(&pid_, shell.c_str(), &actions, &attributes, arguments.data(), environment.data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (error != 0)
      throw Error(ExitCode::kFailure, fmt::format("cannot run /bin/sh: {}", std::strerror(error)));
    in.read.Close();
    out.write.Close();
  }
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    Wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  /// Its wait status.
  int Wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_ = 0;
};

class CommandSigner final : public Signer {
 public:
  explicit CommandSigner(const std::string& reference) {
    const size_t kind_end = reference.find(':');
    digest_only_ = reference.substr(0, kind_end) == "command-sha256";
    const size_t file_end = reference.find(':', kind_end + 1);
    const std::string file =
        reference.substr(kind_end + 1, file_end == std::string::npos ? file_end : file_end - kind_end - 1);
    if (file.empty() || file_end == std::string::npos || file_end + 1 == reference.size()) {
      throw Error(ExitCode::kUsage, fmt::format("'{}' is no key; write it as {}:PUBLIC.pem:COMMAND",
                                                reference, reference.substr(0, kind_end)));
    }
    command_ = reference.substr(file_end + 1);
    name_ = fmt::format("the command '{}'", command_);
    const auto key = package::ParsePublicKey(lab::ReadTextFile(file, kMaxKeyFileBytes));
    if (!key.ok()) {
      throw Error(ExitCode::kVerificationFailed,
                  fmt::format("{} is not a P-256 public key in PEM form; it names the key that {} signs with",
                              file, name_));
    }
    public_key_ = *key;
  }

 private:
  package::SignatureValue SignUnchecked(const SigningRequest& request) override {
    const base::Digest digest = request.digest();
    const std::string_view prefix = package::SigningPrefix(request.domain);
    std::string input;
    if (digest_only_) {
      input.assign(digest.bytes.begin(), digest.bytes.end());
    } else {
      input.assign(prefix);
      input.append(request.bytes.begin(), request.bytes.end());
    }
    const std::string output =
        Run(input, {fmt::format("DIPPER_SIGN_KIND={}", kKindNames[static_cast<size_t>(request.domain)]),
                    fmt::format("DIPPER_SIGN_SHA256={}", base::ToHex(digest).view()),
                    fmt::format("DIPPER_SIGN_KEY_ID={}", base::ToHex(id()).view())});
    const auto forms = ReadSignature(output);
    if (forms.empty()) {
      throw Error(
          ExitCode::kFailure,
          fmt::format("{} printed {} bytes that are no signature; it must print r | s (64 bytes) or DER, "
                      "raw, in hex or in base64, and nothing else",
                      name_, output.size()));
    }
    for (const package::SignatureValue& value : forms) {
      if (package::VerifySignature(public_key_, digest, value)) return value;
    }
    return forms.front();
  }

  std::string Run(std::string_view input, const std::vector<std::string>& environment) {
    Pipe in;
    Pipe out;
    const IgnorePipe ignore;
    Child child(command_, environment, in, out);
    std::string output = Exchange(input, in, out);
    const int status = child.Wait();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
    const std::string how = WIFEXITED(status) ? fmt::format("exit status {}", WEXITSTATUS(status))
                                              : fmt::format("signal {}", WTERMSIG(status));
    throw Error(ExitCode::kFailure,
                fmt::format("{} failed ({}); its own message stands above. Nothing was signed", name_, how));
  }

  /// Writes and reads at once, so that neither side waits for the other for ever.
  std::string Exchange(std::string_view input, Pipe& in, Pipe& out) {
    ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    const auto until = std::chrono::steady_clock::now() + kTimeout;
    std::string output;
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
      if (left.count() <= 0) {
        throw Error(ExitCode::kFailure, fmt::format("{} did not sign within {} s", name_, kTimeout.count()));
      }
      std::array<pollfd, 2> polled = {pollfd{out.read.get(), POLLIN, 0}, pollfd{in.write.get(), POLLOUT, 0}};
      if (::poll(polled.data(), polled.size(), static_cast<int>(left.count())) < 0) continue;
      if (polled[1].revents != 0) Feed(&input, in.write);
      if (polled[0].revents == 0) continue;
      std::array<char, 512> part{};
      const ssize_t count = ::read(out.read.get(), part.data(), part.size());
      if (count <= 0) return output;
      output.append(part.data(), static_cast<size_t>(count));
      if (output.size() > kMaxOutputBytes) {
        throw Error(ExitCode::kFailure,
                    fmt::format("{} printed more than {} bytes; it must print one signature and nothing else",
                                name_, kMaxOutputBytes));
      }
    }
  }

  static void Feed(std::string_view* input, Handle& to) {
    const ssize_t count = ::write(to.get(), input->data(), input->size());
    if (count > 0) input->remove_prefix(static_cast<size_t>(count));
    const bool gone = count < 0 && errno != EAGAIN && errno != EINTR;
    if (input->empty() || gone) to.Close();
  }

  std::string command_;
  bool digest_only_ = false;
};

}  // namespace

std::unique_ptr<Signer> OpenCommandSigner(const std::string& reference) {
  return std::make_unique<CommandSigner>(reference);
}

}  // namespace dipper::cli
