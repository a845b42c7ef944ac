// LoadedModel: a model in one of the updater's image memories, with its spec and names; and the checks that a
// package must pass before its model may run. Not thread-safe. Heap: the spec's memory, at construction;
// zstd's inside loading.
#pragma once

#include <memory>
#include <optional>

#include "agent/base/fixed.h"
#include "agent/learn/image/model.h"
#include "agent/package/seal.h"
#include "agent/package/verify.h"
#include "agent/store/boot_record.h"
#include "agent/update/gate.h"

namespace dipper::update {

struct LoadedModel {
  explicit LoadedModel(base::MutableBytes image);

  base::MutableBytes memory;  ///< max_image_bytes.
  std::unique_ptr<uint64_t[]> spec_memory;
  std::optional<learn::Spec> spec;
  std::optional<learn::Model> model;
  base::Digest package;
  base::FixedString<64> name, version;
  base::SecurityVersion security_version;
  store::SlotId slot = store::SlotId::kNone;
  const package::GroupKeys* group_keys = nullptr;  ///< Of the device; null: none.
  bool encrypted = false;                          ///< Its package is; then `content_key` is that package's.
  package::Secret content_key;

  void Unload();
  base::MutableBytes image_memory() const { return memory.first(spec->state_bytes()); }
};

/// Who asks whether a package fits.
struct DeviceFit {
  std::string_view model_id, hardware;
  uint16_t agent_major = 0, agent_minor = 0, agent_patch = 0;
  uint64_t max_image_bytes = 0;
  const package::GroupKeys* group_keys = nullptr;
};

/// Everything that can be said from a manifest: model, hardware, agent, layouts, numerics, size, and whether
/// the device can read the payload. None, WrongTarget, WrongHardware, WrongAgent, UnknownLayout,
/// UnknownNumerics, TooLarge, NoGroupKey.
schema::Reason CheckFit(const package::Manifest& manifest, const DeviceFit& fit);

/// Only whether this agent knows what the image is made of: None, UnknownLayout, UnknownNumerics.
schema::Reason CheckVersions(const package::Manifest& manifest);

/// Another agent, or a key that is missing, could run the model: nothing is written about it, so that it is
/// there again when they are.
constexpr bool IsOfAnotherAgent(schema::Reason reason) {
  return reason == schema::Reason::UnknownLayout || reason == schema::Reason::UnknownNumerics ||
         reason == schema::Reason::NoGroupKey;
}

/// Takes names, spec and content key of a manifest; the image memory stays untouched.
/// None, BadSpec, FaultStage, UnknownLayout (a part that this agent does not know), TooLarge (spec or image),
/// WrongTarget (spec of another model), NoGroupKey.
schema::Reason TakeSpec(const package::Manifest& manifest, LoadedModel* to);

/// Decodes the payload and attaches it (after TakeSpec). None; BadBlock, BadDigest, StorageError, TooLarge;
/// UnknownLayout; NotFinite: an index, count or number in it is out of range.
schema::Reason LoadPayload(package::ByteSource& source, const package::Manifest& manifest,
                           base::MutableBytes scratch, LoadedModel* to);

/// Runs the self-test on the loaded payload, which is used up by it: load it afresh afterwards.
/// None; SelfTest: a step is refused or the digest after the last one differs; NotFinite.
schema::Reason RunSelfTest(const package::Manifest& manifest, LoadedModel* model);

/// Gate of a package on this spec; the manifest passed CheckFit.
GateConfig GateConfigOf(const package::Manifest& manifest, const learn::Spec& spec);

/// What of the vetoes can be asked of these two: no alarms where one of them has none, nothing without a
/// champion or between different tasks.
void AskOnlyWhatBothAnswer(const LoadedModel& champion, const LoadedModel& challenger, GateConfig* config);

/// A sample that the challenger has answered. Compared are forecasts, classes or, of models that only watch,
/// anomaly scores; and whether the alarm is on.
/// @param champion         Its spec, null: there is none.
/// @param champion_answer  To the same sample; null: it has none.
void CountSample(const learn::Spec* champion, const learn::Output* champion_answer,
                 const learn::Spec& challenger, const learn::Output& challenger_answer, Gate* gate);

/// What a checkpoint must pass: every number finite, and the fading loss not ten times the lifetime loss.
bool FitForCheckpoint(const learn::Model& model);

}  // namespace dipper::update
