// agent/app/run_note: a crash inside a model's calls names it; every other end names nobody, and says what it
// was.
#include "agent/app/run_note.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include "tests/unit/agent/app/digest_of.h"

namespace dipper::app {
namespace {

class RunNoteTest : public testing::Test {
 protected:
  RunNoteTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dipper-note-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ + "/note";
  }
  ~RunNoteTest() override { std::filesystem::remove_all(folder_); }

  // Runs `body` in a process of its own that ends by `signal`.
  template <typename Body>
  void EndBy(int signal, Body body) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const rlimit no_core{0, 0};
      ::setrlimit(RLIMIT_CORE, &no_core);
      RunNote note;
      if (!Ok(note.Open(path_))) ::_exit(1);
      note.Begin(kBoot, {"pump", "fan"});
      note.InstallCrashHandler();
      body(note);
      ::raise(signal);
      ::_exit(2);
    }
    int state = 0;
    ASSERT_EQ(::waitpid(child, &state, 0), child);
    ASSERT_TRUE(WIFSIGNALED(state));
    EXPECT_EQ(WTERMSIG(state), signal);
  }

  LastEnd Last(const std::string& boot = kBoot) {
    RunNote note;
    EXPECT_EQ(note.Open(path_), base::Status::kOk);
    return note.PreviousEnd(boot);
  }

  static constexpr const char* kBoot = "boot-1";
  std::string folder_;
  std::string path_;
};

TEST_F(RunNoteTest, ACrashInsideAModelNamesIt) {
  for (int signal : {SIGSEGV, SIGABRT, SIGFPE}) {
    EndBy(signal, [](RunNote& note) {
      note.Enter(0, DigestOf(6));
      note.Leave();
      note.Enter(1, DigestOf(7));
    });
    const LastEnd last = Last();
    ASSERT_EQ(last.kind, LastEnd::kCrashed) << signal;
    EXPECT_EQ(last.signal, signal);
    ASSERT_TRUE(last.in_model);
    EXPECT_EQ(last.model, "fan");
    EXPECT_EQ(last.package, DigestOf(7));
  }
}

TEST_F(RunNoteTest, NamesAModelThatTheConfigurationMovedSince) {
  EndBy(SIGSEGV, [](RunNote& note) { note.Enter(1, DigestOf(7)); });
  EXPECT_EQ(Last().model, "fan");
  // The next start knows the models in another order; until it begins, the note is the previous run's.
  RunNote note;
  ASSERT_EQ(note.Open(path_), base::Status::kOk);
  note.Enter(0, DigestOf(1));
  EXPECT_EQ(note.PreviousEnd(kBoot).model, "fan");
  EXPECT_EQ(note.PreviousEnd(kBoot).package, DigestOf(7));
  note.Begin(kBoot, {"fan", "pump"});
  EXPECT_NE(note.PreviousEnd(kBoot).kind, LastEnd::kCrashed);
}

TEST_F(RunNoteTest, OtherEndsNameNobody) {
  EXPECT_EQ(Last().kind, LastEnd::kUnknown);
  EndBy(SIGSEGV, [](RunNote& note) {
    note.Enter(0, DigestOf(7));
    note.Leave();
  });
  EXPECT_EQ(Last().kind, LastEnd::kCrashed);
  EXPECT_FALSE(Last().in_model);
  EndBy(SIGKILL, [](RunNote& note) { note.Enter(0, DigestOf(7)); });
  EXPECT_EQ(Last().kind, LastEnd::kKilled);
  EXPECT_FALSE(Last().in_model);
  EXPECT_EQ(Last("boot-2").kind, LastEnd::kMachine);
  EndBy(SIGKILL, [](RunNote& note) { note.End(); });
  EXPECT_EQ(Last("boot-2").kind, LastEnd::kPlanned);
}

int64_t BootTimeNs() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// As systemd's watchdog does it: SIGABRT from another process.
void AbortFromOutside() {
  const pid_t parent = ::getpid();
  const pid_t killer = ::fork();
  if (killer == 0) {
    ::kill(parent, SIGABRT);
    ::_exit(0);
  }
  for (;;) ::pause();
}

TEST_F(RunNoteTest, AWatchdogNamesTheModelThatHung) {
  EndBy(SIGABRT, [](RunNote& note) {
    note.Enter(1, DigestOf(7));
    note.Turn(BootTimeNs() - 2 * RunNote::kHungNs);
    AbortFromOutside();
  });
  const LastEnd last = Last();
  ASSERT_EQ(last.kind, LastEnd::kWatchdog);
  ASSERT_TRUE(last.in_model);
  EXPECT_EQ(last.model, "fan");
  EXPECT_EQ(last.package, DigestOf(7));
  EXPECT_EQ(last.silent, "");
}

TEST_F(RunNoteTest, AWatchdogThatActsForAnotherPartBlamesNoModel) {
  EndBy(SIGABRT, [](RunNote& note) {
    note.Turn(BootTimeNs());
    note.Silent("link");
    note.Enter(1, DigestOf(7));  // what the loop, which turns, happens to do
    AbortFromOutside();
  });
  const LastEnd last = Last();
  ASSERT_EQ(last.kind, LastEnd::kWatchdog);
  EXPECT_FALSE(last.in_model);
  EXPECT_EQ(last.silent, "link");
}

TEST_F(RunNoteTest, AnOperatorsAbortBlamesNoModel) {
  EndBy(SIGABRT, [](RunNote& note) {
    note.Turn(BootTimeNs());
    note.Enter(1, DigestOf(7));
    AbortFromOutside();
  });
  EXPECT_EQ(Last().kind, LastEnd::kCrashed);
  EXPECT_FALSE(Last().in_model);
}

TEST_F(RunNoteTest, AModelThatAbortsItselfIsACrash) {
  EndBy(SIGABRT, [](RunNote& note) {
    note.Turn(BootTimeNs() - 2 * RunNote::kHungNs);
    note.Enter(1, DigestOf(7));
  });
  EXPECT_EQ(Last().kind, LastEnd::kCrashed);
  EXPECT_TRUE(Last().in_model);
}

TEST_F(RunNoteTest, OurOwnAlarmAheadOfTheMachinesWatchdog) {
  EndBy(SIGALRM, [](RunNote& note) {
    note.Enter(0, DigestOf(7));
    note.Turn(BootTimeNs() - 2 * RunNote::kHungNs);
  });
  EXPECT_EQ(Last("boot-2").kind, LastEnd::kWatchdog) << "after the machine's reset, too";
  EXPECT_EQ(Last("boot-2").model, "pump");
}

TEST_F(RunNoteTest, WorksWithoutAFile) {
  RunNote note;
  EXPECT_EQ(note.Open(folder_ + "/no/such/folder"), base::Status::kUnavailable);
  note.Begin(kBoot, {"pump"});
  note.Enter(0, DigestOf(1));
  note.Leave();
  note.End();
  EXPECT_EQ(note.PreviousEnd(kBoot).kind, LastEnd::kUnknown);
}

}  // namespace
}  // namespace dipper::app
