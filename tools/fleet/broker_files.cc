// Mosquitto's files from the state of a fleet: always all of it, so that they cannot drift from fleet.json.
#include <fmt/format.h>

#include "agent/telemetry/home_assistant.h"
#include "tools/fleet/fleet_folder.h"

namespace dipper::fleet {
namespace {

constexpr const char* kMadeBy = "# Made by dipper device; edits are lost with the next change.\n";

std::string TreeOf(const FleetState& state) { return std::string(telemetry::kTopicRoot) + state.fleet + "/"; }

void AddRole(const FleetState& state, const char* role, std::string* text) {
  const std::string tree = TreeOf(state);
  *text += fmt::format("\nuser {}\n", RoleUser(role));
  const auto add = [&](const char* access, std::initializer_list<const char*> topics) {
    for (const char* topic : topics) *text += fmt::format("topic {} {}{}\n", access, tree, topic);
  };
  const std::string name = role;
  if (name == "publisher") {
    add("readwrite", {"offer/#", "pkg/#", "root/#"});
    add("write", {"+/cmd"});
    add("read", {"+/state", "+/birth", "+/rsp", "+/event", "+/m/+/event", "+/m/+/update", "+/m/+/uncertain"});
  } else if (name == "watcher") {
    add("read", {"+/state", "+/birth", "+/metrics", "+/event", "+/backlog", "+/rsp", "+/m/+/metrics",
                 "+/m/+/event", "+/m/+/update", "+/m/+/prediction", "+/json/#"});
  } else {  // operator: retires devices, so it may clear whatever they left
    add("readwrite", {"#"});
    for (const std::string_view component : telemetry::kHomeAssistantComponents) {
      if (!state.home_assistant.empty())
        *text += fmt::format("topic readwrite {}/{}/+/+/config\n", state.home_assistant, component);
    }
  }
}

void AddDevice(const std::string& id, const Member& device, const std::string& tree, std::string* text) {
  *text += fmt::format("\nuser {}\n", id);
  if (device.retired) {
    // A broker that still has its connection or an old revocation list takes nothing from it and gives it
    // nothing.
    *text += "topic deny #\n";
    return;
  }
  // Not as patterns, which would hold for people's roles too.
  for (const char* shared : {"offer/all", "offer/all/m/+", "pkg/#", "root/#"})
    *text += fmt::format("topic read {}{}\n", tree, shared);
  for (const std::string& group : device.row.groups)
    *text += fmt::format("topic read {0}offer/{1}\ntopic read {0}offer/{1}/m/+\n", tree, group);
}

}  // namespace

std::string RoleUser(const std::string& role) { return "role." + role; }

std::string PasswordFileText(const FleetState& state) {
  std::string text;
  for (const auto& [id, device] : state.devices) {
    if (!device.retired) text += id + ":" + device.hash + "\n";
  }
  for (const auto& [role, member] : state.roles) text += RoleUser(role) + ":" + member.hash + "\n";
  return text;
}

std::string AccessListText(const FleetState& state) {
  const std::string tree = TreeOf(state);
  std::string text = kMadeBy;
  text += "# %u is the user name: the device's id.\n";
  for (const char* own : {"write {}%u/#", "read {}%u/cmd", "read {}%u/m/+/sample", "read {}%u/m/+/label",
                          "read {}offer/%u", "read {}offer/%u/m/+"}) {
    text += "pattern " + fmt::format(fmt::runtime(own), tree) + "\n";
  }
  for (const std::string_view component : telemetry::kHomeAssistantComponents) {
    if (!state.home_assistant.empty())
      text += fmt::format("pattern write {}/{}/%u/+/config\n", state.home_assistant, component);
  }
  for (const char* role : kRoles) AddRole(state, role, &text);
  for (const auto& [id, device] : state.devices) AddDevice(id, device, tree, &text);
  return text;
}

std::string BrokerConfigText(const FleetState& state) {
  std::string text = kMadeBy;
  text +=
      "# For /etc/mosquitto/conf.d. Copy the files that it names to /etc/mosquitto/dipper; server.pem and\n"
      "# server.key are the broker's own certificate and key.\n"
      "per_listener_settings false\n"
      "persistence true\n"
      "max_queued_messages 20000\n"
      "allow_anonymous false\n"
      "acl_file /etc/mosquitto/dipper/acl\n";
  if (state.access == Access::kPassword) text += "password_file /etc/mosquitto/dipper/passwords\n";
  text += state.broker_tls ? "listener 8883\ncertfile /etc/mosquitto/dipper/server.pem\nkeyfile "
                             "/etc/mosquitto/dipper/server.key\n"
                           : "listener 1883\n";
  if (state.access == Access::kCertificate) {
    text +=
        "cafile /etc/mosquitto/dipper/devices-ca.pem\n"
        "crlfile /etc/mosquitto/dipper/revoked.pem\n"
        "require_certificate true\n"
        "use_identity_as_username true\n";
  }
  return text;
}

}  // namespace dipper::fleet
