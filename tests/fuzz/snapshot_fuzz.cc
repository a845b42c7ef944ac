// Snapshots as they come over MQTT and as files: one block's message; blocks of a true file among repeated,
// changed and foreign ones; a snapshot with changes under right checksums, taken to build a package of.
#include <algorithm>
#include <string>
#include <vector>

#include "agent/base/sha256.h"
#include "agent/runtime/recording/snapshot.h"
#include "agent/store/page.h"
#include "tests/fuzz/recorded_file.h"
#include "tools/cli/snapshot_arrival.h"
#include "tools/cli/snapshot_file.h"
#include "tools/lab/desk_model.h"
#include "tools/lab/error.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header

constexpr uint32_t kBlockMagic = 0x424E5344;  // "DSNB"
constexpr size_t kSteps = 40;

void SealBlock(std::vector<uint8_t>* message) {
  if (message->size() >= store::kEnvelopeBytes) store::Seal(*message, kBlockMagic, 1);
}

void CheckBlock(const std::vector<uint8_t>& message) {
  const auto block = runtime::DecodeSnapshotBlock(message);
  if (!block.ok()) {
    DIPPER_CHECK(block.status() == base::Status::kDataLoss || block.status() == base::Status::kUnimplemented);
    return;
  }
  DIPPER_CHECK(!block->bytes.empty() && block->bytes.size() <= runtime::kSnapshotBlockBytes);
  DIPPER_CHECK(block->bytes.data() + block->bytes.size() == message.data() + message.size());
  const uint64_t begin = uint64_t{block->index} * runtime::kSnapshotBlockBytes;
  DIPPER_CHECK(begin + block->bytes.size() <= block->total_bytes);
  for (size_t length = 0; length < std::min<size_t>(message.size(), 64); ++length)
    DIPPER_CHECK(!runtime::DecodeSnapshotBlock(base::ByteView(message).first(length)).ok());
}

std::vector<uint8_t> BlockMessage(base::ByteView file, uint32_t index, uint64_t total) {
  const size_t begin = size_t{index} * runtime::kSnapshotBlockBytes;
  const base::ByteView bytes =
      file.subspan(begin, std::min<size_t>(runtime::kSnapshotBlockBytes, file.size() - begin));
  std::vector<uint8_t> message(runtime::kSnapshotHeadBytes);
  message.insert(message.end(), bytes.begin(), bytes.end());
  base::Store(message.data() + store::kEnvelopeBytes, total);
  base::Store(message.data() + store::kEnvelopeBytes + 8, index);
  SealBlock(&message);
  return message;
}

void Send(cli::SnapshotArrival* arrival, const base::Digest& digest, uint32_t index,
          const std::vector<uint8_t>& message) {
  const telemetry::Topic topic = runtime::SnapshotTopic("plant", "d1", "main", digest, index);
  telemetry::TransportEvent event;
  event.kind = telemetry::TransportEvent::Kind::kMessage;
  event.topic = topic.view();
  event.payload = message;
  arrival->OnMessage(event);
}

void Arrive(fuzz::Input& input) {
  const std::vector<uint8_t>& file = fuzz::GoodSnapshot();
  const base::Digest digest = base::Sha256Of(file);
  const auto count =
      static_cast<uint32_t>((file.size() + runtime::kSnapshotBlockBytes - 1) / runtime::kSnapshotBlockBytes);
  cli::SnapshotArrival arrival;
  for (size_t step = 0; step < kSteps && !input.empty(); ++step) {
    const uint8_t how = input.Get<uint8_t>();
    const uint32_t index = input.Below(count);
    std::vector<uint8_t> message = BlockMessage(file, index, file.size());
    base::Digest named = digest;
    if ((how & 1) != 0) {  // changed, and sealed again
      const size_t at = store::kEnvelopeBytes + input.Get<uint16_t>() % (message.size() - 16);
      input.Fill(base::MutableBytes(message).subspan(at, 1));
      SealBlock(&message);
    }
    if ((how & 2) != 0) named.bytes[0] = input.Get<uint8_t>();
    if ((how & 4) != 0) {
      message = BlockMessage(file, index, input.Get<uint32_t>());
    }
    Send(&arrival, named, index, message);
    std::string name;
    const std::vector<uint8_t> whole = arrival.Whole(&name);
    if (!whole.empty()) DIPPER_CHECK(base::ToHex(base::Sha256Of(whole)).view() == name);
  }
  // Whatever came before: the true blocks once more make the file.
  for (uint32_t i = 0; i < count; ++i) Send(&arrival, digest, i, BlockMessage(file, i, file.size()));
  std::string name;
  DIPPER_CHECK(!arrival.Whole(&name).empty());
}

void Take(const std::vector<uint8_t>& file) {
  try {
    const cli::SnapshotFile snapshot = cli::ParseSnapshot(file, "fuzzed", {});
    DIPPER_CHECK(!snapshot.encrypted && !snapshot.note.empty());
    lab::DeskModel desk(snapshot.spec);
    DIPPER_CHECK(desk.Attach(snapshot.image.image).AllFinite());
  } catch (const lab::Error& error) {
    DIPPER_CHECK(error.code() == lab::ExitCode::kVerificationFailed);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool good = cli::ParseSnapshot(fuzz::GoodSnapshot(), "good", {}).package.bytes[0] == 1;
  DIPPER_CHECK(good);
  if (size < 2) return 0;
  fuzz::Input input(data, size);
  const uint8_t how = input.Get<uint8_t>();
  switch (how % 4) {
    case 0: {
      const base::ByteView rest = input.Take(input.size());
      std::vector<uint8_t> message(rest.begin(), rest.end());
      if ((how & 8) == 0) SealBlock(&message);
      CheckBlock(message);
      break;
    }
    case 1:
      Arrive(input);
      break;
    case 2: {
      const base::ByteView rest = input.Take(input.size());
      Take({rest.begin(), rest.end()});
      break;
    }
    default: {
      std::vector<uint8_t> file = fuzz::GoodSnapshot();
      fuzz::EditFile(input, file);
      fuzz::RemakeChecks(file, (how & 16) != 0);
      Take(file);
      break;
    }
  }
  return 0;
}
