// agent/stream/json_pick: values out of other people's payloads, by pointer.
#include "agent/stream/json_pick.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "agent/stream/csv.h"

namespace dipper::stream {
namespace {

using base::Status;
using Kind = Picked::Kind;

class JsonPickTest : public ::testing::Test {
 protected:
  void Bind(std::vector<std::string_view> places) {
    ASSERT_EQ(pick_.Bind(places), Status::kOk);
    picked_.resize(places.size());
  }
  Status Pick(std::string_view text) { return pick_.Pick(text, picked_); }

  JsonPick pick_;
  std::vector<Picked> picked_;
};

TEST_F(JsonPickTest, PointersFindWhatTheyPointTo) {
  Bind({"/ENERGY/Power", "/list/1", "/a~1b/m~0n", "name", "/on", "/count"});
  ASSERT_EQ(Pick(R"({"name":"plug","ENERGY":{"Total":9,"Power":5.5},"list":[7,[1],8],"a/b":{"m~n":"x"},)"
                 R"("on":true,"count":18446744073709551615})"),
            Status::kOk);
  EXPECT_EQ(picked_[0].kind, Kind::kNumber);
  EXPECT_EQ(picked_[0].number, 5.5);
  EXPECT_EQ(picked_[1].kind, Kind::kAbsent);  // a list is no value
  EXPECT_EQ(picked_[2].text.view(), "x");
  EXPECT_EQ(picked_[3].text.view(), "plug");
  EXPECT_EQ(picked_[4].kind, Kind::kTrue);
  EXPECT_EQ(picked_[5].kind, Kind::kWhole);
  EXPECT_EQ(picked_[5].whole, ~uint64_t{0});
}

TEST_F(JsonPickTest, ANameInsideSomethingElseIsNotTheName) {
  Bind({"/a/b", "/c"});
  EXPECT_EQ(Pick(R"({"x":{"a":{"b":1},"c":2},"a":{"y":{"b":3}},"b":4})"), Status::kNotFound);
  ASSERT_EQ(Pick(R"({"a":{"y":{"b":3},"b":5},"c":[{"c":6}]})"), Status::kOk);
  EXPECT_EQ(picked_[0].whole, 5U);
  EXPECT_EQ(picked_[1].kind, Kind::kAbsent);
}

TEST_F(JsonPickTest, ThePayloadItselfIsANumberATextOrAFlag) {
  Bind({""});
  ASSERT_EQ(Pick("21.5"), Status::kOk);
  EXPECT_EQ(picked_[0].number, 21.5);
  ASSERT_EQ(Pick(" -3\n"), Status::kOk);
  EXPECT_EQ(picked_[0].number, -3);
  ASSERT_EQ(Pick("true"), Status::kOk);
  EXPECT_EQ(picked_[0].kind, Kind::kTrue);
  ASSERT_EQ(Pick("ON\r\n"), Status::kOk);
  EXPECT_EQ(picked_[0].text.view(), "ON");
  ASSERT_EQ(Pick("\"open\""), Status::kOk);
  EXPECT_EQ(picked_[0].text.view(), "open");
  EXPECT_EQ(Pick(""), Status::kInvalidArgument);
  EXPECT_EQ(Pick(std::string(100, 'x')), Status::kInvalidArgument);
  EXPECT_EQ(Pick("bell\a"), Status::kInvalidArgument);
  EXPECT_EQ(Pick(R"({"v":1})"), Status::kNotFound);
}

TEST_F(JsonPickTest, HostilePayloadsAreRefusedAndLeaveNothing) {
  Bind({"/v", "/w"});
  const std::string long_text = "{\"v\":\"" + std::string(kMaxPickBytes + 1, 'a') + "\",\"w\":1}";
  ASSERT_EQ(Pick(long_text), Status::kOk);
  EXPECT_EQ(picked_[0].kind, Kind::kAbsent);
  EXPECT_EQ(Pick(R"({"v":1,"v":2})"), Status::kInvalidArgument);
  EXPECT_EQ(picked_[0].kind, Kind::kAbsent);
  for (const char* bad :
       {"{", "[]x", "nope", "{\"v\":NaN}", "{\"v\":01}", "{\"v\":\"\xff\"}", "{\"v\":1e999}", "\0"})
    EXPECT_EQ(Pick(bad), Status::kInvalidArgument) << bad;
  EXPECT_EQ(Pick(std::string_view("{\"v\":1}\0", 8)), Status::kInvalidArgument);
  EXPECT_EQ(Pick("{\"v\":" + std::string(20, '[') + std::string(20, ']') + "}"), Status::kResourceExhausted);
  EXPECT_EQ(Pick(std::string(kMaxLineBytes + 1, ' ')), Status::kResourceExhausted);
  EXPECT_EQ(Pick(R"({"v":null})"), Status::kNotFound);
  ASSERT_EQ(Pick(R"({"w":0})"), Status::kOk);
}

TEST_F(JsonPickTest, WhatIsNoPointerIsNotBound) {
  for (const std::string_view bad : {"/a~", "/~2", "/x/~"}) {
    EXPECT_EQ(pick_.Bind({&bad, 1}), Status::kInvalidArgument) << bad;
    EXPECT_EQ(pick_.places(), 0U);
  }
  const std::string deep_text = [] {
    std::string text;
    for (int i = 0; i < 17; ++i) text += "/a";
    return text;
  }();
  const std::string_view deep = deep_text;
  EXPECT_EQ(pick_.Bind({&deep, 1}), Status::kResourceExhausted);
  const std::vector<std::string_view> many(kMaxPicks + 1, "a");
  EXPECT_EQ(pick_.Bind(many), Status::kResourceExhausted);
}

}  // namespace
}  // namespace dipper::stream
