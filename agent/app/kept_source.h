// KeptSource: a file, socket, pipe or sensor as a source that may be away. What cannot be opened, or does not
// answer any more, is tried again for as long as the agent runs: models, telemetry and updates go on
// meanwhile, and a source that comes back is read again. Not thread-safe. Heap: when it opens.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "agent/app/config/config.h"
#include "hal/api/clock.h"
#include "hal/api/sample_source.h"
#include "hal/linux/csv_replay.h"
#include "hal/linux/iio_source.h"
#include "hal/linux/line_source.h"

namespace dipper::app {

class KeptSource final : public hal::SampleSource {
 public:
  /// Between two attempts to open it: the first wait, doubled up to the longest.
  static constexpr int64_t kFirstRetryNs = 1'000'000'000;
  static constexpr int64_t kLongestRetryNs = 60'000'000'000;
  /// So long without an answer it counts as away: closed, and opened anew.
  static constexpr int64_t kSilenceNs = 10'000'000'000;

  /// @param config  Of kind csv_replay, stdin, socket or iio; it outlives this.
  KeptSource(hal::Clock& clock, const SourceConfig& config) : clock_(clock), config_(config) {}

  /// Opens it, or begins to try; trouble() says which. Before this it gives nothing.
  /// @param first_row  A file gives that row first.
  /// @param watch      Descriptor of an epoll that is told of a source with events of its own; -1: none.
  void Start(uint64_t first_row, int watch);

  /// Also kUnavailable while it is away.
  base::Status Poll(hal::Record* record) override;
  int64_t NextDueNs() override;
  void Answer(uint32_t origin, std::string_view line) override;
  hal::SourceTotals totals() const override;
  std::string_view trouble() const override { return trouble_; }

 private:
  void TryOpen(int64_t now_ns);
  bool Open(std::string* message);
  bool OpenCsv(std::string* message);
  bool OpenLines(std::string* message);
  bool OpenIio(std::string* message);
  std::string Name() const;  ///< For messages.
  void Close();
  void OnSilence(int64_t now_ns);
  void OnAnswer();

  hal::Clock& clock_;
  const SourceConfig& config_;
  std::variant<std::monostate, hal::CsvReplay, hal::LineSource, hal::IioSource> kind_;
  hal::SampleSource* open_ = nullptr;  ///< What is in kind_, when it is open.
  bool started_ = false;
  uint64_t first_row_ = 0;
  int watch_ = -1;
  std::string trouble_;
  int64_t not_before_ns_ = 0;
  int64_t retry_ns_ = kFirstRetryNs;
  int64_t pause_ns_ = 0;  ///< Since the first failed reading; 0: it answers.
  int64_t silent_since_ns_ = 0;
  uint64_t next_sequence_ = 0;  ///< After the last record that was given.
  uint64_t sequence_base_ = 0;  ///< Of a source that counts from 0 each time it is opened.
  hal::SourceTotals closed_totals_;
};

}  // namespace dipper::app
