// agent/app/run_note: a crash inside a model's calls names it; every other end names nobody.
#include "agent/app/run_note.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

namespace dipper::app {
namespace {

base::Digest DigestOf(uint8_t first) {
  base::Digest digest;
  digest.bytes[0] = first;
  return digest;
}

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

  bool Crashed(base::Digest* digest) {
    RunNote note;
    EXPECT_EQ(note.Open(path_), base::Status::kOk);
    return note.PreviousCrash(digest);
  }

  std::string folder_;
  std::string path_;
};

TEST_F(RunNoteTest, ACrashInsideAModelNamesIt) {
  for (int signal : {SIGSEGV, SIGABRT, SIGFPE}) {
    EndBy(signal, [](RunNote& note) { note.Enter(DigestOf(7)); });
    base::Digest digest;
    ASSERT_TRUE(Crashed(&digest)) << signal;
    EXPECT_EQ(digest, DigestOf(7));
    RunNote note;
    ASSERT_EQ(note.Open(path_), base::Status::kOk);
    note.Clear();
    EXPECT_FALSE(note.PreviousCrash(&digest));
  }
}

TEST_F(RunNoteTest, OtherEndsNameNobody) {
  base::Digest digest;
  EndBy(SIGSEGV, [](RunNote& note) {
    note.Enter(DigestOf(7));
    note.Leave();
  });
  EXPECT_FALSE(Crashed(&digest));
  EndBy(SIGKILL, [](RunNote& note) {
    note.Clear();  // as every start does once the store knows of the previous end
    note.Enter(DigestOf(7));
  });
  EXPECT_FALSE(Crashed(&digest));
}

TEST_F(RunNoteTest, WorksWithoutAFile) {
  RunNote note;
  EXPECT_EQ(note.Open(folder_ + "/no/such/folder"), base::Status::kUnavailable);
  base::Digest digest;
  note.Enter(DigestOf(1));
  note.Leave();
  note.Clear();
  EXPECT_FALSE(note.PreviousCrash(&digest));
}

}  // namespace
}  // namespace dipper::app
