// DeskModel: a compiled spec and the memory of one model image, for programs that may allocate. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "agent/learn/image/model.h"
#include "agent/schema/spec_generated.h"

namespace dipper::lab {

class DeskModel {
 public:
  /// Throws Error (2) when the spec is not acceptable, with the reason.
  explicit DeskModel(const schema::SpecT& spec);
  DeskModel(const DeskModel&) = delete;
  DeskModel& operator=(const DeskModel&) = delete;

  const learn::Spec& spec() const { return *spec_; }
  base::ByteView spec_bytes() const { return bytes_; }

  /// A fresh model in the memory; the one before is gone.
  learn::Model Create();
  /// The model of an image, which is copied into the memory. Throws Error (5): not of this spec, or damaged.
  learn::Model Attach(base::ByteView image);

 private:
  struct alignas(16) Unit {
    uint8_t bytes[16];
  };

  std::vector<uint8_t> bytes_;
  std::unique_ptr<learn::Spec> spec_;
  std::vector<Unit> memory_;
};

}  // namespace dipper::lab
