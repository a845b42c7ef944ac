// Join: several sample sources as one. One source gives the tick, the others contribute the newest they have
// said (docs/how-to/feed-samples.md). The joined sample is one flat JSON object of the columns that the
// configuration names, so that every feature is decoded by the same rules as from a single source. Not
// thread-safe. Memory is taken at construction and does not grow; no heap after that, but for the parser of
// sources that speak JSON.
//
// Ages are by the monotonic clock from when a record was polled, so that a clock that jumps makes nothing
// stale.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "agent/stream/csv.h"
#include "agent/stream/json_pick.h"
#include "agent/telemetry/json_writer.h"
#include "hal/api/clock.h"
#include "hal/api/sample_source.h"

namespace dipper::runtime {

inline constexpr size_t kMaxJoinParts = 8;
/// Of all parts together; one less than places of a JSON part are left for id and time.
inline constexpr size_t kMaxJoinColumns = 120;

struct JoinPart {
  hal::SampleSource* source = nullptr;  ///< Outlives the join.
  std::string name;                     ///< Before a column that another part has too: "name.column".
  std::vector<std::string> columns;     ///< Of its header, or members of its JSON objects.
  int64_t max_age_ns = 0;               ///< Beyond that its values are missing; 0: they never are.
};

struct JoinConfig {
  size_t primary = 0;    ///< Part that gives the tick: a sample of it is a sample.
  bool slowest = false;  ///< Otherwise: a sample when every part that is not stale has said something new.
  bool skip_missing =
      false;  ///< A sample that a part is missing from is left out; otherwise its values are missing.
};

class Join final : public hal::SampleSource {
 public:
  Join(hal::Clock& clock, const JoinConfig& config, std::vector<JoinPart> parts);

  /// Names of the joined columns, in the order of parts and their columns.
  const std::vector<std::string>& names() const { return names_; }

  /// A joined sample, or a late label of any part. kDataLoss: a record or a sample was left out and counted.
  /// kOutOfRange: the primary has ended, or all have.
  base::Status Poll(hal::Record* record) override;
  int64_t NextDueNs() override;
  void Answer(uint32_t origin, std::string_view line) override;
  hal::SourceTotals totals() const override;
  /// Of the part that gives the tick first of all, then of the first other that has any.
  std::string_view trouble() const override;

 private:
  /// What a part has said last.
  struct Held {
    JoinPart part;
    size_t first_column = 0;      ///< In names_.
    std::vector<uint16_t> order;  ///< By column of its header: column of the part, or kNoColumn.
    char delimiter = ',';
    stream::JsonPick pick;                  ///< The columns, then id, time and label.
    std::vector<stream::Picked> now, next;  ///< As pick.
    bool seen = false, fresh = false, ended = false, from_network = false, wants_prediction = false;
    int64_t polled_ns = 0;  ///< Monotonic.
    int64_t time_ns = 0;
    uint32_t origin = 0;
    const stream::Picked& id() const { return now[part.columns.size()]; }
    const stream::Picked& time() const { return now[part.columns.size() + 1]; }
  };
  enum class Took : uint8_t { kNothing, kLost, kValues, kLabel };

  Took TakeRecord(size_t index, hal::Record* record);
  void ReadHeader(Held* held, std::string_view line);
  bool ReadLine(Held* held, std::string_view line);
  bool ReadFloats(Held* held, base::ByteView row);
  Took ReadJson(Held* held, std::string_view text);
  bool IsStale(const Held& held, int64_t now_ns) const;
  bool AllFresh(int64_t now_ns) const;
  base::Status Emit(const Held& tick, hal::Record* record, int64_t now_ns);

  hal::Clock& clock_;
  JoinConfig config_;
  std::vector<Held> parts_;
  std::vector<std::string> names_;
  std::vector<uint8_t> text_;
  std::array<std::string_view, stream::kMaxColumns> cells_{};
  std::array<char, 4096> scratch_{};
  uint64_t next_sequence_ = 0;
  bool has_id_ = false, has_time_ = false;
  bool more_ = false;  ///< A part may have something now that its descriptor knows nothing of.
  hal::SourceTotals totals_;
};

}  // namespace dipper::runtime
