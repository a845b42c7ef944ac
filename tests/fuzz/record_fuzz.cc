// Arbitrary bytes in the stored structures: boot record, slot header, mark, checkpoint header, counters, root
// documents, event log, backlog. Their envelopes are made right first, as a forger or an unlucky flip would,
// so that the fuzzer reaches the fields; then each is opened, used, and opened again.
#include <memory>
#include <vector>

#include "agent/store/backlog.h"
#include "agent/store/boot_record.h"
#include "agent/store/counters.h"
#include "agent/store/event_log.h"
#include "agent/store/root_store.h"
#include "agent/store/slot_layout.h"
#include "hal/sim/partition_sim.h"
#include "tests/fuzz/input.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header
using base::Status;

constexpr uint32_t Magic(const char (&text)[5]) {
  uint32_t magic = 0;
  for (int i = 3; i >= 0; --i) magic = magic << 8 | static_cast<uint8_t>(text[i]);
  return magic;
}

constexpr hal::Geometry kBoot{28 * 1024, 1, 512};
constexpr hal::Geometry kData{64 * 1024, 1, 512};
constexpr size_t kSteps = 40;

/// Fills `bytes` from the input and, mostly, seals them.
void FillSealed(fuzz::Input& input, base::MutableBytes bytes, uint32_t magic) {
  const uint8_t how = input.Get<uint8_t>();
  std::fill(bytes.begin(), bytes.end(), uint8_t{0});
  input.Fill(how == 0 ? bytes : bytes.subspan(store::kEnvelopeBytes));
  if (how != 0) store::Seal(bytes, magic, how == 1 ? 2 : 1);
}

template <typename T, auto kDecode, auto kEncode, uint32_t kBytes>
void RoundTrip(fuzz::Input& input, uint32_t magic) {
  std::array<uint8_t, kBytes> bytes;
  FillSealed(input, bytes, magic);
  const base::Result<T> value = kDecode(bytes);
  if (!value.ok()) {
    DIPPER_CHECK(value.status() == Status::kDataLoss || value.status() == Status::kUnimplemented);
    return;
  }
  std::array<uint8_t, kBytes> again;
  kEncode(*value, again);
  const base::Result<T> decoded = kDecode(again);
  DIPPER_CHECK(decoded.ok());
  std::array<uint8_t, kBytes> third;
  kEncode(*decoded, third);
  DIPPER_CHECK(third == again);
  for (size_t length = 0; length < kBytes; ++length)
    DIPPER_CHECK(!kDecode(base::ByteView(bytes).first(length)).ok());
}

/// Plants up to two copies of a paged structure.
void PlantPair(fuzz::Input& input, hal::PartitionSim& partition, const store::CopyPairLayout& layout) {
  std::vector<uint8_t> whole(partition.bytes().begin(), partition.bytes().end());
  for (uint32_t copy = 0; copy < 2; ++copy) {
    const uint32_t most = layout.page_bytes - store::kPagedHeadBytes + 1;
    const uint32_t length = store::kPagedHeadBytes + input.Get<uint16_t>() % most;
    FillSealed(input, base::MutableBytes(whole).subspan(layout.offset + copy * layout.stride, length),
               layout.magic);
  }
  partition.Load(whole);
}

void CheckSame(const store::Counters& a, const store::Counters& b) {
  DIPPER_CHECK(a.trusted_time_s() == b.trusted_time_s() && a.command() == b.command());
  for (uint32_t m = 0; m < store::kMaxModels; ++m)
    DIPPER_CHECK(a.offer(m) == b.offer(m) && a.transfer(m) == b.transfer(m));
}

void UseCounters(fuzz::Input& input) {
  hal::PartitionSim boot(kBoot, nullptr);
  PlantPair(input, boot, store::ComputeBootLayout(kBoot)->counters);
  store::Counters counters(boot);
  const Status status = counters.Load();
  if (!base::Ok(status)) {
    DIPPER_CHECK(status == Status::kUnimplemented);
    DIPPER_CHECK(!base::Ok(counters.RaiseTrustedTime(UINT64_MAX)) || counters.trusted_time_s() == UINT64_MAX);
    return;
  }
  for (size_t step = 0; step < kSteps && !input.empty(); ++step) {
    const uint32_t model = input.Below(store::kMaxModels);
    const uint64_t number = input.Get<uint64_t>();
    const uint64_t before = counters.command().number;
    switch (input.Below(4)) {
      case 0: {
        const uint64_t offer_before = counters.offer(model).number;
        (void)counters.SetOffer(model, {.number = number, .digest = {}, .state = {}, .reason = {}});
        DIPPER_CHECK(counters.offer(model).number >= offer_before);
        break;
      }
      case 1:
        if (base::Ok(counters.BeginCommand(number))) {
          DIPPER_CHECK(counters.LookUpCommand(number) == store::CommandLookup::kRunning);
          DIPPER_CHECK(base::Ok(counters.FinishCommand(number, 7)) && counters.command().result == 7);
        }
        break;
      case 2: {
        const uint64_t time = counters.trusted_time_s();
        DIPPER_CHECK(base::Ok(counters.RaiseTrustedTime(number)));
        DIPPER_CHECK(counters.trusted_time_s() == std::max(time, number));
        break;
      }
      default: {
        store::TransferState transfer = counters.transfer(model);
        DIPPER_CHECK(transfer.block_count <= store::kMaxTransferBlocks);
        if (transfer.block_count > 0) transfer.Set(static_cast<uint32_t>(number % transfer.block_count));
        DIPPER_CHECK(base::Ok(counters.SetTransfer(model, transfer)));
        break;
      }
    }
    DIPPER_CHECK(counters.command().number >= before);
    store::Counters reopened(boot);
    DIPPER_CHECK(base::Ok(reopened.Load()));
    CheckSame(counters, reopened);
  }
}

void UseRoots(fuzz::Input& input) {
  hal::PartitionSim boot(kBoot, nullptr);
  PlantPair(input, boot, store::ComputeBootLayout(kBoot)->roots);
  store::RootStore roots(boot);
  std::vector<uint8_t> buffer(store::RootStore::kMaxRootBytes);
  const Status status = roots.Open();
  if (!base::Ok(status)) {
    DIPPER_CHECK(status == Status::kUnimplemented);
    return;
  }
  const auto loaded = roots.Load(buffer);
  DIPPER_CHECK(loaded.ok() || loaded.status() == Status::kNotFound);
  const base::ByteView document = input.Take(input.Get<uint16_t>());
  if (document.empty() || document.size() > store::RootStore::kMaxRootBytes) return;
  DIPPER_CHECK(base::Ok(roots.Store(document)));
  store::RootStore reopened(boot);
  DIPPER_CHECK(base::Ok(reopened.Open()));
  const auto again = reopened.Load(buffer);
  DIPPER_CHECK(again.ok() && std::ranges::equal(*again, document));
}

/// Plants sealed entries at sectors of [offset, offset + bytes).
void PlantEntries(fuzz::Input& input, hal::PartitionSim& data, uint64_t offset, uint64_t bytes,
                  bool backlog) {
  std::vector<uint8_t> whole(data.bytes().begin(), data.bytes().end());
  const auto sectors = static_cast<uint32_t>(bytes / store::kSectorBytes);
  const uint32_t count = input.Below(24);
  uint64_t sequence = input.Get<uint64_t>();
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t how = input.Get<uint8_t>();
    // Mostly where the entry belongs, one after the other.
    uint64_t sector = backlog ? i : sequence % sectors;
    if ((how & 0x30) == 0x30) sector = input.Below(sectors);
    auto entry =
        base::MutableBytes(whole).subspan(offset + sector * store::kSectorBytes, store::kSectorBytes);
    const size_t length = backlog ? 40 : size_t{72} + input.Get<uint16_t>() % 430U;
    entry = entry.first(length);
    input.Fill(entry.subspan(store::kEnvelopeBytes));
    if ((how & 0x0C) != 0) base::Store(entry.data() + store::kEnvelopeBytes, sequence);
    if (backlog && (how & 0x03) != 0) base::Store(entry.data() + 24, uint32_t{1} + how);
    if (how != 0xFF) store::Seal(entry, backlog ? Magic("DBLG") : Magic("DEVT"), how == 0xFE ? 2 : 1);
    ++sequence;
  }
  data.Load(whole);
}

void UseEvents(fuzz::Input& input) {
  hal::PartitionSim data(kData, nullptr);
  const store::DataLayout layout = *store::ComputeDataLayout(kData);
  PlantEntries(input, data, layout.events_offset, layout.events_bytes, false);
  store::EventLog log(data);
  const Status status = log.Open();
  if (!base::Ok(status)) {
    DIPPER_CHECK(status == Status::kUnimplemented);
    DIPPER_CHECK(!log.Append({}).ok());
    return;
  }
  std::array<uint8_t, store::kEventBytes> buffer;
  for (size_t step = 0; step < kSteps && !input.empty(); ++step) {
    DIPPER_CHECK(log.newest() == 0 || (log.oldest() >= 1 && log.oldest() <= log.newest()));
    DIPPER_CHECK(log.newest() == 0 || log.newest() - log.oldest() < log.capacity());
    const base::ByteView payload = input.Take(input.Below(store::kMaxEventPayload + 8));
    const uint64_t before = log.newest();
    const auto sequence = log.Append({.time_ns = 5, .kind = 3, .payload = payload});
    DIPPER_CHECK(sequence.ok() == (payload.size() <= store::kMaxEventPayload));
    if (!sequence.ok()) continue;
    DIPPER_CHECK(*sequence == before + 1 && log.newest() == *sequence);
    const auto read = log.Read(*sequence, buffer);
    DIPPER_CHECK(read.ok() && std::ranges::equal(read->payload, payload));
    const auto breaks = log.CountBreaks();
    DIPPER_CHECK(breaks.ok() && *breaks <= log.capacity());
    store::EventLog reopened(data);
    DIPPER_CHECK(base::Ok(reopened.Open()) && reopened.newest() == log.newest());
  }
}

/// Entries come in order, each once, and what was appended is there or counted.
void DrainBacklog(store::Backlog& backlog) {
  static std::vector<uint8_t> buffer(store::kMaxBacklogEntryBytes);
  uint64_t last = 0;
  while (true) {
    const auto entry = backlog.Peek(last + 1, buffer);
    if (!entry.ok()) {
      DIPPER_CHECK(entry.status() == Status::kNotFound);
      return;
    }
    DIPPER_CHECK(entry->sequence > last && entry->sequence < backlog.next_sequence());
    last = entry->sequence;
  }
}

void UseBacklog(fuzz::Input& input) {
  hal::PartitionSim data(kData, nullptr);
  const store::DataLayout layout = *store::ComputeDataLayout(kData);
  PlantEntries(input, data, layout.backlog_offset, layout.backlog_bytes, true);
  if (input.Flag()) PlantPair(input, data, layout.backlog_position);
  store::Backlog backlog(data);
  const Status status = backlog.Open();
  if (!base::Ok(status)) {
    DIPPER_CHECK(status == Status::kUnimplemented);
    DIPPER_CHECK(!backlog.Append(1, base::AsBytes("x")).ok());
    return;
  }
  const std::vector<uint8_t> payload(4096, 0x5A);
  std::vector<uint8_t> buffer(store::kMaxBacklogEntryBytes);
  for (size_t step = 0; step < kSteps && !input.empty(); ++step) {
    DIPPER_CHECK(backlog.oldest() <= backlog.next_sequence() && backlog.entries() <= UINT64_MAX / 2);
    switch (input.Below(4)) {
      case 0:
        DrainBacklog(backlog);
        break;
      case 1:
        DIPPER_CHECK(backlog.empty() || base::Ok(backlog.Drop(backlog.oldest())));
        break;
      case 2:
        DIPPER_CHECK(base::Ok(backlog.Flush()));
        break;
      default: {
        const uint64_t next = backlog.next_sequence();
        const auto bytes = base::ByteView(payload).first(1 + input.Below(4000));
        const auto sequence = backlog.Append(1, bytes);
        DIPPER_CHECK(sequence.ok() && *sequence == next);
        const auto read = backlog.Peek(next, buffer);
        DIPPER_CHECK(read.ok() && read->sequence == next && read->payload.size() == bytes.size());
        store::Backlog reopened(data);
        DIPPER_CHECK(base::Ok(reopened.Open()) && reopened.next_sequence() == backlog.next_sequence());
        break;
      }
    }
  }
  DrainBacklog(backlog);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  switch (input.Below(8)) {
    case 0:
      RoundTrip<store::BootRecord, store::DecodeBootRecord, store::EncodeBootRecord, store::kBootRecordBytes>(
          input, Magic("DREC"));
      break;
    case 1:
      RoundTrip<store::SlotHeader, store::DecodeSlotHeader, store::EncodeSlotHeader, store::kSlotHeaderBytes>(
          input, Magic("DSLT"));
      break;
    case 2:
      RoundTrip<store::ConfirmMark, store::DecodeConfirmMark, store::EncodeConfirmMark,
                store::kConfirmMarkBytes>(input, Magic("DMRK"));
      break;
    case 3:
      RoundTrip<store::CheckpointInfo, store::DecodeCheckpointInfo, store::EncodeCheckpointInfo,
                store::kCheckpointInfoBytes>(input, Magic("DKCP"));
      break;
    case 4:
      UseCounters(input);
      break;
    case 5:
      UseRoots(input);
      break;
    case 6:
      UseEvents(input);
      break;
    default:
      UseBacklog(input);
      break;
  }
  return 0;
}
