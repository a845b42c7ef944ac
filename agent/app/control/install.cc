// ControlServer: a package file on its way to the trial.
#include "agent/app/control/server.h"
#include "agent/app/control/text.h"
#include "agent/telemetry/encoders.h"

namespace dipper::app {

using schema::Reason;
using schema::UpdateState;

namespace {

constexpr int64_t kTryAgainNs = 200'000'000;  // while the healthy mark is awaited

bool EndedBadly(UpdateState state) {
  return state == UpdateState::Rejected || state == UpdateState::Failed || state == UpdateState::FellBack;
}

}  // namespace

void ControlServer::StartInstall(ControlClient* client, const ControlRequest& request) {
  size_t index = 0;
  if (!FindModel(client, request, &index)) return;
  if (job_.file != nullptr) {
    Outcome(client, request, target_.ControlModelAt(index).id, false, Reason::Busy, {});
    return;
  }
  auto file = std::make_unique<FileSource>(client->file);
  client->file = -1;
  if (file->Check() != nullptr) {
    End(client, kExitUsage, file->Check());
    return;
  }
  job_ = {};
  job_.file = std::move(file);
  job_.client = client->serial;
  job_.request = request;
  job_.model = index;
}

void ControlServer::ContinueInstall(int64_t now_ns) {
  if (job_.begun) {
    FollowJob();
  } else if (socket_.Find(job_.client) == nullptr) {
    job_ = {};  // nobody waits for it any more, and nothing has happened yet
  } else if (now_ns >= job_.next_try_ns) {
    BeginJob(now_ns);
  }
}

void ControlServer::BeginJob(int64_t now_ns) {
  const ControlModel model = target_.ControlModelAt(job_.model);
  ControlClient* client = socket_.Find(job_.client);
  const Reason reason = model.updater->BeginInstall(*job_.file);
  if (reason == Reason::TooSoon) {
    if (!job_.told_waiting) {
      job_.told_waiting = true;
      Say(client, ReplyKind::kProgress,
          "waiting for the healthy mark, " + std::to_string(target_.ReadForControl().healthy_after_s) +
              " s after the agent's start");
    }
    job_.next_try_ns = now_ns + kTryAgainNs;
    return;
  }
  if (reason == Reason::None) {
    const update::UpdateStatus status = model.updater->Status();
    job_.begun = true;
    job_.package = status.offered;
    job_.state = UpdateState::Idle;
    target_.OnOperator(model.id, VerbText(job_.request.verb), reason);
    FollowJob();
    return;
  }
  if (reason != Reason::AlreadyInstalled) target_.OnOperator(model.id, VerbText(job_.request.verb), reason);
  EndJob(reason, reason == Reason::AlreadyInstalled, "this package serves already; nothing was done");
}

void ControlServer::FollowJob() {
  const ControlModel model = target_.ControlModelAt(job_.model);
  const update::UpdateStatus status = model.updater->Status();
  ControlClient* client = socket_.Find(job_.client);
  // A newer offer's number is its own package's: ours has ended in between.
  if (status.offered != job_.package) {
    EndJob(Reason::Unknown, false, {});
    return;
  }
  const uint32_t tenths = status.blocks_total == 0 ? 0 : 10 * status.blocks_have / status.blocks_total;
  const bool copying = model.updater->installing();
  if (copying && tenths != job_.tenths) {
    job_.tenths = tenths;
    Say(client, ReplyKind::kProgress, "copied " + std::to_string(tenths * 10) + " %");
  }
  if (status.state != job_.state) {
    job_.state = status.state;
    Say(client, ReplyKind::kProgress, std::string(telemetry::WordOf(status.state).view()));
  }
  if (copying) return;
  if (status.state == UpdateState::Confirmed) {
    EndJob(status.reason, true, "confirmed: it serves now");
  } else if (EndedBadly(status.state)) {
    EndJob(status.reason, false, {});
  } else if (status.state == UpdateState::Trial && !job_.request.wait) {
    EndJob(Reason::None, true, "installed and on trial; dipper-agent status shows how it goes");
  } else if (client == nullptr) {
    job_ = {};  // the updater goes on by itself
  }
}

void ControlServer::EndJob(Reason reason, bool good, const std::string& message) {
  Outcome(socket_.Find(job_.client), job_.request, target_.ControlModelAt(job_.model).id, good, reason,
          message);
  job_ = {};
}

}  // namespace dipper::app
