// Implementation of server.h: requests and their answers. Installing is in install.cc.
#include "agent/app/control/server.h"

#include <algorithm>
#include <cstdio>

#include "agent/app/control/text.h"
#include "agent/app/control/words.h"
#include "agent/telemetry/encoders.h"

namespace dipper::app {

using schema::Reason;

namespace {

constexpr int64_t kWatchNs = 200'000'000;  // a turn at least that often while somebody is connected
constexpr uint32_t kEntriesATurn = 64;

/// Of an answer that came of a reason.
int ExitOf(Reason reason) {
  switch (reason) {
    case Reason::BadFormat:
    case Reason::BadSignature:
    case Reason::UnknownKey:
    case Reason::BadDigest:
    case Reason::BadBlock:
    case Reason::RootInvalid:
    case Reason::SelfTest:
      return kExitNotVerified;
    default:
      return kExitFailed;
  }
}

}  // namespace

int64_t ControlServer::Poll() {
  const int64_t now_ns = clock_.MonotonicNs();
  socket_.Turn(now_ns);
  if (const uint64_t refused = socket_.TakeRefused(); refused != 0) {
    std::fprintf(stderr,
                 "dipper-agent: control socket: refused %llu connection(s) by users who are neither root nor "
                 "the agent's own\n",
                 static_cast<unsigned long long>(refused));
  }
  for (ControlClient& client : socket_.clients()) {
    if (client.in_use() && !client.request_taken) Serve(&client);
  }
  for (Reader& reader : readers_) {
    if (reader.client != 0) ContinueLog(&reader);
  }
  if (job_.file != nullptr) ContinueInstall(now_ns);
  if (export_.client != 0) ContinueExport();
  if (export_.client != 0) return now_ns;
  if (job_.file != nullptr && target_.ControlModelAt(job_.model).updater->installing()) return now_ns;
  return socket_.busy() || job_.file != nullptr ? now_ns + kWatchNs : INT64_MAX;
}

void ControlServer::Serve(ControlClient* client) {
  const size_t end = client->in.find('\n');
  if (end == std::string::npos && client->in.size() < kMaxRequestBytes) return;
  client->request_taken = true;
  ControlRequest request;
  const std::string problem =
      end == std::string::npos ? "the request is longer than " + std::to_string(kMaxRequestBytes) + " bytes"
                               : ParseRequest(std::string_view(client->in).substr(0, end), &request);
  client->in.clear();
  if (problem.empty()) {
    Answer(client, request);
  } else {
    End(client, kExitUsage, problem);
  }
}

void ControlServer::Answer(ControlClient* client, const ControlRequest& request) {
  switch (request.verb) {
    case ControlVerb::kStatus:
    case ControlVerb::kSlots:
      ShowViews(client, request);
      return;
    case ControlVerb::kLog:
      StartLog(client, request);
      return;
    case ControlVerb::kInstall:
      StartInstall(client, request);
      return;
    case ControlVerb::kRecording:
      ShowRecording(client, request);
      return;
    case ControlVerb::kConfirm:
    case ControlVerb::kFallBack:
    case ControlVerb::kUndo:
    case ControlVerb::kFactoryReset:
      Operate(client, request);
      return;
  }
}

void ControlServer::ShowViews(ControlClient* client, const ControlRequest& request) {
  const bool slots = request.verb == ControlVerb::kSlots;
  const ControlView view = ViewRunning(target_, request.model, slots);
  const bool none_runs = target_.ControlModelCount() == 0 && request.model.empty();
  if (view.models.empty() && !none_runs) {
    size_t index = 0;
    if (!FindModel(client, request, &index)) return;
  }
  if (request.json) {
    Say(client, ReplyKind::kJson, slots ? SlotsJson(view) : StatusJson(view));
  } else {
    for (const std::string& line : slots ? SlotsText(view) : StatusText(view)) {
      Say(client, ReplyKind::kText, line);
    }
  }
  End(client, kExitOk, {});
}

void ControlServer::StartLog(ControlClient* client, const ControlRequest& request) {
  size_t index = 0;
  if (!request.model.empty() && !FindModel(client, request, &index)) return;
  const auto place = std::ranges::find(readers_, uint64_t{0}, &Reader::client);
  if (place == readers_.end()) {
    End(client, kExitFailed, "too many readers of the log; try again");
    return;
  }
  *place = {.client = client->serial,
            .request = request,
            .next = FirstEntry(target_.ControlLog(), request.model, request.count)};
}

void ControlServer::ContinueLog(Reader* reader) {
  ControlClient* client = socket_.Find(reader->client);
  store::EventLog& log = target_.ControlLog();
  if (client == nullptr) {
    *reader = {};
    return;
  }
  alignas(16) std::array<uint8_t, store::kEventBytes> buffer;
  for (uint32_t i = 0; i < kEntriesATurn && reader->next <= log.newest(); ++i) {
    if (client->out.size() > kMaxWaitingBytes) return;  // it reads slower than we write
    reader->next = std::max(reader->next, log.oldest());
    const auto entry = log.Read(reader->next++, buffer);
    if (!entry.ok() || !IsOfModel(*entry, reader->request.model)) continue;
    Say(client, reader->request.json ? ReplyKind::kJson : ReplyKind::kText,
        reader->request.json ? EventJson(*entry) : EventText(*entry));
  }
  if (reader->next <= log.newest() || reader->request.follow) return;
  End(client, kExitOk, {});
  *reader = {};
}

void ControlServer::Operate(ControlClient* client, const ControlRequest& request) {
  size_t index = 0;
  if (!FindModel(client, request, &index)) return;
  if (request.verb == ControlVerb::kFactoryReset && !request.yes) {
    End(client, kExitNotConfirmed, std::string(kResetWarning));
    return;
  }
  const ControlModel model = target_.ControlModelAt(index);
  Reason reason = Reason::None;
  std::string done;
  switch (request.verb) {
    case ControlVerb::kConfirm:
      reason = model.updater->Confirm();
      done = "confirmed: the challenger is the champion now";
      break;
    case ControlVerb::kFallBack:
      reason = model.updater->FallBack();
      done = "the trial is over; the champion goes on with what it has learned";
      break;
    case ControlVerb::kFactoryReset:
      reason = model.updater->FactoryReset();
      done = ResetText(model.updater->champion() != nullptr);
      break;
    default:
      reason = model.updater->Undo();
      done = "the previous model serves again, with what it had learned";
      break;
  }
  target_.OnOperator(model.id, VerbText(request.verb), reason);
  Outcome(client, request, model.id, reason == Reason::None, reason, done);
}

std::string ControlServer::ModelNames() {
  std::string names;
  for (size_t i = 0; i < target_.ControlModelCount(); ++i) {
    names += (i == 0 ? "" : ", ") + std::string(target_.ControlModelAt(i).id);
  }
  return names;
}

/// False: the client has been told why not.
bool ControlServer::FindModel(ControlClient* client, const ControlRequest& request, size_t* index) {
  const size_t count = target_.ControlModelCount();
  if (count == 0) {
    *index = 0;
    End(client, kExitNotFound, "no model runs on this device; dipper-agent log says why");
    return false;
  }
  if (request.model.empty()) {
    *index = 0;
    if (count == 1) return true;
    End(client, kExitUsage, "this device runs several models: say which with --model (" + ModelNames() + ")");
    return false;
  }
  for (*index = 0; *index < count; ++*index) {
    if (target_.ControlModelAt(*index).id == request.model) return true;
  }
  End(client, kExitNotFound,
      "there is no model " + request.model + " on this device; it has " + ModelNames());
  return false;
}

void ControlServer::Say(ControlClient* client, ReplyKind kind, const std::string& line) {
  if (client == nullptr) return;
  if (client->out.empty()) client->deadline_ns = clock_.MonotonicNs() + kDrainTimeNs;
  client->out += static_cast<char>(kind);
  client->out += line;
  client->out += '\n';
}

void ControlServer::End(ControlClient* client, int exit_code, const std::string& message) {
  if (client == nullptr) return;
  Say(client, ReplyKind::kEnd, std::to_string(exit_code) + (message.empty() ? "" : " " + message));
  client->ended = true;
  client->request_taken = true;
}

/// @param message  What was done, or, when it was not, nothing: the reason says it.
void ControlServer::Outcome(ControlClient* client, const ControlRequest& request, std::string_view model,
                            bool good, Reason reason, const std::string& message) {
  std::string text = message;
  if (reason != Reason::None && !good) {
    const Advice advice = request.verb == ControlVerb::kFactoryReset ? AdviceOnReset(reason)
                          : request.verb == ControlVerb::kInstall    ? AdviceOnInstall(reason)
                                                                     : AdviceOn(reason);
    text = std::string(VerbText(request.verb)) + " of model " + std::string(model) + ": " +
           std::string(telemetry::WordOf(reason).view()) + ": " + std::string(advice.meaning);
    if (!advice.to_do.empty()) text += "; " + std::string(advice.to_do);
  }
  if (client == nullptr) return;
  if (request.json) {
    Say(client, ReplyKind::kJson, OutcomeJson(VerbText(request.verb), model, good, reason, text));
  } else if (good) {
    Say(client, ReplyKind::kText, "model " + std::string(model) + ": " + text);
  }
  End(client, good ? kExitOk : ExitOf(reason), good ? std::string() : text);
}

}  // namespace dipper::app
