// ControlServer: the flight recorder's state, and its recording to a file that the client has opened.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "agent/app/control/export.h"
#include "agent/app/control/server.h"
#include "agent/app/control/text.h"

namespace dipper::app {

namespace {

constexpr size_t kBytesATurn = 64 * 1024;
constexpr const char* kUnreadable = "the data partition cannot be read; look at the medium (dmesg)";

std::string NothingRecorded(const runtime::Recorder& recorder) {
  return "there is nothing recorded yet: " + std::string(runtime::RecorderStateText(recorder.state()));
}

std::vector<std::string> RecordingText(std::string_view model, const runtime::Recorder& recorder) {
  const runtime::RecorderCounters counters = recorder.counters();
  const store::RecorderRing& ring = recorder.ring();
  return {"model " + std::string(model) + ": " + std::string(runtime::RecorderStateText(recorder.state())),
          "  ring " + std::to_string(ring.area().segments) + " segments of " +
              std::to_string(ring.area().segment_bytes) + " bytes, newest is number " +
              std::to_string(ring.newest()),
          "  this run " + std::to_string(counters.records) + " records, " +
              std::to_string(counters.left_out) + " left out, " + std::to_string(counters.segments) +
              " segments, " + std::to_string(counters.overwritten) + " written over unfetched, " +
              std::to_string(counters.written_bytes) + " bytes written, " +
              std::to_string(counters.failures) + " failures of the medium"};
}

std::string RecordingJson(std::string_view model, const runtime::Recorder& recorder) {
  const runtime::RecorderCounters counters = recorder.counters();
  const store::RecorderRing& ring = recorder.ring();
  const auto number = [](const char* key, uint64_t value) {
    return std::string(",\"") + key + "\":" + std::to_string(value);
  };
  return "{\"model\":\"" + std::string(model) +
         "\",\"recording\":" + (recorder.state() == runtime::RecorderState::kRecording ? "true" : "false") +
         ",\"state\":\"" + std::string(runtime::RecorderStateText(recorder.state())) + "\"" +
         number("ring_segments", ring.area().segments) + number("segment_bytes", ring.area().segment_bytes) +
         number("newest_segment", ring.newest()) + number("records", counters.records) +
         number("left_out", counters.left_out) + number("segments", counters.segments) +
         number("overwritten", counters.overwritten) + number("written_bytes", counters.written_bytes) +
         number("failures", counters.failures) + "}";
}

}  // namespace

void ControlServer::ShowRecording(ControlClient* client, const ControlRequest& request) {
  size_t index = 0;
  if (!FindModel(client, request, &index)) return;
  const ControlModel model = target_.ControlModelAt(index);
  if (model.recorder == nullptr) {
    End(client, kExitNotFound,
        "nothing is recorded on this device: set recorder.bytes in its configuration "
        "(docs/reference/recording.md)");
    return;
  }
  if (request.write) {
    StartExport(client, request, index);
    return;
  }
  if (request.json) {
    Say(client, ReplyKind::kJson, RecordingJson(model.id, *model.recorder));
  } else {
    for (const std::string& line : RecordingText(model.id, *model.recorder))
      Say(client, ReplyKind::kText, line);
  }
  End(client, kExitOk, {});
}

void ControlServer::StartExport(ControlClient* client, const ControlRequest& request, size_t model) {
  struct stat about {};
  if (client->file < 0 || ::fstat(client->file, &about) != 0 || !S_ISREG(about.st_mode)) {
    End(client, kExitUsage, "no file came along to write the recording to");
    return;
  }
  runtime::Recorder& recorder = *target_.ControlModelAt(model).recorder;
  if (export_.client != 0 || recorder.fetched()) {
    End(client, kExitFailed, "the recording is being fetched already; try again when that has ended");
    return;
  }
  if (!Ok(recorder.BeginFetch())) {
    End(client, kExitNotFound, NothingRecorded(recorder));
    return;
  }
  export_ = {.client = client->serial, .file = client->file, .request = request, .model = model};
  client->file = -1;
}

void ControlServer::ContinueExport() {
  if (socket_.Find(export_.client) == nullptr) {
    EndExport(kExitFailed, {});
    return;
  }
  runtime::Recorder& recorder = *target_.ControlModelAt(export_.model).recorder;
  if (export_.bytes == 0) {
    const auto measured = recorder.Measure(kBytesATurn / store::kRecorderPageBytes);
    if (measured.ok()) {
      export_.bytes = *measured ? recorder.file_bytes() : 0;
    } else if (measured.status() == base::Status::kNotFound) {
      EndExport(kExitNotFound, NothingRecorded(recorder));
    } else {
      EndExport(kExitFailed, kUnreadable);
    }
    return;
  }
  std::vector<uint8_t> part(
      static_cast<size_t>(std::min<uint64_t>(kBytesATurn, export_.bytes - export_.done)));
  if (!Ok(recorder.ReadFile(export_.done, part))) {
    EndExport(kExitFailed, kUnreadable);
    return;
  }
  if (const std::string trouble = WriteAll(export_.file, part); !trouble.empty()) {
    EndExport(kExitFailed, trouble);
    return;
  }
  export_.done += part.size();
  if (export_.done < export_.bytes) return;
  ControlClient* client = socket_.Find(export_.client);
  const std::string_view model = target_.ControlModelAt(export_.model).id;
  target_.OnOperator(model, VerbText(ControlVerb::kRecording), schema::Reason::None);
  if (!export_.request.json) {
    Say(client, ReplyKind::kText,
        "model " + std::string(model) + ": recording of " + std::to_string(export_.bytes) + " bytes");
  } else {
    Say(client, ReplyKind::kJson, RecordingJson(model, recorder));
  }
  EndExport(kExitOk, {});
}

void ControlServer::EndExport(int exit_code, const std::string& message) {
  target_.ControlModelAt(export_.model).recorder->Release(exit_code == kExitOk);
  ::close(export_.file);
  End(socket_.Find(export_.client), exit_code, message);
  export_ = {};
}

}  // namespace dipper::app
