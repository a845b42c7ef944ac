// IioSource: channels of a Linux industrial I/O device (sensors, converters) as samples, by way of libiio.
// The library is loaded when a source is opened, so a device that uses none carries none. Not thread-safe.
// Heap: libiio's own, also while polling.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "hal/api/clock.h"
#include "hal/api/sample_source.h"

struct iio_buffer;
struct iio_channel;
struct iio_context;
struct iio_device;

namespace dipper::hal {

struct IioConfig {
  /// Its name, label or id ("iio:device0").
  std::string device{};
  /// Ids ("temp", "accel_x"), in the order of the columns; empty: all inputs.
  std::vector<std::string> channels{};
  /// Readings a second, above 0; of a buffer: what its trigger gives.
  double rate_hz = 1;
  /// Above 0: the kernel samples by the device's trigger and hands over this many at a time, which is what
  /// rates above some 100 Hz need. The trigger and its rate are set up outside.
  uint32_t buffer_samples = 0;
};

struct IioCounters {
  uint64_t failed_readings = 0;  ///< Single channels: missing in their sample.
  uint64_t failed_samples = 0;   ///< Every channel failed.
  uint64_t failed_buffers = 0;
};

/// Columns are channel ids; values are (raw + offset) * scale, or the processed input, in the units of the
/// kernel's ABI (Documentation/ABI/testing/sysfs-bus-iio: temperatures in thousandths of a degree Celsius,
/// voltages in millivolts, accelerations in m/s^2). A reading that fails is missing. Without a buffer a Poll
/// takes as long as the driver takes for the channels, at most half a second and one channel more.
class IioSource final : public SampleSource {
 public:
  static constexpr size_t kMaxChannels = 64;

  explicit IioSource(Clock& clock) : clock_(clock) {}
  ~IioSource();
  IioSource(const IioSource&) = delete;
  IioSource& operator=(const IioSource&) = delete;

  /// False: `*message` says what, why and what to do.
  bool Open(const IioConfig& config, std::string* message);

  /// First a header, then kFloats records. kUnavailable: the device does not answer; it is asked again when
  /// the next reading is due.
  base::Status Poll(Record* record) override;
  int64_t NextDueNs() override { return next_due_ns_; }
  const IioCounters& counters() const { return counters_; }
  SourceTotals totals() const override {
    return {.failed = counters_.failed_readings + counters_.failed_buffers};
  }

 private:
  struct Library;
  struct Channel {
    iio_channel* channel = nullptr;
    std::string id;
    bool processed = false;  ///< Has an `input` that needs no scale.
    double scale = 1, offset = 0;
  };

  bool Choose(const IioConfig& config, std::string* message);
  bool OpenBuffer(const IioConfig& config, std::string* message);
  base::Status ReadChannels();
  base::Status ReadBuffer();

  Clock& clock_;
  Library* lib_ = nullptr;
  iio_context* context_ = nullptr;
  iio_device* device_ = nullptr;
  iio_buffer* buffer_ = nullptr;
  std::vector<Channel> channels_;
  std::string header_;
  bool header_given_ = false;
  int64_t period_ns_ = 0, next_due_ns_ = 0;
  uint64_t next_sequence_ = 0;
  size_t row_ = 0, rows_ = 0;  ///< Of the buffer's samples.
  std::array<float, kMaxChannels> values_{};
  IioCounters counters_;
};

}  // namespace dipper::hal
