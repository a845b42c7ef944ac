// ControlServer: answers status, slots, log, install, confirm, fall-back, undo and factory-reset of
// operators on this device, in small steps from the agent's loop. Not thread-safe. Heap: as answers need;
// nothing while nobody asks.
#pragma once

#include <memory>
#include <string>

#include "agent/app/control/file_source.h"
#include "agent/app/control/protocol.h"
#include "agent/app/control/socket.h"
#include "agent/app/control/target.h"
#include "hal/api/clock.h"

namespace dipper::app {

class ControlServer {
 public:
  /// Both outlive this.
  ControlServer(ControlTarget& target, hal::Clock& clock) : target_(target), clock_(clock) {}

  ControlSocket::Opened Open(const std::string& path, std::string* message) {
    return socket_.Open(path, message);
  }
  /// Readable when there is something to do; -1: not open.
  int fd() const { return socket_.fd(); }

  /// One turn of the loop, after the agent's own. Reads slots for `slots`, otherwise at most a few log
  /// entries; never waits for a client.
  /// @returns monotonic time of the next turn at the latest.
  int64_t Poll();

 private:
  /// The package that is being installed. One at a time, whatever the number of models.
  struct Job {
    std::unique_ptr<FileSource> file;  ///< Null: no job.
    uint64_t client = 0;
    ControlRequest request;
    size_t model = 0;
    bool begun = false, told_waiting = false;
    base::Digest package;
    schema::UpdateState state = schema::UpdateState::Idle;
    uint32_t tenths = 0;
    int64_t next_try_ns = 0;
  };
  /// A client that is being sent the log.
  struct Reader {
    uint64_t client = 0;
    ControlRequest request;
    uint64_t next = 0;  ///< Sequence.
  };

  /// A recording that is being written to a client's file.
  struct Export {
    uint64_t client = 0;  ///< 0: none.
    int file = -1;
    ControlRequest request;
    size_t model = 0;
    uint64_t bytes = 0, done = 0;  ///< 0 bytes: it is still being measured.
  };

  void Serve(ControlClient* client);
  void Answer(ControlClient* client, const ControlRequest& request);
  void ShowViews(ControlClient* client, const ControlRequest& request);
  void StartLog(ControlClient* client, const ControlRequest& request);
  void ContinueLog(Reader* reader);
  void Operate(ControlClient* client, const ControlRequest& request);
  void StartInstall(ControlClient* client, const ControlRequest& request);
  void ContinueInstall(int64_t now_ns);
  void BeginJob(int64_t now_ns);
  void FollowJob();
  void EndJob(schema::Reason reason, bool good, const std::string& message);
  void ShowRecording(ControlClient* client, const ControlRequest& request);
  void StartExport(ControlClient* client, const ControlRequest& request, size_t model);
  void ContinueExport();
  void EndExport(int exit_code, const std::string& message);
  bool FindModel(ControlClient* client, const ControlRequest& request, size_t* index);
  std::string ModelNames();

  void Say(ControlClient* client, ReplyKind kind, const std::string& line);
  void End(ControlClient* client, int exit_code, const std::string& message);
  void Outcome(ControlClient* client, const ControlRequest& request, std::string_view model, bool good,
               schema::Reason reason, const std::string& message);

  ControlTarget& target_;
  hal::Clock& clock_;
  ControlSocket socket_;
  Job job_;
  Export export_;
  std::array<Reader, kMaxControlClients> readers_{};
};

}  // namespace dipper::app
