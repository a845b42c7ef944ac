// Implementation of client.h.
#include "agent/app/control/client.h"

#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/app/config/config.h"
#include "agent/app/control/export.h"
#include "agent/app/control/offline.h"
#include "agent/app/control/protocol.h"
#include "agent/app/control/reset.h"
#include "agent/app/control/socket.h"
#include "agent/app/control/text.h"
#include "agent/base/number.h"
#include "agent/base/suggest.h"
#include "agent/package/format.h"

namespace dipper::app {
namespace {

constexpr const char* kDefaultConfig = "/etc/dipper/agent.toml";
constexpr time_t kSilenceSeconds = 60;  // longer than any step of the agent's loop
constexpr size_t kMaxReplyLine = 1 << 20;

struct CommandName {
  std::string_view name;
  ControlVerb verb;
  std::string_view usage;
};
constexpr std::array<CommandName, 9> kCommands = {{
    {"status", ControlVerb::kStatus, "[--model ID] [--json]"},
    {"slots", ControlVerb::kSlots, "[--model ID] [--json]"},
    {"log", ControlVerb::kLog, "[-n COUNT] [--follow] [--model ID] [--json]"},
    {"install", ControlVerb::kInstall, "FILE [--wait] [--model ID] [--json]"},
    {"confirm", ControlVerb::kConfirm, "[--model ID] [--json]"},
    {"fall-back", ControlVerb::kFallBack, "[--model ID] [--json]"},
    {"undo", ControlVerb::kUndo, "[--model ID] [--json]"},
    {"factory-reset", ControlVerb::kFactoryReset, "--yes [--model ID] [--json]"},
    {"recording", ControlVerb::kRecording, "[export FILE] [--model ID] [--json]"},
}};

const CommandName* Find(std::string_view name) {
  for (const CommandName& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

void Complain(const std::string& text) { std::fprintf(stderr, "dipper-agent: %s\n", text.c_str()); }

void PrintUsage(const CommandName& command, FILE* to) {
  std::fprintf(to, "usage: dipper-agent %s %s [--config FILE] [--socket PATH]\n",
               std::string(command.name).c_str(), std::string(command.usage).c_str());
  std::fprintf(to, "  --config FILE  whose agent; default %s\n  --socket PATH  its control socket, instead\n",
               kDefaultConfig);
}

void Print(const std::string& line) { std::printf("%s\n", line.c_str()); }

struct Options {
  const CommandName* command = nullptr;
  ControlRequest request;
  std::string config = kDefaultConfig;
  std::string socket;
  std::string file;
};

/// What is wrong with the words behind the options; empty: nothing.
std::string WrongWords(const Options& options, std::span<char* const> words) {
  const auto count = std::to_string(words.size());
  if (options.command->verb == ControlVerb::kInstall) {
    if (words.size() == 1) return {};
    return words.empty() ? "install: FILE is missing: the model package"
                         : "install takes one FILE, not " + count;
  }
  if (words.empty()) return {};
  const std::string first = words[0];
  if (options.command->verb != ControlVerb::kRecording)
    return std::string(options.command->name) + " takes no " + first + "; a model is named by --model ID";
  if (first == "export") {
    if (words.size() == 2) return {};
    return words.size() == 1 ? "recording export: FILE is missing: where to write it"
                             : "recording export takes one FILE, not " + std::to_string(words.size() - 1);
  }
  const std::string_view known[] = {"export"};
  return "recording knows no " + first +
         (base::ClosestName(first, known).empty() ? "; it takes export FILE, or nothing"
                                                  : "; did you mean export?");
}

/// An exit code when nothing is left to do.
std::optional<int> ParseOptions(int argc, char** argv, Options* options) {
  static const option kOptions[] = {
      {"config", required_argument, nullptr, 'c'}, {"socket", required_argument, nullptr, 's'},
      {"model", required_argument, nullptr, 'm'},  {"json", no_argument, nullptr, 'j'},
      {"count", required_argument, nullptr, 'n'},  {"follow", no_argument, nullptr, 'f'},
      {"wait", no_argument, nullptr, 'w'},         {"yes", no_argument, nullptr, 'y'},
      {"help", no_argument, nullptr, 'h'},         {nullptr, 0, nullptr, 0}};
  ControlRequest& request = options->request;
  request.verb = options->command->verb;
  const bool log = request.verb == ControlVerb::kLog;
  const bool install = request.verb == ControlVerb::kInstall;
  const bool reset = request.verb == ControlVerb::kFactoryReset;
  bool good = true;
  for (int choice = 0; good && (choice = ::getopt_long(argc, argv, "c:m:n:fh", kOptions, nullptr)) != -1;) {
    if (choice == 'c') options->config = optarg;
    if (choice == 's') options->socket = optarg;
    if (choice == 'm') request.model = optarg;
    if (choice == 'j') request.json = true;
    if (choice == 'f') request.follow = true;
    if (choice == 'w') request.wait = true;
    if (choice == 'y') request.yes = true;
    if (choice == 'n') {
      const auto count = base::ParseUint(optarg);
      good = count.ok() && *count <= kMaxLogCount;
      if (good) request.count = *count;
      if (!good) Complain(std::string("-n takes a number from 0 to ") + std::to_string(kMaxLogCount));
    }
    if (choice == 'h') {
      PrintUsage(*options->command, stdout);
      return kExitOk;
    }
    // Of getopt's own complaints the line is written already.
    const char* only = choice == 'n' || choice == 'f' ? "log" : choice == 'w' ? "install" : "factory-reset";
    const bool here = choice == 'n' || choice == 'f' ? log : choice == 'w' ? install : reset || choice != 'y';
    if (!here)
      Complain("that option is of " + std::string(only) + ", not of " + std::string(options->command->name));
    good = good && choice != '?' && here;
  }
  if (good && !request.model.empty() && !package::IsId(request.model)) {
    Complain("--model takes a model's id: letters, digits, '-' and '_'");
    return kExitUsage;
  }
  if (good) {
    const std::span<char* const> words(argv + optind, static_cast<size_t>(argc - optind));
    request.write = request.verb == ControlVerb::kRecording && !words.empty();
    const std::string wrong = WrongWords(*options, words);
    if (!wrong.empty()) Complain(wrong);
    good = wrong.empty();
  }
  if (!good) {
    PrintUsage(*options->command, stderr);
    return kExitUsage;
  }
  if (install || request.write) options->file = argv[argc - 1];
  if (!reset || request.yes) return std::nullopt;
  Complain(std::string(kResetWarning));
  return kExitNotConfirmed;
}

/// The package to send along; -1: told why not.
int OpenPackage(const std::string& path) {
  // O_NONBLOCK: a FIFO must not make this wait; the check below refuses it.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat about {};
  if (fd >= 0 && ::fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) return fd;
  Complain("cannot install " + path + ": " + (fd < 0 ? std::strerror(errno) : "it is not a file"));
  if (fd >= 0) ::close(fd);
  return -1;
}

/// -1 with errno.
int Connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

bool SendRequest(int socket, const std::string& line, int file) {
  std::string text = line;
  iovec part{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (file >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof file);
    std::memcpy(CMSG_DATA(head), &file, sizeof file);
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(line.size());
}

/// Shows one reply line. @returns the exit code when it was the last one.
std::optional<int> ShowLine(const std::string& line) {
  const std::string text = line.substr(line.empty() ? 0 : 1);
  switch (line.empty() ? '\0' : line.front()) {
    case static_cast<char>(ReplyKind::kText):
    case static_cast<char>(ReplyKind::kJson):
      Print(text);
      return std::nullopt;
    case static_cast<char>(ReplyKind::kProgress):
      Complain(text);
      return std::nullopt;
    case static_cast<char>(ReplyKind::kEnd): {
      const size_t space = std::min(text.find(' '), text.size());
      const auto code = base::ParseUint(text.substr(0, space));
      if (space < text.size()) Complain(text.substr(space + 1));
      return code.ok() && *code < 256 ? static_cast<int>(*code) : kExitFailed;
    }
    default:
      Complain("the agent sent a line that this version does not know; are both of the same version?");
      return kExitFailed;
  }
}

int ReadReply(int socket) {
  std::string waiting;
  std::array<char, 4096> bytes;
  for (;;) {
    const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      Complain(got < 0 && errno == EAGAIN
                   ? std::string("the agent did not answer for a minute; is it stopped or busy?")
                   : std::string("the agent ended the connection before its answer was whole; did it stop? "
                                 "dipper-agent log tells"));
      return kExitUnreachable;
    }
    waiting.append(bytes.data(), static_cast<size_t>(got));
    for (size_t end = 0; (end = waiting.find('\n')) != std::string::npos;) {
      const auto code = ShowLine(waiting.substr(0, end));
      waiting.erase(0, end + 1);
      if (code) return *code;
    }
    std::fflush(stdout);
    if (std::ferror(stdout) != 0) return kExitFailed;  // nobody reads
    if (waiting.size() > kMaxReplyLine) {
      Complain("the agent's answer is longer than any answer may be");
      return kExitFailed;
    }
  }
}

int Ask(int socket, const ControlRequest& request, int file) {
  const bool patient = request.follow || request.write || request.verb == ControlVerb::kInstall;
  const timeval silence{.tv_sec = patient ? 0 : kSilenceSeconds, .tv_usec = 0};
  if (::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence) != 0) return kExitFailed;
  // Who is refused has been told why, and may not be able to send: the answer says it.
  const bool sent = SendRequest(socket, RequestLine(request), file);
  const int code = ReadReply(socket);
  return sent || code != kExitOk ? code : kExitFailed;
}

int Offline(const Options& options, const Config& config, const std::string& path) {
  const ControlRequest& request = options.request;
  std::string message;
  bool not_found = false;
  Complain("no agent answers at " + path + ": this is what its partitions say");
  if (request.verb == ControlVerb::kLog) {
    const auto show = [&](const store::Event& event) {
      Print(request.json ? EventJson(event) : EventText(event));
    };
    if (request.follow) Complain("--follow: there is nobody to follow; showing what there is");
    if (ReadLogOffline(config, request.model, request.count, show, &message)) return kExitOk;
  } else {
    const bool slots = request.verb == ControlVerb::kSlots;
    ControlView view;
    if (ViewOffline(config, request.model, slots, &view, &not_found, &message)) {
      if (request.json) Print(slots ? SlotsJson(view) : StatusJson(view));
      for (const std::string& line : request.json ? Lines{} : slots ? SlotsText(view) : StatusText(view)) {
        Print(line);
      }
      return kExitOk;
    }
  }
  Complain(message);
  return not_found ? kExitNotFound : kExitFailed;
}

std::string OwnerOf(const std::string& path) {
  struct stat about {};
  if (::lstat(path.c_str(), &about) != 0) return "the agent's user";
  const passwd* owner = ::getpwuid(about.st_uid);
  return owner != nullptr ? owner->pw_name : "user " + std::to_string(about.st_uid);
}

int Unreachable(const Options& options, const Config* config, const std::string& path, int error,
                const ExportFile& exported) {
  const bool reads = options.request.verb == ControlVerb::kStatus ||
                     options.request.verb == ControlVerb::kSlots || options.request.verb == ControlVerb::kLog;
  if (error == EACCES || error == EPERM) {
    Complain("no permission for the control socket " + path + ": only root and " + OwnerOf(path) +
             " may use it; try: sudo dipper-agent " + std::string(options.command->name));
    return kExitFailed;
  }
  const bool nobody = error == ENOENT || error == ECONNREFUSED || error == ENOTDIR;
  if (nobody && options.request.write && config != nullptr) {
    Complain("no agent answers at " + path + ": this is what its data partition holds");
    const ExportOutcome outcome = ExportOffline(*config, options.request.model, exported.fd());
    if (outcome.exit_code != kExitOk) Complain(outcome.message);
    return outcome.exit_code;
  }
  if (nobody && reads && config != nullptr) return Offline(options, *config, path);
  if (nobody && options.request.verb == ControlVerb::kFactoryReset && config != nullptr) {
    Complain("no agent answers at " + path + ": resetting its partitions");
    const ResetOutcome outcome = ResetOffline(*config, options.request.model);
    if (options.request.json && !outcome.model.empty()) {
      Print(OutcomeJson("factory_reset", outcome.model, outcome.exit_code == kExitOk, outcome.reason,
                        outcome.message));
    } else if (outcome.exit_code == kExitOk) {
      Print("model " + outcome.model + ": " + outcome.message);
    }
    if (outcome.exit_code != kExitOk) Complain(outcome.message);
    return outcome.exit_code;
  }
  Complain("no agent answers at " + path + " (" + std::strerror(error) +
           "): is it running? systemctl status dipper-agent, or start it: dipper-agent --config FILE");
  return kExitUnreachable;
}

}  // namespace

bool IsControlCommand(const char* argument) { return Find(argument) != nullptr; }

std::string_view NearestControlCommand(std::string_view name) {
  std::array<std::string_view, kCommands.size()> names;
  std::transform(kCommands.begin(), kCommands.end(), names.begin(), [](const auto& c) { return c.name; });
  return base::ClosestName(name, names);
}

int RunControlClient(int argc, char** argv) {
  Options options;
  options.command = Find(argv[0]);
  if (const auto code = ParseOptions(argc, argv, &options)) return *code;
  Config config;
  const bool by_socket = !options.socket.empty();
  if (!by_socket) {
    // An operator's shell has none of the credentials that systemd gives the agent, and needs none.
    const ConfigReading reading =
        ReadConfig({.path = options.config, .environment = ProcessEnvironment(), .check_only = true});
    for (const std::string& problem : reading.problems) Complain(problem);
    if (!reading.problems.empty()) return kExitUsage;
    config = reading.config;
    options.socket = config.control.socket;
    if (!config.control.enabled) {
      ExportFile unused;
      return Unreachable(options, &config, "nowhere, since control.enabled is false", ENOENT, unused);
    }
  }
  if (const std::string problem = CheckSocketPath(options.socket); !problem.empty()) {
    Complain("control socket: " + problem);
    return kExitUsage;
  }
  int file = -1;
  ExportFile exported;
  if (options.request.write) {
    if (const std::string problem = exported.Open(options.file, config); !problem.empty()) {
      Complain(problem);
      return kExitFailed;
    }
  }
  if (options.command->verb == ControlVerb::kInstall) {
    file = OpenPackage(options.file);
    if (file < 0) return kExitNotFound;
  }
  const int socket = Connect(options.socket);
  const int error = errno;
  int code = socket >= 0
                 ? Ask(socket, options.request, options.request.write ? exported.fd() : file)
                 : Unreachable(options, by_socket ? nullptr : &config, options.socket, error, exported);
  if (code == kExitOk && options.request.write) {
    const std::string problem = exported.Finish();
    if (!problem.empty()) Complain(problem);
    code = problem.empty() ? kExitOk : kExitFailed;
  }
  if (socket >= 0) ::close(socket);
  if (file >= 0) ::close(file);
  return code;
}

}  // namespace dipper::app
