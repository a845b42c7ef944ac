// Implementation of manifest.h: after the FlatBuffers verifier any value may still be in the table, so every
// one is range-checked here, once.
#include "agent/package/manifest.h"

#include <cmath>
#include <cstring>

#include "agent/package/crypto.h"
#include "agent/package/table.h"

namespace dipper::package {
namespace {

using schema::Reason;

constexpr uint32_t kMaxHardware = 32;
constexpr uint32_t kMaxLayouts = 64;
constexpr uint32_t kMaxMetrics = 64;
constexpr size_t kMaxNotes = 4096;

/// Text that is safe to print: no control characters but line ends. UTF-8 is judged where it is shown.
bool IsText(const flatbuffers::String* text, size_t max) {
  if (text == nullptr) return true;
  if (text->size() > max) return false;
  for (const char c : text->string_view()) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n') || byte == 0x7f) return false;
  }
  return true;
}

Reason CheckBlocks(const Header& header, const schema::Manifest& table) {
  if (table.image_bytes() != header.image_bytes || table.blocks()->size() != header.block_count) {
    return Reason::BadFormat;
  }
  const uint32_t overhead = header.encrypted ? kGcmTagBytes : 0;
  uint64_t offset = 0;
  uint64_t raw_left = header.image_bytes;
  for (const schema::Block* block : *table.blocks()) {
    const uint64_t raw = raw_left < kBlockBytes ? raw_left : kBlockBytes;
    if (block->offset_bytes() != offset || block->raw_bytes() != raw || block->stored_bytes() <= overhead ||
        block->stored_bytes() > kMaxStoredBlockBytes) {
      return Reason::BadFormat;
    }
    offset += block->stored_bytes();
    raw_left -= raw;
  }
  return offset == header.block_area_bytes ? Reason::None : Reason::BadFormat;
}

Reason CheckSpec(const schema::Manifest& table, uint32_t* features) {
  const base::ByteView bytes(table.spec()->data(), table.spec()->size());
  const auto* spec = VerifiedTable<schema::Spec>(bytes, kSpecKind);
  if (spec == nullptr) return Reason::BadSpec;
  *features = spec->features()->size();
  if (*features == 0 || *features > kMaxFeatures) return Reason::BadSpec;
  for (const schema::Feature* feature : *spec->features()) {
    if (feature->name() == nullptr) return Reason::BadSpec;
  }
  if (spec->model_id()->string_view() != table.model()->string_view()) return Reason::WrongSchema;
  return FeatureSchemaHash(*spec) == ToDigest(*table.feature_schema()) ? Reason::None : Reason::WrongSchema;
}

bool IsGoodStep(const schema::SelfTestStep& step, uint32_t features) {
  if (step.kind() == schema::SelfTestKind::Learn) {
    return std::isfinite(step.y()) && std::isfinite(step.weight()) && step.weight() >= 0;
  }
  if (step.kind() != schema::SelfTestKind::Observe) return false;
  if (step.values() == nullptr || step.values()->size() != features) return false;
  for (const float value : *step.values()) {
    if (std::isinf(value)) return false;
  }
  return true;
}

Reason CheckSelfTest(const schema::SelfTest* test, uint32_t features) {
  if (test == nullptr) return Reason::None;
  const uint32_t steps = test->steps() == nullptr ? 0 : test->steps()->size();
  if (steps > kMaxSelfTestSteps) return Reason::TooLarge;
  if ((steps > 0) != (test->image_sha256() != nullptr)) return Reason::BadFormat;
  for (uint32_t i = 0; i < steps; ++i) {
    if (!IsGoodStep(*test->steps()->Get(i), features)) return Reason::BadFormat;
  }
  return Reason::None;
}

bool IsShare(double value) { return value >= 0 && value < 1; }  // false for what is no number

bool IsGoodGate(const schema::GatePolicy& gate) {
  if (gate.kind() > schema::GateKind::MAX || gate.at_deadline() > schema::AtDeadline::MAX) return false;
  if (!std::isfinite(gate.loss_bound()) || !std::isfinite(gate.margin()) || !std::isfinite(gate.alpha()))
    return false;
  // Bound 0: the device finds one.
  if (gate.loss_bound() < 0 || gate.margin() < 0) return false;
  if (gate.loss_bound() > 0 && gate.margin() > gate.loss_bound()) return false;
  if (gate.alpha() <= 0 || gate.alpha() >= 1) return false;
  if (!IsShare(gate.max_alarm_excess()) || !IsShare(gate.max_score_shift())) return false;
  // A trial must end.
  return gate.deadline_samples() != 0 || gate.deadline_seconds() != 0;
}

bool AreLabels(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* names, uint32_t max) {
  if (names == nullptr) return true;
  if (names->size() > max) return false;
  for (const flatbuffers::String* name : *names) {
    if (!IsLabel(name->string_view())) return false;
  }
  return true;
}

bool IsGoodLineage(const schema::Lineage* lineage) {
  if (lineage == nullptr) return true;
  if (!IsText(lineage->code_version(), 128) || !IsText(lineage->notes(), kMaxNotes)) return false;
  if (lineage->metrics() == nullptr) return true;
  if (lineage->metrics()->size() > kMaxMetrics) return false;
  for (const schema::Metric* metric : *lineage->metrics()) {
    if (!IsId(metric->name()->string_view())) return false;
  }
  return true;
}

bool AreGoodLayouts(const schema::Manifest& table) {
  if (table.layouts() == nullptr) return true;
  if (table.layouts()->size() > kMaxLayouts) return false;
  for (const schema::LayoutVersion* layout : *table.layouts()) {
    if (!IsId(layout->kind()->string_view())) return false;
  }
  return true;
}

Reason CheckRecipients(const Header& header, const schema::Encryption* encryption) {
  if (header.encrypted != (encryption != nullptr)) return Reason::BadFormat;
  if (encryption == nullptr) return Reason::None;
  const auto& recipients = *encryption->recipients();
  if (recipients.size() > kMaxRecipients) return Reason::TooLarge;
  for (uint32_t i = 0; i < recipients.size(); ++i) {
    for (uint32_t k = 0; k < i; ++k) {
      if (ToDigest(recipients.Get(i)->key_id()) == ToDigest(recipients.Get(k)->key_id())) {
        return Reason::BadFormat;
      }
    }
  }
  return recipients.size() == 0 ? Reason::BadFormat : Reason::None;
}

}  // namespace

Reason Manifest::Parse(const Header& header, base::ByteView head, Manifest* manifest) {
  DIPPER_CHECK(reinterpret_cast<uintptr_t>(head.data()) % 16 == 0 && head.size() == header.head_bytes());
  const auto* table =
      VerifiedTable<schema::Manifest>(head.subspan(kHeaderBytes, header.manifest_bytes), kManifestKind);
  if (table == nullptr) return Reason::BadFormat;
  if (!IsId(table->model()->string_view()) || !IsLabel(table->name()->string_view()) ||
      !IsLabel(table->version()->string_view()) || table->created() < 0) {
    return Reason::BadFormat;
  }
  if (!AreLabels(table->hardware(), kMaxHardware) || !AreGoodLayouts(*table) || !IsGoodGate(*table->gate()) ||
      !IsGoodLineage(table->lineage())) {
    return Reason::BadFormat;
  }
  Reason reason = CheckRecipients(header, table->encryption());
  if (reason == Reason::None) reason = CheckBlocks(header, *table);
  uint32_t features = 0;
  if (reason == Reason::None) reason = CheckSpec(*table, &features);
  if (reason == Reason::None) reason = CheckSelfTest(table->self_test(), features);
  if (reason != Reason::None) return reason;
  manifest->header_ = header;
  manifest->digest_ = PackageDigest(header, head);
  manifest->table_ = table;
  return Reason::None;
}

BlockInfo Manifest::block(uint32_t index) const {
  DIPPER_CHECK(index < block_count());
  const schema::Block* block = table_->blocks()->Get(index);
  return {.package_offset = header_.head_bytes() + block->offset_bytes(),
          .image_offset = index * kBlockBytes,
          .stored_bytes = block->stored_bytes(),
          .raw_bytes = block->raw_bytes(),
          .sha256 = ToDigest(block->sha256())};
}

bool Manifest::IsBlock(uint32_t index, const base::Digest& sha256, size_t stored_bytes) const {
  DIPPER_CHECK(index < block_count());
  const schema::Block& block = *table_->blocks()->Get(index);
  return block.stored_bytes() == stored_bytes &&
         std::memcmp(block.sha256().bytes()->data(), sha256.bytes.data(), sha256.bytes.size()) == 0;
}

uint32_t Manifest::self_test_steps() const {
  const schema::SelfTest* test = table_->self_test();
  return test == nullptr || test->steps() == nullptr ? 0 : test->steps()->size();
}

const schema::SelfTestStep& Manifest::self_test_step(uint32_t index) const {
  DIPPER_CHECK(index < self_test_steps());
  return *table_->self_test()->steps()->Get(index);
}

base::Digest Manifest::self_test_digest() const {
  return self_test_steps() == 0 ? base::Digest{} : ToDigest(*table_->self_test()->image_sha256());
}

bool Manifest::FitsHardware(std::string_view hardware) const {
  if (table_->hardware() == nullptr || table_->hardware()->size() == 0) return true;
  for (const flatbuffers::String* name : *table_->hardware()) {
    if (name->string_view() == hardware) return true;
  }
  return false;
}

uint32_t Manifest::LayoutOf(std::string_view kind) const {
  if (table_->layouts() == nullptr) return 0;
  for (const schema::LayoutVersion* layout : *table_->layouts()) {
    if (layout->kind()->string_view() == kind) return layout->version();
  }
  return 0;
}

bool Manifest::FitsAgent(uint16_t major, uint16_t minor, uint16_t patch) const {
  const schema::AgentVersion* min = table_->min_agent();
  if (min == nullptr) return true;
  const std::array<uint16_t, 3> asked = {min->major(), min->minor(), min->patch()};
  return std::array<uint16_t, 3>{major, minor, patch} >= asked;
}

}  // namespace dipper::package
