// WearMeter: what the steps of a store or an updater cost the medium, counted from the operations that reach
// simulated partitions: boot records, counters, confirm marks, erases and barriers of each step, and how
// often each erase unit was rewritten. Not thread-safe.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent/store/boot_layout.h"
#include "agent/store/slot_layout.h"
#include "hal/sim/partition_sim.h"

namespace dipper::store {

/// Calls of one step, or the most of any.
struct StepCost {
  uint64_t records = 0;      ///< Writes of a boot record's copy.
  uint64_t counters = 0;     ///< Writes of a counters page.
  uint64_t marks = 0;        ///< Writes of a confirm mark.
  uint64_t headers = 0;      ///< Writes of a slot's header.
  uint64_t checkpoints = 0;  ///< Writes of a checkpoint's header: one a checkpoint.
  uint64_t erases = 0;       ///< Erase calls, of any length.
  uint64_t syncs = 0;

  StepCost AtLeast(const StepCost& other) const {
    return {std::max(records, other.records),
            std::max(counters, other.counters),
            std::max(marks, other.marks),
            std::max(headers, other.headers),
            std::max(checkpoints, other.checkpoints),
            std::max(erases, other.erases),
            std::max(syncs, other.syncs)};
  }
};

class WearMeter {
 public:
  /// All of `power`, which must outlive this; `boot` has the record of model 0, the slots are of one shape.
  WearMeter(hal::SimPower& power, const hal::PartitionSim& boot, const hal::PartitionSim& slot_a)
      : boot_(boot),
        record_(ComputeBootLayout(boot.geometry()).value().Record(0)),
        counters_(ComputeBootLayout(boot.geometry()).value().counters),
        slot_(ComputeSlotLayout(slot_a.geometry()).value()) {
    power.trace = &trace_;
  }
  WearMeter(const WearMeter&) = delete;
  WearMeter& operator=(const WearMeter&) = delete;

  /// What was done since the last call.
  StepCost Take() {
    StepCost cost;
    for (const hal::SimOperation& operation : trace_) Count(operation, &cost);
    trace_.clear();
    return cost;
  }
  /// Runs `step` and adds its cost to the row of that name.
  template <typename Step>
  void Measure(const std::string& name, const Step& step) {
    Take();
    step();
    const StepCost cost = Take();
    auto row = std::find_if(rows_.begin(), rows_.end(), [&](const Row& one) { return one.name == name; });
    if (row == rows_.end()) row = rows_.insert(rows_.end(), {name, 0, {}});
    ++row->times;
    row->most = row->most.AtLeast(cost);
  }
  /// Barriers behind which the unit had changed, of the unit with the most; a unit that is written twice
  /// before one barrier reaches the medium once.
  uint64_t WorstUnit(const hal::PartitionSim& part, uint64_t from = 0, uint64_t end = UINT64_MAX) const {
    uint64_t most = 0;
    const uint64_t unit = part.geometry().erase_unit_bytes;
    for (const auto& [place, times] : rewrites_) {
      const uint64_t offset = place.second * unit;
      if (place.first == &part && offset >= from && offset < end) most = std::max(most, times);
    }
    return most;
  }
  /// The worst unit of one pair of copies in `boot`.
  uint64_t WorstRecordUnit() const { return WorstUnit(boot_, record_.offset, End(record_)); }
  uint64_t WorstCountersUnit() const { return WorstUnit(boot_, counters_.offset, End(counters_)); }
  const SlotLayout& slot() const { return slot_; }

  struct Row {
    std::string name;
    uint64_t times = 0;
    StepCost most;
  };
  const std::vector<Row>& rows() const { return rows_; }
  void Print(const char* title, uint64_t budget) const {
    std::printf("%s\n%-44s %7s %7s %8s %5s %6s %5s %6s %5s\n", title, "most of one step", "times", "records",
                "counters", "marks", "header", "saved", "erases", "syncs");
    for (const Row& row : rows_) {
      const StepCost& most = row.most;
      std::printf("%-44s %7llu %7llu %8llu %5llu %6llu %5llu %6llu %5llu%s\n", row.name.c_str(),
                  Number(row.times), Number(most.records), Number(most.counters), Number(most.marks),
                  Number(most.headers), Number(most.checkpoints), Number(most.erases), Number(most.syncs),
                  most.records > budget ? "  OVER BUDGET" : "");
    }
  }
  static unsigned long long Number(uint64_t value) { return value; }

 private:
  using Unit = std::pair<const hal::PartitionSim*, uint64_t>;

  static uint64_t End(const CopyPairLayout& pair) { return pair.offset + 2 * pair.stride; }
  void Count(const hal::SimOperation& operation, StepCost* cost) {
    const hal::PartitionSim* part = operation.partition;
    if (operation.call == hal::SimCall::kSync) {
      ++cost->syncs;
      for (const uint64_t unit : dirty_[part]) ++rewrites_[{part, unit}];
      dirty_[part].clear();
      return;
    }
    const uint64_t unit = part->geometry().erase_unit_bytes;
    std::vector<uint64_t>& dirty = dirty_[part];
    for (uint64_t i = operation.offset / unit; i * unit < operation.offset + operation.length; ++i) {
      if (std::find(dirty.begin(), dirty.end(), i) == dirty.end()) dirty.push_back(i);
    }
    if (operation.call == hal::SimCall::kErase) {
      ++cost->erases;
    } else if (part == &boot_) {
      const auto within = [&](const CopyPairLayout& pair) {
        return operation.offset >= pair.offset && operation.offset < End(pair);
      };
      cost->records += within(record_) ? 1U : 0U;
      cost->counters += within(counters_) ? 1U : 0U;
    } else {
      CountSlotWrite(operation.offset, cost);
    }
  }
  void CountSlotWrite(uint64_t offset, StepCost* cost) const {
    if (offset < slot_.package_offset) ++cost->headers;
    if (offset >= slot_.mark_offset && offset < slot_.checkpoint_offset) ++cost->marks;
    const bool head =
        offset == slot_.checkpoint_offset || offset == slot_.checkpoint_offset + slot_.checkpoint_bytes;
    if (head) ++cost->checkpoints;
  }

  const hal::PartitionSim& boot_;
  CopyPairLayout record_, counters_;
  SlotLayout slot_;
  std::vector<hal::SimOperation> trace_;
  std::map<const hal::PartitionSim*, std::vector<uint64_t>> dirty_;
  std::map<Unit, uint64_t> rewrites_;
  std::vector<Row> rows_;
};

}  // namespace dipper::store
