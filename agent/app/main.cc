// dipper-agent: reads the configuration, wires the device together, runs until SIGTERM or SIGINT; or, named
// with an operator's command, asks the agent that runs.
#include <getopt.h>
#include <malloc.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "agent/app/app.h"
#include "agent/app/check_files.h"
#include "agent/app/config/config.h"
#include "agent/app/control/client.h"
#include "agent/app/version.h"

namespace {

constexpr const char* kUsage =
    "usage: dipper-agent --config FILE [--check-config [--offline]|--print-config]\n"
    "       dipper-agent status|slots|log|install|confirm|fall-back|undo|factory-reset|recording [--help]\n"
    "\n"
    "Learns on this device from its own streams, reports over MQTT, and takes signed model packages.\n"
    "\n"
    "  --config FILE    agent.toml (docs/reference/agent-config.md)\n"
    "  --check-config   print every problem of FILE, and of the files that it names, with its line, change "
    "nothing,\n"
    "                   and end; with --offline, where FILE is for another machine, of FILE alone\n"
    "  --print-config   print every value in force, each with its source, and end\n"
    "  --version        print the version and end\n"
    "  --help           print this and end\n"
    "\n"
    "Commands for the agent that runs on this device:\n"
    "  status           what serves, what is on trial, and how it goes\n"
    "  slots            both slots, marks, checkpoints, denied packages\n"
    "  log              what has happened\n"
    "  install FILE     a model package from a file or a USB stick\n"
    "  confirm          make the model on trial the champion now\n"
    "  fall-back        drop the model on trial\n"
    "  undo             go back to the previous confirmed model\n"
    "  factory-reset    with --yes: back to the factory model or none; erases what is installed and learned\n"
    "  recording        the flight recorder; export FILE writes what it holds, for dipper replay\n"
    "\n"
    "SIGTERM and SIGINT stop it cleanly: a checkpoint is written and the start does not count against the "
    "model.\n";

void PrintProblems(const std::vector<std::string>& problems, const std::string& path) {
  for (const std::string& problem : problems) std::fprintf(stderr, "dipper-agent: %s\n", problem.c_str());
  std::fprintf(stderr, "dipper-agent: %zu problem(s) in %s; nothing was started\n", problems.size(),
               path.c_str());
}

/// What is left to see of a configuration without a problem. @returns the exit code.
int CheckAround(const dipper::app::ConfigReading& reading, const std::string& path, bool offline) {
  dipper::app::FileFindings found;
  if (!offline) found = dipper::app::CheckFiles(reading, path);
  for (const std::string& note : found.notes) std::fprintf(stderr, "dipper-agent: note: %s\n", note.c_str());
  if (!found.problems.empty()) {
    PrintProblems(found.problems, path);
    return 2;
  }
  std::string beside;
  for (const std::string& file : reading.files) beside += file == path ? "" : ", " + file;
  std::printf("%s: good%s%s%s\n", path.c_str(), beside.empty() ? "" : ", with",
              beside.empty() ? "" : beside.c_str() + 1,
              offline ? "; the files that it names were not looked for" : "");
  return 0;
}

/// @param word  That is no command; null: there is none.
void SayWhatIsMissing(const char* word) {
  if (word == nullptr) {
    std::fputs("dipper-agent: --config FILE or a command is missing\n", stderr);
    return;
  }
  const std::string near(dipper::app::NearestControlCommand(word));
  std::fprintf(stderr, "dipper-agent: unknown command %s%s%s\n", word, near.empty() ? "" : "; did you mean ",
               near.empty() ? "" : (near + "?").c_str());
}

}  // namespace

int main(int argc, char** argv) {
#ifdef __GLIBC__
  // One arena: an arena of its own for each of Paho's threads would cost memory and gain nothing here.
  ::mallopt(M_ARENA_MAX, 1);
#endif
  // A broker that closes its end must not kill the device's agent.
  std::signal(SIGPIPE, SIG_IGN);
  if (argc > 1 && dipper::app::IsControlCommand(argv[1])) {
    return dipper::app::RunControlClient(argc - 1, argv + 1);
  }
  static const option kOptions[] = {{"config", required_argument, nullptr, 'c'},
                                    {"check-config", no_argument, nullptr, 'k'},
                                    {"print-config", no_argument, nullptr, 'p'},
                                    {"offline", no_argument, nullptr, 'o'},
                                    {"version", no_argument, nullptr, 'v'},
                                    {"help", no_argument, nullptr, 'h'},
                                    {nullptr, 0, nullptr, 0}};
  std::string config_path;
  bool check_only = false, print_only = false, offline = false;
  for (int choice = 0; (choice = ::getopt_long(argc, argv, "c:h", kOptions, nullptr)) != -1;) {
    switch (choice) {
      case 'c':
        config_path = optarg;
        break;
      case 'k':
        check_only = true;
        break;
      case 'p':
        print_only = true;
        break;
      case 'o':
        offline = true;
        break;
      case 'v':
        std::printf("dipper-agent %s\n", dipper::app::kVersionText);
        return 0;
      case 'h':
        std::fputs(kUsage, stdout);
        return 0;
      default:
        std::fputs(kUsage, stderr);
        return 2;
    }
  }
  const char* word = optind != argc ? argv[optind] : nullptr;
  if (word != nullptr || config_path.empty()) SayWhatIsMissing(word);
  if (offline && !check_only) std::fputs("dipper-agent: --offline goes with --check-config\n", stderr);
  if (config_path.empty() || word != nullptr || (offline && !check_only)) {
    std::fputs(kUsage, stderr);
    return 2;
  }

  const dipper::app::ConfigReading reading =
      dipper::app::ReadConfig({.path = config_path,
                               .environment = dipper::app::ProcessEnvironment(),
                               .check_only = check_only || print_only});
  if (!reading.problems.empty()) {
    PrintProblems(reading.problems, config_path);
    return 2;
  }
  if (print_only) {
    std::fputs(dipper::app::PrintConfig(reading).c_str(), stdout);
    return std::fflush(stdout) == 0 ? 0 : 1;
  }
  if (check_only) return CheckAround(reading, config_path, offline);
  return dipper::app::Run(reading.config, argv);
}
