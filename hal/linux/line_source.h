// LineSource: samples that other programs write as lines, over standard input or a Unix socket, each answered
// with a line. docs/reference/line-protocol.md is the protocol. Not thread-safe. No heap after opening.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "hal/api/clock.h"
#include "hal/api/sample_source.h"

namespace dipper::hal {

struct LineCounters {
  uint64_t clients = 0;           ///< That came, standard input included.
  uint64_t refused_clients = 0;   ///< Above kMaxClients: closed at once.
  uint64_t long_lines = 0;        ///< Skipped: above kMaxLineBytes, or a header above kMaxHeaderBytes.
  uint64_t headerless_lines = 0;  ///< Skipped: values after a header that was too long.
  uint64_t dropped_answers = 0;   ///< The reader was slow.
};

/// Lines of up to kMaxClients writers, one line of each in turn. A writer's first line says what it speaks:
/// behind a byte order mark and blanks, '{' (or '[') begins JSON, a record a line; anything else is a header
/// of separated values.
///
/// Nothing is read while a line of the same writer waits, so a writer that is too fast is slowed down by its
/// own socket or pipe (or loses what it chooses to drop), and memory does not grow. An answer that the reader
/// has no room for is dropped and counted; learning never waits for a reader.
class LineSource final : public SampleSource {
 public:
  static constexpr size_t kMaxLineBytes = 16 * 1024;
  static constexpr size_t kMaxHeaderBytes = 8 * 1024;
  static constexpr size_t kOutBytes = 8 * 1024;
  static constexpr size_t kMaxClients = 8;

  explicit LineSource(Clock& clock) : clock_(clock) {}
  ~LineSource();
  LineSource(const LineSource&) = delete;
  LineSource& operator=(const LineSource&) = delete;

  /// One writer on descriptors that stay the caller's, for example standard input and output (out < 0: no
  /// answers). The source ends when `in` ends. kUnavailable: out of descriptors.
  base::Status OpenPipe(int in, int out);
  /// Listens on a Unix stream socket. A socket that nobody serves any more is replaced.
  /// @param mode  Permission bits of the socket: who may write samples and read answers.
  /// kInvalidArgument: the path is too long for a socket, or something else lies there. kAlreadyExists:
  /// another process serves it. kUnavailable: it cannot be made there.
  base::Status OpenSocket(const std::string& path, uint32_t mode);

  base::Status Poll(Record* record) override;
  /// In the past while lines may wait here that the descriptors know nothing of; otherwise 0.
  int64_t NextDueNs() override { return more_ ? 1 : 0; }
  /// Readable when there may be something to poll.
  int event_fd() const { return epoll_; }
  /// Takes `line` (without line end) to the writer that `origin` of a record names; one that has gone, or has
  /// no room, does not get it.
  void Answer(uint32_t origin, std::string_view line) override;

  const LineCounters& counters() const { return counters_; }
  SourceTotals totals() const override {
    return {.unreadable = counters_.long_lines + counters_.headerless_lines,
            .answers_dropped = counters_.dropped_answers,
            .refused_writers = counters_.refused_clients};
  }

 private:
  enum class Speech : uint8_t { kUnknown, kJson, kCsv };
  struct Client {
    int in = -1, out = -1;
    uint32_t origin = 0;  ///< Never used again, so that an answer cannot reach another writer.
    bool owned = false, ended = false, skipping = false, header_ok = false;
    Speech speech = Speech::kUnknown;
    size_t begin = 0, end = 0;  ///< Of the unread bytes in `text`.
    size_t header_bytes = 0;
    size_t out_bytes = 0;
    int64_t ended_ns = 0;
    std::array<uint8_t, kMaxLineBytes> text;
    std::array<uint8_t, kMaxHeaderBytes> header;
    std::array<uint8_t, kOutBytes> waiting;
  };

  base::Status PollOnce(Record* record);
  base::Status OpenEvents();
  bool Watch(int fd, uint64_t tag, uint32_t what);
  void Rewatch(Client* client);
  bool Finished(Client* client);
  void Accept();
  void Read(Client* client);
  void Flush(Client* client);
  void Close(Client* client);
  bool TakeLine(Client* client, base::ByteView* line);
  bool TakeRecord(Client* client, Record* record);
  bool Events();

  Clock& clock_;
  int epoll_ = -1, listener_ = -1;
  std::string path_;
  std::vector<Client> clients_;
  size_t turn_ = 0;
  bool is_pipe_ = false;
  uint32_t last_origin_ = 0;
  uint32_t header_of_ = 0;  ///< Whose header was the last one given; 0: nobody's.
  uint64_t next_sequence_ = 0;
  uint64_t lost_told_ = 0;
  bool more_ = false;
  LineCounters counters_;
};

}  // namespace dipper::hal
