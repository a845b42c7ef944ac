// The control side's words: every request survives its line, garbage is refused, and every reason of the
// schema has a meaning here and a row in the recovery guide.
#include "agent/app/control/words.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "agent/app/control/protocol.h"
#include "agent/app/control/socket.h"
#include "agent/app/control/text.h"
#include "agent/telemetry/encoders.h"

namespace dipper::app {
namespace {

TEST(ControlProtocol, RequestsSurviveTheirLine) {
  for (int verb = 0; verb <= static_cast<int>(ControlVerb::kFactoryReset); ++verb) {
    for (const bool flag : {false, true}) {
      ControlRequest request;
      request.verb = static_cast<ControlVerb>(verb);
      request.model = flag ? "pump-1" : "";
      request.json = flag;
      request.follow = flag && request.verb == ControlVerb::kLog;
      request.wait = flag && request.verb == ControlVerb::kInstall;
      request.yes = flag && request.verb == ControlVerb::kFactoryReset;
      request.count = request.verb == ControlVerb::kLog ? 7 : 20;
      std::string line = RequestLine(request);
      ASSERT_EQ(line.back(), '\n');
      EXPECT_LE(line.size(), kMaxRequestBytes);
      line.pop_back();
      ControlRequest read;
      EXPECT_EQ(ParseRequest(line, &read), "");
      EXPECT_EQ(RequestLine(read), line + "\n");
    }
  }
}

TEST(ControlProtocol, GarbageIsRefused) {
  for (const char* line :
       {"", " ", "dipper/1", "dipper/1 ", "dipper/2 status", "dipper/1 Status", "status",
        "dipper/1 status json", "dipper/1 status =", "dipper/1 status model=", "dipper/1 status model=a/b",
        "dipper/1 status format=xml", "dipper/1 log count=1e3", "dipper/1 log count=99999999999999999999",
        "dipper/1 log follow=2", "dipper/1 factory_reset yes=yes", "dipper/1 status\tmodel=a",
        "dipper/1 status model=\xc3\xa4"}) {
    ControlRequest request;
    EXPECT_NE(ParseRequest(line, &request), "") << line;
  }
  ControlRequest request;
  EXPECT_NE(ParseRequest(std::string_view("dipper/1 status\0", 16), &request), "");
}

TEST(ControlSocket, PathsThatFit) {
  EXPECT_EQ(CheckSocketPath(std::string(107, 'x')), "");
  EXPECT_NE(CheckSocketPath(std::string(108, 'x')), "");
  EXPECT_NE(CheckSocketPath(""), "");
}

TEST(ControlText, TimesAndDurations) {
  EXPECT_EQ(TimeText(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(TimeText(1'700'000'000'000'000'000), "2023-11-14T22:13:20Z");
  constexpr int64_t kSecond = 1'000'000'000;
  EXPECT_EQ(DurationText(59 * kSecond), "59 s");
  EXPECT_EQ(DurationText(60 * kSecond), "1 min");
  EXPECT_EQ(DurationText((3 * 3600 + 12 * 60) * kSecond), "3 h 12 min");
  EXPECT_EQ(DurationText((49 * 3600) * kSecond), "2 d 1 h");
  EXPECT_EQ(Printable("a\x1b[2Jb\n"), "a?[2Jb?");
}

TEST(ControlWords, EveryReasonIsExplained) {
  std::ifstream file(DIPPER_SOURCE_DIR "/docs/how-to/recover-a-device.md");
  const std::string guide{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  ASSERT_FALSE(guide.empty());
  for (const schema::Reason reason : schema::EnumValuesReason()) {
    if (reason == schema::Reason::None) continue;
    const std::string word(telemetry::WordOf(reason).view());
    const Advice advice = AdviceOn(reason);
    EXPECT_FALSE(advice.meaning.empty()) << word;
    EXPECT_EQ(advice.meaning.find("unknown to this version"), std::string_view::npos) << word;
    // Good ends need no row; nobody has to be helped out of them.
    const bool good_end =
        static_cast<uint16_t>(reason) >= static_cast<uint16_t>(schema::Reason::ShownNotWorse);
    if (!good_end) {
      EXPECT_NE(guide.find("`" + word + "`"), std::string::npos) << word;
    }
  }
}

TEST(ControlText, ATrialThatWaitsForItsKeySaysWhatItNeeds) {
  ModelView model;
  model.id = "main";
  model.has_record = model.healthy = true;
  model.state = schema::UpdateState::Staged;
  model.record.lkg_slot = store::SlotId::kA;
  const auto text = [&] {
    ControlView view;
    view.running = true;
    view.models = {model};
    std::string all;
    for (const std::string& line : StatusText(view)) all += line + "\n";
    return all;
  };
  EXPECT_NE(text().find(MeaningOf(model.state)), std::string::npos);
  model.reason = schema::Reason::NoGroupKey;
  EXPECT_EQ(text().find(MeaningOf(model.state)), std::string::npos);
  EXPECT_NE(text().find(AdviceOn(model.reason).to_do), std::string::npos);
  EXPECT_NE(text().find("fall-back drops it"), std::string::npos);
}

// A package has no time of its own: of an install it is the root that has expired.
TEST(ControlWords, AnExpiredRootIsToldToWhoInstalls) {
  const Advice advice = AdviceOnInstall(schema::Reason::Expired);
  EXPECT_NE(advice.meaning.find("trust root has expired"), std::string_view::npos);
  EXPECT_NE(advice.to_do.find("dipper root next"), std::string_view::npos);
  EXPECT_NE(advice.meaning, AdviceOn(schema::Reason::Expired).meaning);
  EXPECT_EQ(AdviceOnInstall(schema::Reason::Busy).meaning, AdviceOn(schema::Reason::Busy).meaning);
}

TEST(ControlText, StatusSaysUntilWhenTheRootCounts) {
  const auto text = [](const ControlReadings& readings) {
    std::string all;
    for (const std::string& line : StatusText({.running = true, .readings = readings, .models = {}})) {
      all += line + "\n";
    }
    return all;
  };
  ControlReadings at;
  EXPECT_EQ(text(at).find("  root"), std::string::npos) << "there is none";
  at.root_version = 3;
  at.root_expires_s = 1'800'000'000;
  EXPECT_NE(text(at).find("  root       version 3, until 2027-01-15T08:00:00Z\n"), std::string::npos)
      << text(at);
  EXPECT_EQ(text(at).find("dipper root publish"), std::string::npos);
  at.root_expired = true;
  EXPECT_NE(text(at).find("  root       version 3, expired 2027-01-15T08:00:00Z\n"), std::string::npos)
      << text(at);
  EXPECT_NE(text(at).find("dipper root publish"), std::string::npos);
  const std::string json = StatusJson({.running = true, .readings = at, .models = {}});
  for (const char* member :
       {"\"root_version\":3", "\"root_expires_s\":1800000000", "\"root_expired\":true"}) {
    EXPECT_NE(json.find(member), std::string::npos) << member << " is not in " << json;
  }
}

}  // namespace
}  // namespace dipper::app
