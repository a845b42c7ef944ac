// What an Updater is made of and what it shows. Plain values.
#pragma once

#include <memory>

#include "agent/base/fixed.h"
#include "agent/store/model_store.h"
#include "agent/update/transfer.h"
#include "agent/update/transport.h"
#include "agent/update/trust.h"

namespace dipper::update {

struct UpdaterConfig {
  base::FixedString<64> model_id, device_id, fleet, hardware;
  base::FixedVector<base::FixedString<64>, 16> groups;
  uint16_t agent_major = 0, agent_minor = 0, agent_patch = 0;
  uint64_t max_image_bytes = 0;
  uint32_t model_index = 0;            ///< Place in the boot partition's records and counters.
  uint32_t checkpoint_seconds = 3600;  ///< Powered-on time between checkpoints of one model, wear permitting.
  uint32_t trial_checkpoint_seconds = 600;  ///< The same of a challenger on trial.
  uint32_t healthy_seconds = 60;            ///< Between further healthy periods, after the mark.
  uint64_t max_latency_ns = 0;              ///< The device's own limit for packages that name none; 0: none.
  TransferConfig transfer;
  const package::GroupKeys* group_keys = nullptr;  ///< For encrypted packages; outlives the updater.
};

/// Given by the caller, 16-aligned, each exactly max_image_bytes (a multiple of 16). Champion and challenger
/// live in them and swap roles on a confirm.
struct UpdaterMemory {
  base::MutableBytes first_image, second_image;
};

struct UpdaterDeps {
  store::ModelStoreConfig store;  ///< max_image_bytes and record_index are set by the updater.
  Trust* trust = nullptr;
  BlockTransport* transport = nullptr;
  UpdateObserver* observer = nullptr;
};

/// 16-aligned memory, taken once at construction.
class AlignedMemory {
 public:
  explicit AlignedMemory(uint64_t bytes)
      : blocks_(new Block[base::AlignUp(bytes, 16) / 16]()), size_(base::AlignUp(bytes, 16)) {}
  base::MutableBytes bytes() const { return {blocks_[0].bytes, static_cast<size_t>(size_)}; }

 private:
  struct alignas(16) Block {
    uint8_t bytes[16];
  };
  std::unique_ptr<Block[]> blocks_;
  uint64_t size_;
};

/// The package at hand: read until `source` is null, named until the next offer or file.
struct Install {
  package::ByteSource* source = nullptr;
  package::Manifest manifest;
  uint32_t have = 0, total = 0;
};

/// What tables, births and the update topic show.
struct UpdateStatus {
  schema::UpdateState state = schema::UpdateState::Idle;
  schema::Reason reason = schema::Reason::None;  ///< Of the last end.
  base::Digest champion, challenger, offered;    ///< Package digests; zero: none.
  base::FixedString<64> champion_name, champion_version, challenger_name, challenger_version;
  uint64_t offer_number = 0;
  uint32_t blocks_have = 0, blocks_total = 0;
  TransferCounts transfer;  ///< Since the agent started.
  uint32_t tries_left = 0;
  base::SecurityVersion floor;
  store::SlotId champion_slot = store::SlotId::kNone, undo_target = store::SlotId::kNone;
  base::Digest undo_package;  ///< Zero: there is no undo target.
  store::Rung rung = store::Rung::kNone;
  uint64_t checkpoints = 0, checkpoint_failures = 0;
};

}  // namespace dipper::update
