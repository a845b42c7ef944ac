// Implementation of iio_source.h over libiio 0.x, whose functions are found by name at run time.
#include "hal/linux/iio_source.h"

#include <dlfcn.h>
#include <iio.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

namespace dipper::hal {
namespace {

using base::Status;

constexpr const char* kLibraryName = "libiio.so.0";

// A bus that is sick makes every channel wait for its timeout: what is left of a sample is missing then,
// because everything else waits for it too.
constexpr int64_t kLongestReadingNs = 500'000'000;

std::string_view Text(const char* text) { return text == nullptr ? std::string_view() : text; }

/// A raw sample, already shifted and sign-extended into 1, 2, 4 or 8 bytes of this machine.
double FromRaw(const uint8_t* bytes, const iio_data_format& format) {
  switch (format.length) {
    case 8:
      return format.is_signed ? base::Load<int8_t>(bytes) : base::Load<uint8_t>(bytes);
    case 16:
      return format.is_signed ? base::Load<int16_t>(bytes) : base::Load<uint16_t>(bytes);
    case 32:
      return format.is_signed ? static_cast<double>(base::Load<int32_t>(bytes))
                              : static_cast<double>(base::Load<uint32_t>(bytes));
    case 64:
      return format.is_signed ? static_cast<double>(base::Load<int64_t>(bytes))
                              : static_cast<double>(base::Load<uint64_t>(bytes));
    default:
      return std::nan("");
  }
}

}  // namespace

/// libiio's functions, each with the type of its declaration.
struct IioSource::Library {
#define DIPPER_IIO_FUNCTIONS(X)    \
  X(iio_create_local_context)      \
  X(iio_context_destroy)           \
  X(iio_context_get_devices_count) \
  X(iio_context_get_device)        \
  X(iio_device_get_id)             \
  X(iio_device_get_name)           \
  X(iio_device_get_label)          \
  X(iio_device_is_trigger)         \
  X(iio_device_get_channels_count) \
  X(iio_device_get_channel)        \
  X(iio_channel_get_id)            \
  X(iio_channel_is_output)         \
  X(iio_channel_is_scan_element)   \
  X(iio_channel_get_type)          \
  X(iio_channel_attr_read_double)  \
  X(iio_channel_find_attr)         \
  X(iio_channel_enable)            \
  X(iio_channel_get_data_format)   \
  X(iio_channel_convert)           \
  X(iio_device_create_buffer)      \
  X(iio_buffer_destroy)            \
  X(iio_buffer_set_blocking_mode)  \
  X(iio_buffer_refill)             \
  X(iio_buffer_first)              \
  X(iio_buffer_step)
#define X(name) decltype(&::name) name = nullptr;
  DIPPER_IIO_FUNCTIONS(X)
#undef X

  /// Null: not installed, or too old. The library stays loaded for good: it starts threads of its own.
  static Library* Get() {
    static Library loaded;
    static const bool good = loaded.Load();
    return good ? &loaded : nullptr;
  }

  bool Load() {
    void* const handle = ::dlopen(kLibraryName, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) return false;
    bool all = true;
#define X(name)                                                       \
  name = reinterpret_cast<decltype(&::name)>(::dlsym(handle, #name)); \
  all = all && name != nullptr;
    DIPPER_IIO_FUNCTIONS(X)
#undef X
#undef DIPPER_IIO_FUNCTIONS
    return all;
  }
};

IioSource::~IioSource() {
  if (buffer_ != nullptr) lib_->iio_buffer_destroy(buffer_);
  if (context_ != nullptr) lib_->iio_context_destroy(context_);
}

bool IioSource::Open(const IioConfig& config, std::string* message) {
  DIPPER_CHECK(context_ == nullptr && config.rate_hz > 0);
  lib_ = Library::Get();
  if (lib_ == nullptr) {
    *message =
        std::string("source kind iio: ") + kLibraryName + " is not installed; on Debian: apt install libiio0";
    return false;
  }
  context_ = lib_->iio_create_local_context();
  if (context_ == nullptr) {
    *message = std::string("source kind iio: no industrial I/O devices can be read (") +
               std::strerror(errno) + "); look at /sys/bus/iio/devices: is the sensor's driver loaded?";
    return false;
  }
  std::string known;
  for (unsigned i = 0; i < lib_->iio_context_get_devices_count(context_); ++i) {
    iio_device* const device = lib_->iio_context_get_device(context_, i);
    if (lib_->iio_device_is_trigger(device)) continue;
    const std::string_view id = Text(lib_->iio_device_get_id(device));
    const std::string_view name = Text(lib_->iio_device_get_name(device));
    known += (known.empty() ? "" : ", ") + std::string(name.empty() ? id : name);
    if (config.device == id || config.device == name ||
        config.device == Text(lib_->iio_device_get_label(device))) {
      if (device_ != nullptr) {
        *message = "source kind iio: two devices are called " + config.device +
                   "; give the id instead (iio:device0, as in /sys/bus/iio/devices)";
        return false;
      }
      device_ = device;
    }
  }
  if (device_ == nullptr) {
    *message = "source kind iio: there is no device " + config.device +
               "; there is: " + (known.empty() ? "none" : known);
    return false;
  }
  // A buffer is looked at twice in the time that fills it.
  const double seconds = config.buffer_samples == 0 ? 1 : config.buffer_samples / 2.0;
  period_ns_ = static_cast<int64_t>(1e9 * seconds / config.rate_hz);
  return Choose(config, message) && (config.buffer_samples == 0 || OpenBuffer(config, message));
}

bool IioSource::Choose(const IioConfig& config, std::string* message) {
  const bool buffered = config.buffer_samples > 0;
  std::vector<Channel> found;
  for (unsigned i = 0; i < lib_->iio_device_get_channels_count(device_); ++i) {
    Channel channel;
    channel.channel = lib_->iio_device_get_channel(device_, i);
    channel.id = Text(lib_->iio_channel_get_id(channel.channel));
    channel.processed = lib_->iio_channel_find_attr(channel.channel, "input") != nullptr;
    const bool readable = channel.processed || lib_->iio_channel_find_attr(channel.channel, "raw") != nullptr;
    const bool usable = buffered ? lib_->iio_channel_is_scan_element(channel.channel) : readable;
    if (!usable || lib_->iio_channel_is_output(channel.channel) ||
        lib_->iio_channel_get_type(channel.channel) == IIO_TIMESTAMP)
      continue;
    // Read once: changing a scale while samples come would change their meaning.
    if (lib_->iio_channel_attr_read_double(channel.channel, "scale", &channel.scale) < 0) channel.scale = 1;
    if (lib_->iio_channel_attr_read_double(channel.channel, "offset", &channel.offset) < 0)
      channel.offset = 0;
    found.push_back(std::move(channel));
  }
  // libiio gives them in the order of a folder, which differs from machine to machine.
  std::sort(found.begin(), found.end(), [](const Channel& a, const Channel& b) { return a.id < b.id; });
  std::string known;
  for (const Channel& channel : found) known += (known.empty() ? "" : ", ") + channel.id;
  if (config.channels.empty()) channels_ = found;
  for (const std::string& wanted : config.channels) {
    const auto at =
        std::find_if(found.begin(), found.end(), [&](const Channel& c) { return c.id == wanted; });
    if (at == found.end()) {
      *message = "source kind iio: " + config.device + " has no input channel " + wanted +
                 "; it has: " + (known.empty() ? "none" : known);
      return false;
    }
    channels_.push_back(*at);
  }
  if (channels_.empty() || channels_.size() > kMaxChannels) {
    *message = "source kind iio: " + config.device + " has " + std::to_string(channels_.size()) +
               " input channels; 1 to " + std::to_string(kMaxChannels) +
               " can be read, name them in channels";
    return false;
  }
  for (const Channel& channel : channels_) header_ += (header_.empty() ? "" : ",") + channel.id;
  return true;
}

bool IioSource::OpenBuffer(const IioConfig& config, std::string* message) {
  for (Channel& channel : channels_) lib_->iio_channel_enable(channel.channel);
  buffer_ = lib_->iio_device_create_buffer(device_, config.buffer_samples, false);
  if (buffer_ != nullptr && lib_->iio_buffer_set_blocking_mode(buffer_, false) == 0) return true;
  *message =
      "source kind iio: " + config.device + " gives no buffer (" + std::strerror(errno) +
      "); set its trigger first (current_trigger in /sys/bus/iio/devices), or leave buffer_samples out";
  return false;
}

Status IioSource::ReadChannels() {
  size_t failed = 0;
  const int64_t until_ns = clock_.MonotonicNs() + kLongestReadingNs;
  for (size_t i = 0; i < channels_.size(); ++i) {
    const Channel& channel = channels_[i];
    double value = 0;
    if (i > 0 && clock_.MonotonicNs() > until_ns) {
      values_[i] = kMissing;
      ++failed;
      continue;
    }
    const char* const attribute = channel.processed ? "input" : "raw";
    if (lib_->iio_channel_attr_read_double(channel.channel, attribute, &value) < 0) {
      values_[i] = kMissing;
      ++failed;
      continue;
    }
    if (!channel.processed) value = (value + channel.offset) * channel.scale;
    values_[i] = static_cast<float>(value);
  }
  counters_.failed_readings += failed;
  if (failed < channels_.size()) return Status::kOk;
  ++counters_.failed_samples;
  return Status::kUnavailable;
}

Status IioSource::ReadBuffer() {
  if (row_ == rows_) {
    const ssize_t bytes = lib_->iio_buffer_refill(buffer_);
    const ptrdiff_t step = lib_->iio_buffer_step(buffer_);
    row_ = rows_ = 0;
    if (bytes == -EAGAIN) return Status::kNotFound;
    if (bytes < 0 || step <= 0) {
      ++counters_.failed_buffers;
      return Status::kUnavailable;
    }
    rows_ = static_cast<size_t>(bytes / step);
    if (rows_ == 0) return Status::kNotFound;
  }
  const ptrdiff_t offset = lib_->iio_buffer_step(buffer_) * static_cast<ptrdiff_t>(row_++);
  for (size_t i = 0; i < channels_.size(); ++i) {
    const Channel& channel = channels_[i];
    const auto* first = static_cast<const uint8_t*>(lib_->iio_buffer_first(buffer_, channel.channel));
    std::array<uint8_t, 8> raw{};
    lib_->iio_channel_convert(channel.channel, raw.data(), first + offset);
    const double value = FromRaw(raw.data(), *lib_->iio_channel_get_data_format(channel.channel));
    values_[i] = static_cast<float>((value + channel.offset) * channel.scale);
  }
  return Status::kOk;
}

Status IioSource::Poll(Record* record) {
  *record = Record{};
  if (device_ == nullptr) return Status::kOutOfRange;
  record->time_ns = clock_.WallNs();
  if (!header_given_) {
    header_given_ = true;
    record->kind = RecordKind::kHeader;
    record->payload = base::AsBytes(header_);
    return Status::kOk;
  }
  const int64_t now_ns = clock_.MonotonicNs();
  const bool mid_buffer = buffer_ != nullptr && row_ < rows_;
  if (!mid_buffer && now_ns < next_due_ns_) return Status::kNotFound;
  // A reading that comes late is not made up for. A buffer is looked at when its first sample can be there.
  if (!mid_buffer) {
    if (next_due_ns_ == 0) next_due_ns_ = now_ns;
    next_due_ns_ = std::max(next_due_ns_ + period_ns_, now_ns + period_ns_ / 2);
  }
  const Status status = buffer_ != nullptr ? ReadBuffer() : ReadChannels();
  if (status == Status::kNotFound) return status;
  record->sequence = next_sequence_++;
  if (!Ok(status)) return status;
  record->encoding = RecordEncoding::kFloats;
  record->payload = {reinterpret_cast<const uint8_t*>(values_.data()), channels_.size() * sizeof(float)};
  return Status::kOk;
}

}  // namespace dipper::hal
