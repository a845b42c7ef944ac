// Implementation of line_source.h: level-triggered epoll over at most nine descriptors.
#include "hal/linux/line_source.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/base/text.h"
#include "hal/linux/unix_listener.h"

namespace dipper::hal {
namespace {

using base::Status;

constexpr std::string_view kLongLine = "{\"error\":\"line_too_long\"}";
constexpr uint64_t kListenerTag = ~uint64_t{0};
// A writer that has closed its side keeps its place for so long while answers wait for it.
constexpr int64_t kAnswerGraceNs = 5'000'000'000;
// Looks at the descriptors in one Poll: accept, read, and the rest of a line of up to 64 KiB to skip.
// Bounded, so that a writer of one endless line does not hold up the loop.
constexpr int kRounds = 6;

bool SetNonBlocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

}  // namespace

LineSource::~LineSource() {
  for (Client& client : clients_) Close(&client);
  if (listener_ >= 0) {
    ::close(listener_);
    ::unlink(path_.c_str());
  }
  if (epoll_ >= 0) ::close(epoll_);
}

Status LineSource::OpenEvents() {
  DIPPER_CHECK(epoll_ < 0);
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  return epoll_ < 0 ? Status::kUnavailable : Status::kOk;
}

bool LineSource::Watch(int fd, uint64_t tag, uint32_t what) {
  epoll_event event{};
  event.events = what;
  event.data.u64 = tag;
  return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0 ||
         (errno == EEXIST && ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0);
}

Status LineSource::OpenPipe(int in, int out) {
  DIPPER_RETURN_IF_ERROR(OpenEvents());
  clients_.resize(1);
  is_pipe_ = true;
  Client& client = clients_[0];
  if (!SetNonBlocking(in) || (out >= 0 && !SetNonBlocking(out))) return Status::kUnavailable;
  // A plain file is always ready, and epoll refuses it: then Poll simply reads.
  if (!Watch(in, 0, EPOLLIN) && errno != EPERM) return Status::kUnavailable;
  client.in = in;
  client.out = out;
  client.origin = ++last_origin_;
  ++counters_.clients;
  return Status::kOk;
}

Status LineSource::OpenSocket(const std::string& path, uint32_t mode) {
  DIPPER_RETURN_IF_ERROR(OpenEvents());
  clients_.resize(kMaxClients);
  DIPPER_RETURN_IF_ERROR(ListenUnix(path, mode, static_cast<int>(kMaxClients), &listener_));
  path_ = path;
  return Watch(listener_, kListenerTag, EPOLLIN) ? Status::kOk : Status::kUnavailable;
}

void LineSource::Accept() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    size_t place = 0;
    while (place < clients_.size() && clients_[place].in >= 0) ++place;
    if (place == clients_.size() || !Watch(fd, place, EPOLLIN)) {
      ++counters_.refused_clients;
      ::close(fd);
      continue;
    }
    Client& client = clients_[place];
    client.in = client.out = fd;
    client.owned = true;
    client.ended = client.skipping = client.header_ok = false;
    client.speech = Speech::kUnknown;
    client.begin = client.end = client.header_bytes = client.out_bytes = 0;
    client.ended_ns = 0;
    client.origin = ++last_origin_;
    ++counters_.clients;
  }
}

void LineSource::Close(Client* client) {
  if (client->in < 0) return;
  (void)::epoll_ctl(epoll_, EPOLL_CTL_DEL, client->in, nullptr);
  if (client->owned) ::close(client->in);
  client->in = client->out = -1;
}

/// Fills what room there is. A buffer that is full without a line end holds a line that is too long.
void LineSource::Read(Client* client) {
  if (client->begin > 0) {
    std::memmove(client->text.data(), client->text.data() + client->begin, client->end - client->begin);
    client->end -= client->begin;
    client->begin = 0;
  }
  while (!client->ended && client->end < client->text.size()) {
    const ssize_t got =
        ::read(client->in, client->text.data() + client->end, client->text.size() - client->end);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got <= 0) {
      client->ended = true;
      Rewatch(client);
      return;
    }
    client->end += static_cast<size_t>(got);
  }
}

void LineSource::Flush(Client* client) {
  size_t done = 0;
  while (done < client->out_bytes) {
    const uint8_t* from = client->waiting.data() + done;
    const size_t bytes = client->out_bytes - done;
    const ssize_t sent = client->owned ? ::send(client->out, from, bytes, MSG_NOSIGNAL | MSG_DONTWAIT)
                                       : ::write(client->out, from, bytes);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
      done = client->out_bytes;  // nobody reads any more
    if (sent <= 0) break;
    done += static_cast<size_t>(sent);
  }
  std::memmove(client->waiting.data(), client->waiting.data() + done, client->out_bytes - done);
  client->out_bytes -= done;
  Rewatch(client);
}

/// What this writer's descriptor is waited for; its end would be readable for ever.
void LineSource::Rewatch(Client* client) {
  if (!client->owned) {
    if (client->ended) (void)::epoll_ctl(epoll_, EPOLL_CTL_DEL, client->in, nullptr);
    return;
  }
  uint32_t what = client->ended ? 0U : uint32_t{EPOLLIN};
  if (client->out_bytes > 0) what |= EPOLLOUT;
  (void)Watch(client->in, static_cast<uint64_t>(client - clients_.data()), what);
}

void LineSource::Answer(uint32_t origin, std::string_view line) {
  for (Client& client : clients_) {
    if (client.in < 0 || client.out < 0 || client.origin != origin) continue;
    if (client.waiting.size() - client.out_bytes < line.size() + 1) Flush(&client);
    if (client.waiting.size() - client.out_bytes < line.size() + 1) {
      ++counters_.dropped_answers;
      return;
    }
    std::memcpy(client.waiting.data() + client.out_bytes, line.data(), line.size());
    client.waiting[client.out_bytes + line.size()] = '\n';
    client.out_bytes += line.size() + 1;
    Flush(&client);
    return;
  }
}

/// The next line of what has been read, without its end. False: there is no whole one.
bool LineSource::TakeLine(Client* client, base::ByteView* line) {
  for (;;) {
    const uint8_t* start = client->text.data() + client->begin;
    const size_t left = client->end - client->begin;
    const auto* newline = left == 0 ? nullptr : static_cast<const uint8_t*>(std::memchr(start, '\n', left));
    if (newline == nullptr && !(client->ended && left > 0)) {
      if (left < client->text.size()) return false;
      client->skipping = true;
      client->begin = client->end = 0;
      return false;
    }
    size_t length = newline == nullptr ? left : static_cast<size_t>(newline - start);
    client->begin += length + (newline == nullptr ? 0 : 1);
    if (client->skipping) {  // the rest of a line that was too long
      client->skipping = false;
      ++counters_.long_lines;
      Answer(client->origin, kLongLine);  // who waits for an answer to each line gets one
      continue;
    }
    if (length > 0 && start[length - 1] == '\r') --length;
    if (length == 0) continue;  // blank lines are nothing
    *line = {start, length};
    return true;
  }
}

/// One record of this writer. A header of separated values is given again whenever another writer's came
/// between.
bool LineSource::TakeRecord(Client* client, Record* record) {
  base::ByteView line;
  for (;;) {
    const size_t before = client->begin;
    if (!TakeLine(client, &line)) return false;
    if (client->speech == Speech::kUnknown) {
      const char first = base::FirstByte(base::AsText(line));
      if (first == 0) continue;
      // A list is no record, but who writes one has no header in mind: it is answered as JSON.
      client->speech = first == '{' || first == '[' ? Speech::kJson : Speech::kCsv;
      if (client->speech == Speech::kCsv) {
        client->header_ok = line.size() <= client->header.size();
        if (!client->header_ok) {
          ++counters_.long_lines;
          continue;
        }
        std::memcpy(client->header.data(), line.data(), line.size());
        client->header_bytes = line.size();
        continue;
      }
    }
    record->origin = client->origin;
    record->time_ns = clock_.WallNs();
    if (client->speech == Speech::kJson) {
      record->encoding = RecordEncoding::kJson;
    } else if (!client->header_ok) {
      ++counters_.headerless_lines;
      continue;
    } else if (header_of_ != client->origin) {
      client->begin = before;  // its line comes next
      header_of_ = client->origin;
      record->kind = RecordKind::kHeader;
      record->payload = {client->header.data(), client->header_bytes};
      return true;
    }
    record->sequence = next_sequence_++;
    record->payload = line;
    return true;
  }
}

/// Accepts, reads and flushes whatever is ready. False: nothing was.
bool LineSource::Events() {
  std::array<epoll_event, kMaxClients + 1> events;
  const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    if (events[static_cast<size_t>(i)].data.u64 == kListenerTag) {
      Accept();
      continue;
    }
    Client& client = clients_[events[static_cast<size_t>(i)].data.u64];
    if (client.in < 0) continue;
    if ((events[static_cast<size_t>(i)].events & EPOLLOUT) != 0) Flush(&client);
    Read(&client);
  }
  if (count <= 0 && is_pipe_ && clients_[0].in >= 0 && !clients_[0].ended) {
    const size_t before = clients_[0].end - clients_[0].begin;
    Read(&clients_[0]);  // a plain file
    return clients_[0].ended || clients_[0].end - clients_[0].begin > before;
  }
  return count > 0;
}

/// The writer has nothing more to say: it goes when it has what it still waits for, or after a grace.
bool LineSource::Finished(Client* client) {
  if (!client->ended) return false;
  if (client->skipping) {
    client->skipping = false;
    ++counters_.long_lines;
  }
  const int64_t now_ns = clock_.MonotonicNs();
  if (client->ended_ns == 0) client->ended_ns = now_ns;
  return client->out_bytes == 0 || now_ns - client->ended_ns > kAnswerGraceNs;
}

Status LineSource::Poll(Record* record) {
  *record = Record{};
  if (epoll_ < 0) return Status::kOutOfRange;
  const Status status = PollOnce(record);
  more_ = status == Status::kOk || status == Status::kDataLoss;
  return status;
}

Status LineSource::PollOnce(Record* record) {
  for (int round = 0; round < kRounds; ++round) {
    if (lost_told_ < counters_.long_lines + counters_.headerless_lines) {
      ++lost_told_;
      return Status::kDataLoss;
    }
    const size_t first = turn_;
    for (size_t i = 0; i < clients_.size(); ++i) {
      Client& client = clients_[(first + i) % clients_.size()];
      if (client.in < 0) continue;
      if (TakeRecord(&client, record)) {
        // After a header comes its line; otherwise it is the next writer's turn.
        turn_ = (first + i + (record->kind == RecordKind::kHeader ? 0 : 1)) % clients_.size();
        return Status::kOk;
      }
      if (Finished(&client)) {
        if (is_pipe_) return Status::kOutOfRange;
        Close(&client);
      }
    }
    if (!Events()) break;
  }
  return Status::kNotFound;
}

}  // namespace dipper::hal
