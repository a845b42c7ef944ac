// Words for reason codes, and what to do about the usual ones.
#include <array>

#include "agent/link/broker_address.h"

namespace dipper::link {
namespace {

struct Row {
  int code;
  const char* text;
};

// MQTT 5.0 section 2.4 and, for 1 to 5, MQTT 3.1.1 section 3.2.2.3.
constexpr std::array<Row, 31> kRows = {{
    {1, "the broker does not speak this MQTT version; try the other one"},
    {2, "client id not accepted"},
    {3, "the broker is not available"},
    {4, "wrong user name or password"},
    {5, "not authorized: wrong user name, password or client certificate"},
    {16, "no matching subscribers"},
    {128, "unspecified error"},
    {129, "malformed packet"},
    {130, "protocol error"},
    {131, "implementation specific error"},
    {132, "the broker does not speak this MQTT version; try the other one"},
    {133, "client id not accepted"},
    {134, "wrong user name or password"},
    {135, "not authorized: wrong user name or password, or the access list forbids it"},
    {136, "the broker is not available"},
    {137, "the broker is busy"},
    {138, "banned by the broker"},
    {139, "the broker is shutting down"},
    {140, "bad authentication method"},
    {141, "keep-alive timeout"},
    {142, "session taken over: another client uses the same client id"},
    {143, "topic filter not accepted"},
    {144, "topic name not accepted"},
    {147, "too many messages in flight"},
    {149, "message too large for the broker"},
    {151, "quota exceeded"},
    {152, "closed by an administrator"},
    {153, "payload format not accepted"},
    {156, "use another broker"},
    {157, "the broker has moved"},
    {159, "too many connections at once"},
}};

}  // namespace

std::string ReasonText(int reason) {
  for (const Row& row : kRows) {
    if (row.code == reason) return row.text;
  }
  return reason < 0 ? "connection failed (Paho " + std::to_string(reason) + ")"
                    : "refused with reason code " + std::to_string(reason);
}

}  // namespace dipper::link
