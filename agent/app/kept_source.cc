// Implementation of kept_source.h.
#include "agent/app/kept_source.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/app/model_unit.h"

namespace dipper::app {

using base::Status;

namespace {

// A reading that failed is made again after that, then after twice that, up to a second: one that fails at
// once must not keep the processor busy.
constexpr int64_t kFirstPauseNs = 10'000'000;
constexpr int64_t kLongestPauseNs = 1'000'000'000;

}  // namespace

void KeptSource::Start(uint64_t first_row, int watch) {
  DIPPER_CHECK(!started_);
  started_ = true;
  first_row_ = first_row;
  watch_ = watch;
  TryOpen(clock_.MonotonicNs());
}

void KeptSource::TryOpen(int64_t now_ns) {
  std::string message;
  if (Open(&message)) {
    retry_ns_ = kFirstRetryNs;
    // One that had stopped answering has to answer first.
    if (pause_ns_ == 0) OnAnswer();
    silent_since_ns_ = now_ns;
    return;
  }
  Close();
  if (trouble_ != message) Say(message + "; tried again at least once a minute, the agent goes on without");
  trouble_ = std::move(message);
  not_before_ns_ = now_ns + retry_ns_;
  retry_ns_ = std::min(retry_ns_ * 2, kLongestRetryNs);
}

bool KeptSource::Open(std::string* message) {
  if (config_.kind == "csv_replay") return OpenCsv(message);
  if (config_.kind == "iio") return OpenIio(message);
  return OpenLines(message);
}

bool KeptSource::OpenCsv(std::string* message) {
  auto& csv = kind_.emplace<hal::CsvReplay>(clock_, config_.rate_hz);
  open_ = &csv;
  switch (csv.Open(config_.path.c_str(), std::max(first_row_, next_sequence_))) {
    case Status::kOk:
      return true;
    case Status::kNotFound:
      *message = "source.path: there is no file " + config_.path;
      return false;
    case Status::kDataLoss:
      *message = "source.path: " + config_.path + " is empty: a header line comes first, then the samples";
      return false;
    case Status::kResourceExhausted:
      *message = "source.path: the first line of " + config_.path + " is longer than " +
                 std::to_string(hal::CsvReplay::kMaxLineBytes) + " bytes; is it a CSV file with a header?";
      return false;
    default:
      *message = "source.path: cannot read " + config_.path + ": " + std::strerror(errno);
      return false;
  }
}

bool KeptSource::OpenLines(std::string* message) {
  auto& lines = kind_.emplace<hal::LineSource>(clock_);
  open_ = &lines;
  const bool is_pipe = config_.kind == "stdin";
  const Status status =
      is_pipe ? lines.OpenPipe(STDIN_FILENO, STDOUT_FILENO) : lines.OpenSocket(config_.path, config_.mode);
  if (Ok(status)) {
    epoll_event event{};
    event.events = EPOLLIN;
    // Without it the source is looked at when the loop turns for another reason: late, and nothing is lost.
    if (watch_ >= 0) (void)::epoll_ctl(watch_, EPOLL_CTL_ADD, lines.event_fd(), &event);
    return true;
  }
  if (is_pipe) {
    *message =
        std::string("source.kind stdin: standard input or output cannot be used: ") + std::strerror(errno);
  } else if (status == Status::kAlreadyExists) {
    *message = "source.path: another process serves " + config_.path + "; is a dipper-agent running already?";
  } else if (status == Status::kInvalidArgument) {  // one that is too long is no configuration
    *message =
        "source.path: a file that is no socket lies at " + config_.path + "; move it or choose another path";
  } else {
    *message = "source.path: cannot make the socket " + config_.path + ": " + std::strerror(errno) +
               "; does its folder exist, and may the agent write there?";
  }
  return false;
}

bool KeptSource::OpenIio(std::string* message) {
  auto& iio = kind_.emplace<hal::IioSource>(clock_);
  open_ = &iio;
  sequence_base_ = next_sequence_;
  return iio.Open({.device = config_.device,
                   .channels = config_.channels,
                   .rate_hz = config_.rate_hz,
                   .buffer_samples = static_cast<uint32_t>(config_.buffer_samples)},
                  message);
}

std::string KeptSource::Name() const {
  return "source " + config_.kind + " " + (config_.path.empty() ? config_.device : config_.path);
}

void KeptSource::Close() {
  closed_totals_ = totals();
  open_ = nullptr;
  kind_.emplace<std::monostate>();
}

/// A reading failed. One that fails now and then is a missing sample; one that fails for long is told, and
/// the source opened anew: a sensor that was plugged in again has another device behind its name.
void KeptSource::OnSilence(int64_t now_ns) {
  if (pause_ns_ == 0) silent_since_ns_ = now_ns;
  pause_ns_ = pause_ns_ == 0 ? kFirstPauseNs : std::min(pause_ns_ * 2, kLongestPauseNs);
  not_before_ns_ = now_ns + pause_ns_;
  if (now_ns - silent_since_ns_ < kSilenceNs) return;
  if (trouble_.empty()) {
    trouble_ = Name() + " does not answer: every reading fails";
    Say(trouble_ + "; it is opened anew until it does, the agent goes on without");
  }
  Close();
  not_before_ns_ = now_ns + retry_ns_;
}

void KeptSource::OnAnswer() {
  pause_ns_ = 0;
  if (trouble_.empty()) return;
  trouble_.clear();
  Say(Name() + " is there now");
}

Status KeptSource::Poll(hal::Record* record) {
  *record = hal::Record{};
  // A source that answers has its own look at the clock; this one would be a second for every record.
  if (open_ == nullptr || pause_ns_ != 0) {
    const int64_t now_ns = clock_.MonotonicNs();
    if (!started_ || now_ns < not_before_ns_) return Status::kUnavailable;
    if (open_ == nullptr) TryOpen(now_ns);
    if (open_ == nullptr) return Status::kUnavailable;
  }
  const Status status = open_->Poll(record);
  if (status == Status::kUnavailable) OnSilence(clock_.MonotonicNs());
  const bool given = Ok(status) || status == Status::kDataLoss;
  if (!given || record->kind == hal::RecordKind::kHeader) return status;
  record->sequence += sequence_base_;
  next_sequence_ = std::max(next_sequence_, record->sequence + 1);
  if (pause_ns_ != 0) OnAnswer();
  return status;
}

int64_t KeptSource::NextDueNs() {
  if (!started_) return 0;
  if (open_ == nullptr) return not_before_ns_;
  const int64_t next_ns = open_->NextDueNs();
  return next_ns == 0 || pause_ns_ == 0 ? next_ns : std::max(next_ns, not_before_ns_);
}

void KeptSource::Answer(uint32_t origin, std::string_view line) {
  if (open_ != nullptr) open_->Answer(origin, line);
}

hal::SourceTotals KeptSource::totals() const {
  hal::SourceTotals sum = closed_totals_;
  if (open_ != nullptr) sum += open_->totals();
  return sum;
}

}  // namespace dipper::app
