// The dipper command: parse, call, print. Exit codes are those of lab::ExitCode.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "tools/cli/command.h"
#include "tools/cli/output.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

constexpr const char* kFooter =
    "A first result, from a CSV file with a header:\n"
    "  dipper spec init --data data.csv --label class --learner linear > spec.toml\n"
    "  dipper eval --spec spec.toml --data data.csv\n"
    "\n"
    "A model on its way to devices:\n"
    "  dipper train --spec spec.toml --data data.csv --out model.dimg\n"
    "  dipper package build ... ; dipper package sign ... ; dipper publish ... ; dipper watch ...\n"
    "\n"
    "Results go to stdout, messages to stderr. Exit codes: 0 ok, 1 failure, 2 usage, 3 not found,\n"
    "4 needs confirmation, 5 verification failed, 6 unreachable, 7 threshold breached.";

void RegisterAll(CLI::App& app, int& exit_code) {
  RegisterSpec(app, exit_code);
  RegisterEval(app, exit_code);
  RegisterExplain(app, exit_code);
  RegisterTrain(app, exit_code);
#ifdef DIPPER_CLI_PACKAGE
  RegisterKey(app, exit_code);
  RegisterRoot(app, exit_code);
  RegisterDocument(app, exit_code);
  RegisterPackage(app, exit_code);
  RegisterReplay(app, exit_code);
#endif
#ifdef DIPPER_CLI_LINK
  RegisterPublish(app, exit_code);
  RegisterWatch(app, exit_code);
  RegisterCommand(app, exit_code);
  RegisterRootPublish(app, exit_code);
  RegisterSnapshot(app, exit_code);
#endif
#ifdef DIPPER_CLI_DEVICE
  RegisterDevice(app, exit_code);
  RegisterDeviceRetire(app, exit_code);
#endif
}

/// CLI11 says only that an argument was not expected; a mistyped command deserves better.
void CheckCommandName(const CLI::App& app, int argc, char** argv) {
  std::string call = "dipper";
  const CLI::App* at = &app;
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    std::vector<std::string> names;
    const CLI::App* next = nullptr;
    for (const CLI::App* command : at->get_subcommands({})) {
      names.push_back(command->get_name());
      if (command->check_name(argv[i])) next = command;
    }
    if (names.empty()) return;
    if (next == nullptr) {
      const std::string suggestion = lab::Suggestion(argv[i], names);
      throw lab::Error(lab::ExitCode::kUsage,
                       "there is no command '" + call.substr(std::min<size_t>(call.size(), 7)) +
                           (at == &app ? "" : " ") + argv[i] + "'" +
                           (suggestion.empty() ? "; see " + call + " --help" : suggestion));
    }
    at = next;
    call += " " + at->get_name();
  }
}

std::string HelpCall(const CLI::App& app) {
  std::string call = "dipper";
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    call += " " + at->get_name();
  }
  return call + " --help";
}

int Run(int argc, char** argv) {
  int exit_code = static_cast<int>(lab::ExitCode::kOk);
  CLI::App app("Learn on devices, in fixed memory; ship signed models; watch them.\n", "dipper");
  app.set_version_flag("--version", "dipper " DIPPER_VERSION);
  app.require_subcommand(1);
  RegisterAll(app, exit_code);
  app.footer(kFooter);  // after the commands, which would inherit it
  if (argc < 2) {
    std::fputs(app.help().c_str(), stderr);
    return static_cast<int>(lab::ExitCode::kUsage);
  }
  try {
    CheckCommandName(app, argc, argv);
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    app.exit(success);
  } catch (const CLI::ParseError& error) {
    PrintError(std::string(error.what()) + "; see " + HelpCall(app));
    return static_cast<int>(lab::ExitCode::kUsage);
  } catch (const lab::Error& error) {
    PrintError(error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    PrintError(std::string("unexpected: ") + error.what());
    return static_cast<int>(lab::ExitCode::kFailure);
  }
  if (std::fflush(stdout) != 0) {
    PrintError("cannot write the result to stdout; is the disk full?");
    return static_cast<int>(lab::ExitCode::kFailure);
  }
  return exit_code;
}

}  // namespace
}  // namespace dipper::cli

// What can still throw is the telling of an error, when there is no memory left for its text.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) { return dipper::cli::Run(argc, argv); }
