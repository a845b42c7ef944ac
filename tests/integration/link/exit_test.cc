// What a session leaves behind when it is closed, and when the process exits.
#include <MQTTAsync.h>
#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "agent/link/mqtt_session.h"

namespace dipper::link {
namespace {

MqttConfig NeverConnected() {
  MqttConfig config;
  config.url = "mqtts://127.0.0.1:1";
  config.client_id = "c";
  config.wait_for_connect = true;
  return config;
}

int lines = 0;
int calls = 0;
void CountLines(MQTTASYNC_TRACE_LEVELS, char* line) {
  ++lines;
  if (std::string_view(line).find("MQTTAsync_") != std::string_view::npos) ++calls;
}

// Paho's notes go to memory that it gives up with its last client, when a thread of its may still note.
TEST(LinkExit, PahoNotesNoCalls) {
  MQTTAsync_setTraceCallback(CountLines);
  std::make_unique<MqttSession>(NeverConnected()).reset();
  EXPECT_GT(lines, 0) << "its heading is heard, so its calls would be";
  EXPECT_EQ(calls, 0);
  MQTTAsync_setTraceCallback(nullptr);
}

// After OpenSSL's own exit handler no part of it can be started any more.
void TellWhetherOpenSslStands() { _exit(OPENSSL_init_crypto(0, nullptr) == 1 ? 0 : 1); }

TEST(LinkExitDeathTest, OpenSslStandsUntilTheProcessIsGone) {
  // In a process of its own, where nothing has used OpenSSL yet: of exit handlers the newest runs first.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::atexit(TellWhetherOpenSslStands);
        std::make_unique<MqttSession>(NeverConnected()).reset();
        std::exit(2);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace dipper::link
