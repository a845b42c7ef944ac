// LineSource over real pipes, files and Unix sockets: turns, headers, long lines, slow readers, vanished
// writers.
#include "hal/linux/line_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/hand_clock.h"

namespace dipper::hal {
namespace {

using base::Status;
using test::HandClock;

class Writer {
 public:
  explicit Writer(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Writer() { Close(); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  bool connected() const { return connected_; }
  void Say(const std::string& text) const {
    ASSERT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  /// Writes until the socket takes no more; returns the bytes taken.
  size_t Flood(const std::string& line, size_t at_most) const {
    size_t taken = 0;
    while (taken < at_most) {
      const ssize_t sent = ::send(fd_, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent != static_cast<ssize_t>(line.size())) break;
      taken += line.size();
    }
    return taken;
  }
  std::string Hear() const {
    char text[64 * 1024];
    const ssize_t got = ::recv(fd_, text, sizeof text, MSG_DONTWAIT);
    return got > 0 ? std::string(text, static_cast<size_t>(got)) : "";
  }
  bool Ended() const {
    char byte = 0;
    return ::recv(fd_, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
  }
  void Finish() const { ::shutdown(fd_, SHUT_WR); }
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
  bool connected_ = false;
};

class LineSourceTest : public ::testing::Test {
 protected:
  LineSourceTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dipper-lines-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ + "/samples";
  }
  ~LineSourceTest() override {
    source_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Open() {
    source_ = std::make_unique<LineSource>(clock_);
    ASSERT_EQ(source_->OpenSocket(path_, 0600), Status::kOk);
  }

  /// Everything that is there now: "h:" header, "c:" separated values, "j:" JSON, "!" lost.
  std::vector<std::string> Drain(LineSource& source, std::vector<uint32_t>* origins = nullptr) {
    std::vector<std::string> seen;
    Record record;
    int idle = 0;
    while (idle < 3) {
      const Status status = source.Poll(&record);
      if (status == Status::kOutOfRange) return seen;
      if (status == Status::kNotFound) {
        ++idle;
        continue;
      }
      if (status == Status::kDataLoss) {
        seen.emplace_back("!");
        continue;
      }
      EXPECT_EQ(status, Status::kOk);
      const bool header = record.kind == RecordKind::kHeader;
      const bool json = record.encoding == RecordEncoding::kJson;
      seen.push_back((header ? "h:" : json ? "j:" : "c:") + std::string(base::AsText(record.payload)));
      if (origins != nullptr && !header) origins->push_back(record.origin);
    }
    return seen;
  }

  using Lines = std::vector<std::string>;
  HandClock clock_;
  std::string folder_, path_;
  std::unique_ptr<LineSource> source_;
};

TEST_F(LineSourceTest, JsonLinesAreAnsweredWhereTheyCameFrom) {
  Open();
  const Writer one(path_), two(path_);
  one.Say("{\"a\":1}\n");
  two.Say("{\"a\":2}\r\n\n{\"a\":3}\n");
  std::vector<uint32_t> origins;
  EXPECT_EQ(Drain(*source_, &origins), (Lines{"j:{\"a\":1}", "j:{\"a\":2}", "j:{\"a\":3}"}));
  ASSERT_EQ(origins.size(), 3U);
  EXPECT_EQ(origins[1], origins[2]);
  source_->Answer(origins[0], "first");
  source_->Answer(origins[2], "third");
  EXPECT_EQ(one.Hear(), "first\n");
  EXPECT_EQ(two.Hear(), "third\n");
}

TEST_F(LineSourceTest, AMarkAndBlanksBeforeTheFirstLineDoNotMakeItAHeader) {
  Open();
  const std::string kMark = "\xEF\xBB\xBF";
  for (const std::string& first : Lines{kMark, " ", "\t", kMark + " \t", " \n{\"a\":0}\n"}) {
    Writer writer(path_);
    writer.Say(first + "{\"a\":1}\n{\"a\":2}\n");
    const Lines lines = Drain(*source_);
    ASSERT_GE(lines.size(), 2U) << first;
    EXPECT_NE(lines[lines.size() - 2].find("{\"a\":1}"), std::string::npos) << first;
    EXPECT_EQ(lines.back(), "j:{\"a\":2}") << first;
  }
  // A header keeps its mark: whoever reads columns knows it.
  Writer csv(path_);
  csv.Say(kMark + "a,b\n1,2\n");
  EXPECT_EQ(Drain(*source_), (Lines{"h:" + kMark + "a,b", "c:1,2"}));
}

TEST_F(LineSourceTest, AListIsARecordThatIsRefusedAndNoHeader) {
  Open();
  Writer writer(path_);
  writer.Say("[1,2]\n{\"a\":1}\n");
  EXPECT_EQ(Drain(*source_), (Lines{"j:[1,2]", "j:{\"a\":1}"}));
}

TEST_F(LineSourceTest, EachWriterHasItsHeaderAndItsTurn) {
  Open();
  const Writer one(path_), two(path_);
  one.Say("a,b\n1,2\n3,4\n");
  (void)Drain(*source_);
  two.Say("c\n5\n6\n");
  one.Say("7,8\n9,10\n");
  EXPECT_EQ(Drain(*source_), (Lines{"h:c", "c:5", "h:a,b", "c:7,8", "h:c", "c:6", "h:a,b", "c:9,10"}));
}

TEST_F(LineSourceTest, SequenceCountsRecordsOfAllWriters) {
  Open();
  const Writer one(path_), two(path_);
  one.Say("a\n1\n2\n");
  two.Say("{}\n{}\n");
  Record record;
  std::vector<uint64_t> sequences;
  for (int i = 0; i < 50; ++i) {
    if (source_->Poll(&record) == Status::kOk && record.kind == RecordKind::kSample)
      sequences.push_back(record.sequence);
  }
  EXPECT_EQ(sequences, (std::vector<uint64_t>{0, 1, 2, 3}));
}

TEST_F(LineSourceTest, ALongLineIsSkippedAndCountedAndTheNextIsThere) {
  Open();
  const Writer one(path_);
  one.Say("{\"a\":1}\n" + std::string(3 * LineSource::kMaxLineBytes, 'x') + "\n{\"a\":2}\n");
  EXPECT_EQ(Drain(*source_), (Lines{"j:{\"a\":1}", "j:{\"a\":2}", "!"}));
  EXPECT_EQ(source_->counters().long_lines, 1U);
  one.Say(std::string(LineSource::kMaxLineBytes - 1, 'y') + "\n");  // the longest that fits with its end
  EXPECT_EQ(Drain(*source_).size(), 1U);
  EXPECT_EQ(source_->counters().long_lines, 1U);
}

TEST_F(LineSourceTest, AHeaderThatIsTooLongMakesItsValuesUseless) {
  Open();
  const Writer one(path_);
  one.Say(std::string(LineSource::kMaxHeaderBytes + 1, 'h') + "\n1\n2\n");
  for (const std::string& line : Drain(*source_)) EXPECT_EQ(line, "!");
  EXPECT_EQ(source_->counters().headerless_lines, 2U);
}

TEST_F(LineSourceTest, ASlowReaderLosesAnswersAndHoldsUpNobody) {
  Open();
  const Writer slow(path_), other(path_);
  slow.Say("{}\n");
  other.Say("{}\n");
  std::vector<uint32_t> origins;
  (void)Drain(*source_, &origins);
  const std::string answer(1000, 'a');
  for (int i = 0; i < 10'000; ++i) source_->Answer(origins[0], answer);
  EXPECT_GT(source_->counters().dropped_answers, 1000U);
  source_->Answer(origins[1], "hello");
  EXPECT_EQ(other.Hear(), "hello\n");
  // What it does get is whole lines.
  std::string heard;
  for (std::string part; !(part = slow.Hear()).empty(); (void)Drain(*source_)) heard += part;
  EXPECT_EQ(heard.size() % (answer.size() + 1), 0U);
  source_->Answer(origins[0], "again");
  EXPECT_EQ(slow.Hear(), "again\n");
}

TEST_F(LineSourceTest, AFastWriterIsHeldBackByItsSocket) {
  Open();
  const Writer one(path_);
  const std::string line = "{\"a\":12345}\n";
  const size_t taken = one.Flood(line, 100'000'000);
  EXPECT_LT(taken, 10'000'000U);
  EXPECT_EQ(Drain(*source_).size(), taken / line.size());  // and nothing of it is lost
  EXPECT_GT(one.Flood(line, 1000), 0U);
}

TEST_F(LineSourceTest, AWriterThatGoesLeavesItsLastLineAndItsPlace) {
  Open();
  for (int i = 0; i < 50; ++i) {
    Writer writer(path_);
    ASSERT_TRUE(writer.connected());
    writer.Say("{\"i\":1}");  // no line end
    writer.Close();
    EXPECT_EQ(Drain(*source_), (Lines{"j:{\"i\":1}"})) << i;
  }
  EXPECT_EQ(source_->counters().refused_clients, 0U);
}

TEST_F(LineSourceTest, AnswersStillReachAWriterThatHasFinishedWriting) {
  Open();
  const Writer one(path_);
  one.Say("{}\n");
  one.Finish();
  Record record;
  ASSERT_EQ(source_->Poll(&record), Status::kOk);
  const std::string big(LineSource::kOutBytes - 1, 'b');
  for (int i = 0; i < 200; ++i) source_->Answer(record.origin, big);  // fills socket and buffer
  std::string heard;
  for (int i = 0; i < 10'000 && !one.Ended(); ++i) {
    heard += one.Hear();
    (void)source_->Poll(&record);
  }
  EXPECT_EQ(heard.size() % (big.size() + 1), 0U);
  EXPECT_GT(heard.size(), big.size());
}

TEST_F(LineSourceTest, OneThatNeverReadsKeepsItsPlaceOnlyForAGrace) {
  Open();
  const Writer one(path_);
  one.Say("{}\n");
  one.Finish();
  Record record;
  ASSERT_EQ(source_->Poll(&record), Status::kOk);
  const std::string big(LineSource::kOutBytes - 1, 'b');
  for (int i = 0; i < 200; ++i) source_->Answer(record.origin, big);
  (void)Drain(*source_);
  clock_.now_ns += 6'000'000'000;
  (void)Drain(*source_);
  source_->Answer(record.origin, "late");  // to nobody
  std::vector<std::unique_ptr<Writer>> writers;
  for (size_t i = 0; i < LineSource::kMaxClients; ++i) writers.push_back(std::make_unique<Writer>(path_));
  (void)Drain(*source_);
  EXPECT_EQ(source_->counters().refused_clients, 0U);
}

TEST_F(LineSourceTest, TheNinthWriterIsTurnedAway) {
  Open();
  std::vector<std::unique_ptr<Writer>> writers;
  for (size_t i = 0; i < LineSource::kMaxClients + 1; ++i) {
    writers.push_back(std::make_unique<Writer>(path_));
    (void)Drain(*source_);
  }
  EXPECT_EQ(source_->counters().refused_clients, 1U);
  EXPECT_TRUE(writers.back()->Ended());
  writers[0]->Close();
  (void)Drain(*source_);
  const Writer next(path_);
  next.Say("{}\n");
  EXPECT_EQ(Drain(*source_), (Lines{"j:{}"}));
}

TEST_F(LineSourceTest, AnAnswerNeverReachesTheNextWriterOnTheSamePlace) {
  Open();
  auto first = std::make_unique<Writer>(path_);
  first->Say("{}\n");
  std::vector<uint32_t> origins;
  (void)Drain(*source_, &origins);
  first.reset();
  (void)Drain(*source_);
  const Writer second(path_);
  second.Say("{}\n");
  (void)Drain(*source_, &origins);
  source_->Answer(origins[0], "for the first");
  EXPECT_EQ(second.Hear(), "");
}

TEST_F(LineSourceTest, ASocketLeftBehindIsReplacedAndOneInUseIsNot) {
  Open();
  LineSource second(clock_);
  EXPECT_EQ(second.OpenSocket(path_, 0600), Status::kAlreadyExists);
  source_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
  {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);  // bound and never served: what a crash leaves
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
  }
  Open();
  const Writer writer(path_);
  EXPECT_TRUE(writer.connected());
}

TEST_F(LineSourceTest, WhatIsNoSocketIsLeftAlone) {
  std::ofstream(path_) << "precious";
  LineSource source(clock_);
  EXPECT_EQ(source.OpenSocket(path_, 0600), Status::kInvalidArgument);
  EXPECT_EQ(std::filesystem::file_size(path_), 8U);
  LineSource another(clock_);
  EXPECT_EQ(another.OpenSocket(folder_ + std::string(200, 'x'), 0600), Status::kInvalidArgument);
  LineSource nowhere(clock_);
  EXPECT_EQ(nowhere.OpenSocket(folder_ + "/none/samples", 0600), Status::kUnavailable);
}

TEST_F(LineSourceTest, TheModeIsTheOneAskedFor) {
  source_ = std::make_unique<LineSource>(clock_);
  ASSERT_EQ(source_->OpenSocket(path_, 0620), Status::kOk);
  struct stat there {};
  ASSERT_EQ(::lstat(path_.c_str(), &there), 0);
  EXPECT_EQ(there.st_mode & 0777U, 0620U);
}

TEST_F(LineSourceTest, APipeEndsWhenItsWriterEnds) {
  int in[2], out[2];
  ASSERT_EQ(::pipe2(in, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
  LineSource source(clock_);
  ASSERT_EQ(source.OpenPipe(in[0], out[1]), Status::kOk);
  Record record;
  EXPECT_EQ(source.Poll(&record), Status::kNotFound);
  ASSERT_EQ(::write(in[1], "a\n1\n2", 5), 5);
  std::vector<uint32_t> origins;
  EXPECT_EQ(Drain(source, &origins), (Lines{"h:a", "c:1"}));
  source.Answer(origins[0], "ok");
  char text[8] = {};
  EXPECT_EQ(::read(out[0], text, sizeof text), 3);
  ::close(in[1]);
  EXPECT_EQ(Drain(source), (Lines{"c:2"}));
  EXPECT_EQ(source.Poll(&record), Status::kOutOfRange);
  for (const int fd : {in[0], out[0], out[1]}) ::close(fd);
}

TEST_F(LineSourceTest, AFileAsStandardInputIsReadToItsEnd) {
  std::ofstream(path_) << "a,b\n1,2\n3,4\n";
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  LineSource source(clock_);
  ASSERT_EQ(source.OpenPipe(fd, -1), Status::kOk);
  EXPECT_EQ(Drain(source), (Lines{"h:a,b", "c:1,2", "c:3,4"}));
  Record record;
  EXPECT_EQ(source.Poll(&record), Status::kOutOfRange);
  ::close(fd);
}

}  // namespace
}  // namespace dipper::hal
