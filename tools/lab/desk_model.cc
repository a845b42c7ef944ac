// Compile, check, allocate once.
#include "tools/lab/desk_model.h"

#include <fmt/format.h>

#include "tools/lab/error.h"
#include "tools/lab/spec_text.h"

namespace dipper::lab {

DeskModel::DeskModel(const schema::SpecT& spec) : bytes_(CompileSpec(spec)) {
  const char* why = "";
  base::Result<learn::Spec> parsed = learn::Spec::Parse(bytes_, &why);
  if (!parsed.ok()) {
    throw Error(ExitCode::kUsage,
                fmt::format("the spec is not acceptable: {} ({})", why, base::StatusName(parsed.status())));
  }
  spec_ = std::make_unique<learn::Spec>(std::move(*parsed));
  memory_.resize(spec_->state_bytes() / sizeof(Unit));
}

learn::Model DeskModel::Create() {
  const base::MutableBytes memory(memory_.data()->bytes, memory_.size() * sizeof(Unit));
  base::Result<learn::Model> model = learn::Model::Create(*spec_, memory);
  if (!model.ok()) {
    throw Error(ExitCode::kFailure, fmt::format("cannot make a model of {} bytes here: {}", memory.size(),
                                                base::StatusName(model.status())));
  }
  return std::move(*model);
}

}  // namespace dipper::lab
