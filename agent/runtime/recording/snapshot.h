// SnapshotSender: what a signed `snapshot` command fetches from one model, in blocks over MQTT: the learned
// image as it is now, or the flight recorder's file. Only where the device's own configuration allows it, and
// each time an event says so. Blocks and topics: docs/reference/recording.md. Not thread-safe. Its memory is
// taken at construction; nothing is allocated when it sends, but by mbedTLS for encrypted models.
#pragma once

#include <array>
#include <memory>

#include "agent/base/sha256.h"
#include "agent/runtime/recording/recorder.h"
#include "agent/runtime/reporter.h"
#include "agent/telemetry/outbox.h"

namespace dipper::runtime {

inline constexpr uint32_t kSnapshotBlockBytes = 8 * 1024;  ///< Of the file, in every block but the last.
inline constexpr uint32_t kSnapshotHeadBytes = 32;         ///< Before them in a message.
inline constexpr uint64_t kMaxSnapshotBytes = uint64_t{1} << 31;

/// The head of a block's message.
struct SnapshotBlock {
  uint64_t total_bytes = 0;  ///< Of the file.
  uint32_t index = 0;
  base::ByteView bytes;
};
/// `.../m/<model>/snapshot/<digest of the file>/<block>`. Empty: an id is not acceptable.
telemetry::Topic SnapshotTopic(std::string_view fleet, std::string_view device, std::string_view model,
                               const base::Digest& file, uint32_t block);
/// Every block of every file of a model.
telemetry::Topic SnapshotFilter(std::string_view fleet, std::string_view device, std::string_view model);
/// kDataLoss: not such a message, or damaged.
base::Result<SnapshotBlock> DecodeSnapshotBlock(base::ByteView message);

struct SnapshotConfig {
  std::string_view fleet, device, model, agent_version;  ///< Outlive the sender.
  uint64_t session = 0;
  uint8_t place = 0;
  bool allow_image = false, allow_recording = false;
  uint64_t bytes_per_s = 0;
  uint64_t max_image_bytes = 0;
};

class SnapshotSender {
 public:
  /// @param recorder  Null: nothing is recorded. All outlive the sender.
  SnapshotSender(const SnapshotConfig& config, hal::Clock& clock, telemetry::Outbox& outbox,
                 Reporter& reporter, Recorder* recorder);

  /// @param what  "image" (or nothing), "recording".
  /// @returns None: Poll reads it, for its length and digest, and then sends it. NotAllowed, Busy, NoModel
  ///   (or nothing is recorded), BadFormat (another word), StorageError.
  schema::Reason Begin(std::string_view what, update::Updater& updater);
  /// Every event of the wire.
  void OnEvent(const telemetry::TransportEvent& event);
  /// Reads at most kSliceBytes (or sends blocks, as the caps allow), so that learning goes on meanwhile.
  void Poll(int64_t now_ns);
  /// One is being read or sent.
  bool busy() const { return stage_ != Stage::kIdle; }
  /// Monotonic time of the next slice to be read; 0: none is.
  int64_t NextDueNs() const { return busy() && stage_ != Stage::kSending ? next_slice_ns_ : 0; }

  static constexpr uint32_t kSliceBytes = 64 * 1024;    ///< Of a file that is not being sent yet, a turn.
  static constexpr int64_t kSlicePauseNs = 10'000'000;  ///< Between two of them, however often it is polled.

 private:
  static constexpr size_t kWindow = 2;  ///< Blocks that wait for their PUBACK.
  /// A recording is measured, then every file is hashed, since its digest is in its topics.
  enum class Stage : uint8_t { kIdle, kMeasuring, kHashing, kSending };
  struct Waiting {
    bool used = false;
    uint32_t token = 0, block = 0;
  };
  schema::Reason TakeImage(update::Updater& updater);
  base::Status Read(uint64_t offset, base::MutableBytes to);
  void Prepare();
  void HashSlice();
  bool SendBlock();
  void End(std::string_view how, bool whole = false);
  void Tell(std::string_view how);

  SnapshotConfig config_;
  hal::Clock& clock_;
  telemetry::Outbox& outbox_;
  Reporter& reporter_;
  Recorder* recorder_;
  uint64_t memory_bytes_ = 0;
  std::unique_ptr<uint8_t[]> memory_;  ///< Of the file with the image; null: not allowed.
  std::array<uint8_t, kSnapshotHeadBytes + kSnapshotBlockBytes> message_{};
  std::array<Waiting, kWindow> waiting_{};
  Stage stage_ = Stage::kIdle;
  bool of_recorder_ = false;
  bool told_waiting_ = false;  ///< That the day has no bytes for it now.
  uint64_t total_ = 0;
  uint32_t next_ = 0, acknowledged_ = 0;
  base::Digest package_, image_;  ///< Of an image; zero: a recording, which may be of several.
  base::Digest digest_;           ///< Zero: not known yet.
  base::Sha256 hash_;
  uint64_t hashed_ = 0;
  int64_t next_slice_ns_ = 0;
  double allowance_ = 0;
  int64_t last_poll_ns_ = 0;
};

}  // namespace dipper::runtime
