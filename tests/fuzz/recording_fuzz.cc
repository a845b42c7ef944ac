// Arbitrary bytes as a flight recording, good recordings with changes under right checksums, and arbitrary
// records on a good page: read, replayed, compared. A recording comes from a device that may be anybody's.
#include <bit>
#include <optional>
#include <vector>

#include "tests/fuzz/recorded_file.h"
#include "tools/lab/error.h"
#include "tools/lab/replay.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header
using base::Status;

void CheckResult(const lab::ReplayResult& result) {
  DIPPER_CHECK(result.segments > 0);
  if (!result.parting) return;
  const lab::Parting& parting = *result.parting;
  DIPPER_CHECK(!parting.what.empty() && !parting.of.empty() && parting.recorded != parting.computed);
  DIPPER_CHECK(parting.equal_at <= parting.record && parting.record <= result.last_record);
  if (parting.exact()) DIPPER_CHECK(parting.equal_at < parting.record && result.answers > 0);
}

void Run(std::vector<uint8_t> file, bool has_key) {
  const auto keys = [&](const base::Digest&) -> std::optional<package::Secret> {
    if (has_key) return package::Secret{};
    return std::nullopt;
  };
  try {
    lab::Recording recording(std::move(file), "fuzzed");
    CheckResult(lab::Replay(recording, keys));
  } catch (const lab::Error& error) {
    DIPPER_CHECK(error.code() == lab::ExitCode::kVerificationFailed);
    DIPPER_CHECK(std::string_view(error.what()).size() > 10);
  }
}

/// What every change begins with is good: it replays to the end, every answer equal.
bool BeginsGood() {
  lab::Recording recording(fuzz::GoodRecording(), "good");
  const lab::ReplayResult result = lab::Replay(recording, {});
  return !result.parting && result.notes.empty() && result.answers > 90 && result.compared == 6;
}

/// What is read can be written, and reads as the same: nothing is lost on the way.
void RoundTrip(base::ByteView bytes) {
  runtime::RecordReader reader, again;
  runtime::RecordWriter writer;
  reader.Open(bytes);
  // A record told in fewer bytes than the writer's may come out longer.
  std::vector<uint8_t> out(runtime::MaxInputBytes(learn::kMaxFeatures) + runtime::kMaxPlainBytes);
  runtime::Record record, copy;
  while (!reader.AtEnd()) {
    if (!base::Ok(reader.Next(&record))) return;
    if (record.input.is_label && record.kind == runtime::RecordKind::kInput && !record.input.has_label)
      return;  // no writer makes it
    writer.Reset(out);
    writer.Put(record);
    again.Open(base::ByteView(out).first(writer.bytes()));
    DIPPER_CHECK(base::Ok(again.Next(&copy)) && again.AtEnd());
    DIPPER_CHECK(copy.kind == record.kind && copy.input.id == record.input.id &&
                 copy.input.time_ns == record.input.time_ns && copy.to_champion == record.to_champion &&
                 copy.to_challenger == record.to_challenger && copy.answered == record.answered &&
                 copy.marks == record.marks && copy.images == record.images && copy.name == record.name &&
                 copy.powered_ns == record.powered_ns && copy.number == record.number);
    DIPPER_CHECK(copy.input.values.size() == record.input.values.size());
    for (size_t i = 0; i < record.input.values.size(); ++i) {
      DIPPER_CHECK(std::bit_cast<uint32_t>(copy.input.values[i]) ==
                   std::bit_cast<uint32_t>(record.input.values[i]));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool good = BeginsGood();
  DIPPER_CHECK(good);
  if (size < 2) return 0;
  fuzz::Input input(data, size);
  const uint8_t how = input.Get<uint8_t>();
  const bool has_key = (how & 8) != 0;
  switch (how % 4) {
    case 0: {
      const base::ByteView rest = input.Take(input.size());
      Run({rest.begin(), rest.end()}, has_key);
      break;
    }
    case 1: {
      std::vector<uint8_t> file = fuzz::GoodRecording();
      fuzz::EditFile(input, file);
      fuzz::RemakeChecks(file, (how & 16) != 0);
      Run(std::move(file), has_key);
      break;
    }
    case 2: {
      std::vector<uint8_t> file = fuzz::GoodRecording();
      fuzz::PlantRecords(input, file);
      Run(std::move(file), has_key);
      break;
    }
    default:
      RoundTrip(input.Take(input.size()));
      break;
  }
  return 0;
}
