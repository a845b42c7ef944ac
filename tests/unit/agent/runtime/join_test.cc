// agent/runtime/join: several sources as one sample.
#include "agent/runtime/join.h"

#include <gtest/gtest.h>

#include <deque>
#include <limits>
#include <string>

#include "tests/support/hand_clock.h"

namespace dipper::runtime {
namespace {

using base::Status;
using test::HandClock;

/// Gives what it was told to.
class Script final : public hal::SampleSource {
 public:
  struct Line {
    std::string text;
    hal::RecordKind kind;
    hal::RecordEncoding encoding;
    Status status = Status::kOk;
  };
  Status Poll(hal::Record* record) override {
    *record = {};
    if (lines.empty()) return ended ? Status::kOutOfRange : Status::kNotFound;
    line_ = lines.front();
    lines.pop_front();
    record->kind = line_.kind;
    record->encoding = line_.encoding;
    record->origin = origin;
    record->from_network = from_network;
    record->payload = base::AsBytes(line_.text);
    return line_.status;
  }
  int64_t NextDueNs() override { return due_ns; }
  void Answer(uint32_t to, std::string_view line) override {
    answers += std::to_string(to) + std::string(line);
  }
  hal::SourceTotals totals() const override { return {.dropped = 3}; }

  void Header(const std::string& text) { lines.push_back({text, hal::RecordKind::kHeader, {}}); }
  void Csv(const std::string& text) { lines.push_back({text, hal::RecordKind::kSample, {}}); }
  void Json(const std::string& text) {
    lines.push_back({text, hal::RecordKind::kSample, hal::RecordEncoding::kJson});
  }
  void Floats(std::vector<float> values) {
    const auto* bytes = reinterpret_cast<const char*>(values.data());
    lines.push_back({std::string(bytes, values.size() * sizeof(float)), hal::RecordKind::kSample,
                     hal::RecordEncoding::kFloats});
  }

  std::deque<Line> lines;
  bool ended = false, from_network = false;
  uint32_t origin = 0;
  int64_t due_ns = 0;
  std::string answers;

 private:
  Line line_;
};

class JoinTest : public ::testing::Test {
 protected:
  Join Make(JoinConfig config = {}, std::vector<std::string> columns = {"level"},
            std::vector<std::string> others = {"flow", "state"}) {
    Join join(clock_, config,
              {{.source = &a_, .name = "tank", .columns = std::move(columns), .max_age_ns = 1000},
               {.source = &b_, .name = "pump", .columns = std::move(others), .max_age_ns = 1000}});
    return join;
  }
  /// Polls past what was left out; "": nothing came.
  std::string Next(Join& join) {
    for (int i = 0; i < 20; ++i) {
      last_ = join.Poll(&record_);
      if (Ok(last_)) return std::string(base::AsText(record_.payload));
      if (last_ != Status::kDataLoss) break;
    }
    return "";
  }

  HandClock clock_;
  Script a_, b_;
  hal::Record record_;
  Status last_ = Status::kOk;
};

TEST_F(JoinTest, ThePrimaryGivesTheTickAndTheOthersTheirNewest) {
  Join join = Make();
  b_.Header("x,flow,state");
  b_.Csv("0,1.5,on");
  EXPECT_EQ(Next(join), "");
  a_.Json(R"({"level":3})");
  EXPECT_EQ(Next(join), R"({"level":3,"flow":"1.5","state":"on"})");
  EXPECT_EQ(record_.sequence, 0U);
  EXPECT_EQ(Next(join), "");
  b_.Csv("0,2,off");
  b_.Csv("0,NA,off");
  a_.Json(R"({"level":4})");
  EXPECT_EQ(Next(join), R"({"level":4,"state":"off"})");
  EXPECT_EQ(record_.sequence, 1U);
  EXPECT_EQ(join.totals().superseded, 1U);
  EXPECT_EQ(join.totals().dropped, 6U);  // of the parts
}

TEST_F(JoinTest, WhatIsTooOldIsMissingAndCounted) {
  Join join = Make();
  b_.Header("flow,state");
  b_.Csv("1,on");
  a_.Json(R"({"level":1})");
  EXPECT_NE(Next(join).find("flow"), std::string::npos);
  clock_.now_ns += 1000;
  a_.Json(R"({"level":2})");
  EXPECT_NE(Next(join).find("flow"), std::string::npos);
  clock_.now_ns += 1;
  a_.Json(R"({"level":3})");
  EXPECT_EQ(Next(join), R"({"level":3})");
  EXPECT_TRUE(record_.columns_known);  // so that one without any of them is a sample too
  EXPECT_EQ(join.totals().stale, 1U);
  EXPECT_EQ(join.totals().skipped, 0U);
}

TEST_F(JoinTest, ASampleMayBeLeftOutInstead) {
  Join join = Make({.skip_missing = true});
  a_.Json(R"({"level":1})");
  EXPECT_EQ(Next(join), "");
  EXPECT_EQ(join.totals().skipped, 1U);
  b_.Header("flow,state");
  b_.Csv("1,on");
  a_.Json(R"({"level":2})");
  EXPECT_EQ(Next(join), R"({"level":2,"flow":"1","state":"on"})");
  EXPECT_EQ(record_.sequence, 1U);  // the one that was left out has its number
}

TEST_F(JoinTest, TheSlowestGivesTheTick) {
  Join join = Make({.slowest = true});
  b_.Header("flow,state");
  b_.Csv("0,on");
  EXPECT_EQ(Next(join), R"({"flow":"0","state":"on"})");  // the tank has never said anything
  a_.Json(R"({"level":1})");
  EXPECT_EQ(Next(join), "");
  b_.Csv("7,on");
  EXPECT_EQ(Next(join), R"({"level":1,"flow":"7","state":"on"})");
  b_.Csv("8,on");
  b_.Csv("9,on");
  EXPECT_EQ(Next(join), "");
  a_.Json(R"({"level":2})");
  EXPECT_EQ(Next(join), R"({"level":2,"flow":"9","state":"on"})");
  // One that has died holds up nobody.
  clock_.now_ns += 2000;
  b_.Csv("10,on");
  EXPECT_EQ(Next(join), R"({"flow":"10","state":"on"})");
}

TEST_F(JoinTest, ANameOfTwoHasItsSourceBeforeItInBoth) {
  Join join = Make({}, {"level", "temp"}, {"temp"});
  EXPECT_EQ(join.names(), (std::vector<std::string>{"level", "tank.temp", "pump.temp"}));
  b_.Header("temp");
  b_.Floats({40});
  a_.Json(R"({"level":1,"temp":20})");
  EXPECT_EQ(Next(join), R"({"level":1,"tank.temp":20,"pump.temp":40})");
}

TEST_F(JoinTest, FloatsAndNotANumber) {
  Join join = Make();
  a_.Json(R"({"level":1})");
  b_.Header("flow,other,state");
  b_.Floats({0.1F, 9, std::numeric_limits<float>::quiet_NaN()});
  EXPECT_EQ(Next(join), R"({"level":1,"flow":0.10000000149011612})");
  b_.Floats({1});  // another number of columns
  a_.Json(R"({"level":2})");
  EXPECT_NE(Next(join), "");
  EXPECT_EQ(join.totals().unreadable, 1U);
}

TEST_F(JoinTest, IdTimeAndLabelsPassThrough) {
  Join join = Make();
  a_.origin = 7;
  a_.Json(R"({"id":12,"time":100.5,"level":1})");
  EXPECT_EQ(Next(join), R"({"id":12,"time":100.5,"level":1})");
  EXPECT_EQ(record_.origin, 7U);
  join.Answer(record_.origin, "x");
  EXPECT_EQ(a_.answers, "7x");
  b_.origin = 9;
  b_.Json(R"({"id":12,"label":"ok"})");
  EXPECT_EQ(Next(join), R"({"id":12,"label":"ok"})");
  join.Answer(record_.origin, "y");
  EXPECT_EQ(b_.answers, "9y");
  EXPECT_EQ(a_.answers, "7x");
  // Out of order: left out and counted.
  a_.Json(R"({"id":13,"time":100.25,"level":1})");
  EXPECT_EQ(Next(join), "");
  EXPECT_EQ(join.totals().late, 1U);
}

TEST_F(JoinTest, OneFromTheNetworkMakesTheSampleFromTheNetwork) {
  Join join = Make();
  a_.Json(R"({"level":1})");
  EXPECT_NE(Next(join), "");
  EXPECT_FALSE(record_.from_network);
  b_.from_network = true;
  b_.Json(R"({"flow":1})");
  a_.Json(R"({"level":1})");
  EXPECT_NE(Next(join), "");
  EXPECT_TRUE(record_.from_network);
}

TEST_F(JoinTest, AFloodOfOneDoesNotStarveThePrimary) {
  Join join = Make();
  b_.Header("flow,state");
  for (int i = 0; i < 10000; ++i) b_.Csv(std::to_string(i) + ",on");
  for (int i = 0; i < 100; ++i) a_.Json("{\"level\":" + std::to_string(i) + "}");
  int samples = 0;
  for (int i = 0; i < 110; ++i) samples += Ok(join.Poll(&record_)) ? 1 : 0;
  EXPECT_EQ(samples, 100);
  EXPECT_GT(b_.lines.size(), 8000U);  // the rest waits where it is
  EXPECT_EQ(join.NextDueNs(), 1);
}

TEST_F(JoinTest, EndsAndHostileRecords) {
  Join join = Make();
  for (const char* bad : {"{", "[]", "{\"x\":1}", "{\"level\":1,\"level\":2}"}) a_.Json(bad);
  EXPECT_EQ(Next(join), "");
  EXPECT_EQ(join.totals().unreadable, 4U);
  b_.Csv("no header yet");
  b_.Header("\"broken");
  b_.Header("flow,state");
  b_.Csv("\"broken");
  b_.Csv("1,\"a\"\"b\"");
  b_.ended = true;
  a_.Json(R"({"level":1})");
  EXPECT_EQ(Next(join), R"({"level":1,"flow":"1","state":"a\"b"})");
  EXPECT_EQ(join.totals().unreadable, 7U);
  a_.ended = true;
  EXPECT_EQ(join.Poll(&record_), Status::kOutOfRange);
}

TEST_F(JoinTest, TheEarliestIsDueNext) {
  Join join = Make();
  EXPECT_EQ(Next(join), "");
  a_.due_ns = 500;
  b_.due_ns = 300;
  EXPECT_EQ(join.NextDueNs(), 300);
  b_.due_ns = 0;  // knows by its descriptor
  EXPECT_EQ(join.NextDueNs(), 500);
}

}  // namespace
}  // namespace dipper::runtime
