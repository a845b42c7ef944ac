// A compiled model spec, verified and range-checked: the only way from bytes to schema::Spec on a device.
// Thread-safe once parsed (immutable). No heap. The bytes must outlive the Spec and stay unchanged.
// Every key, default and range: docs/reference/spec.md.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "agent/base/bytes.h"
#include "agent/learn/image/layout.h"
#include "agent/schema/spec_generated.h"

namespace dipper::learn {

/// Largest compiled spec that is looked at.
inline constexpr uint64_t kMaxSpecBytes = 65536;

class Spec {
 public:
  /// Verifies the FlatBuffer, checks every value and lays the image out.
  ///
  /// Cost: O(bytes), SHA-256 included; about 8 KiB of stack.
  /// @param bytes  Compiled spec, 8-byte aligned; copy received bytes to aligned memory first.
  /// @param why    If given, set on failure to one English sentence (static storage) that names the key and
  /// the range.
  /// @returns kInvalidArgument: misaligned, or a value out of range; kDataLoss: no well-formed spec;
  ///          kUnimplemented: a kind that this build does not know (or the fault stage in a release build);
  ///          kResourceExhausted: the model does not fit in its own budget_bytes.
  static base::Result<Spec> Parse(base::ByteView bytes, const char** why = nullptr);

  const schema::Spec& table() const { return *table_; }
  base::ByteView bytes() const { return bytes_; }
  /// SHA-256 of the bytes; an image carries it and belongs to no other spec.
  const base::Digest& digest() const { return digest_; }

  std::string_view model_id() const { return Text(table_->model_id()); }
  schema::Task task() const { return table_->task(); }
  schema::TargetKind target_kind() const { return table_->target()->kind(); }
  /// Features of a sample, in the order in which Observe takes them.
  uint32_t feature_count() const { return plan_.layout.features; }
  std::string_view feature_name(uint32_t index) const { return Text(table_->features()->Get(index)->name()); }
  /// Categories of feature `index`; 0 = numeric. Values 0 .. n - 1, and n = other.
  uint32_t category_count(uint32_t index) const;
  /// Index of a feature by name, or feature_count().
  uint32_t FindFeature(std::string_view name) const;
  /// Places for classes (named + spare); 0 unless classification.
  uint32_t class_count() const { return plan_.layout.target.classes; }
  /// Label text of a class, "" for a spare place.
  std::string_view class_name(uint32_t index) const;
  /// Inputs of the learner, after all stages.
  uint32_t input_count() const { return plan_.layout.inputs; }
  /// Bytes of a model image: what Model::StateBytes returns.
  uint64_t state_bytes() const { return plan_.layout.total_bytes; }

  const Plan& plan() const { return plan_; }

 private:
  Spec() = default;
  static std::string_view Text(const flatbuffers::String* text) {
    return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
  }

  base::ByteView bytes_;
  const schema::Spec* table_ = nullptr;
  base::Digest digest_;
  Plan plan_;
};

}  // namespace dipper::learn
