// Compile, check, allocate once.
#include "tools/lab/desk_model.h"

#include <fmt/format.h>

#include <cstring>

#include "tools/lab/error.h"
#include "tools/lab/spec_parts.h"
#include "tools/lab/spec_text.h"

namespace dipper::lab {
namespace {

/// Where the bytes of a budget that is too small go.
std::string BudgetText(base::ByteView bytes) {
  const schema::Spec& table = *schema::GetSpec(bytes.data());
  const auto plan = std::make_unique<learn::Plan>();
  (void)learn::MakePlan(table, plan.get(), nullptr);  // what it has placed until it failed
  return fmt::format("; of the {} bytes take, beside the learner: {}", table.budget_bytes(),
                     LargestParts(table, plan->layout));
}

}  // namespace

DeskModel::DeskModel(const schema::SpecT& spec) : bytes_(CompileSpec(spec)) {
  const char* why = "";
  base::Result<learn::Spec> parsed = learn::Spec::Parse(bytes_, &why);
  if (!parsed.ok()) {
    throw Error(ExitCode::kUsage,
                fmt::format("the spec is not acceptable: {} ({}){}", why, base::StatusName(parsed.status()),
                            parsed.status() == base::Status::kResourceExhausted ? BudgetText(bytes_) : ""));
  }
  spec_ = std::make_unique<learn::Spec>(*parsed);
  memory_.resize(spec_->state_bytes() / sizeof(Unit));
}

learn::Model DeskModel::Create() {
  const base::MutableBytes memory(memory_.data()->bytes, memory_.size() * sizeof(Unit));
  base::Result<learn::Model> model = learn::Model::Create(*spec_, memory);
  if (!model.ok()) {
    throw Error(ExitCode::kFailure, fmt::format("cannot make a model of {} bytes here: {}", memory.size(),
                                                base::StatusName(model.status())));
  }
  return *model;
}

learn::Model DeskModel::Attach(base::ByteView image) {
  const base::MutableBytes memory(memory_.data()->bytes, memory_.size() * sizeof(Unit));
  if (image.size() == memory.size()) std::memcpy(memory.data(), image.data(), image.size());
  base::Result<learn::Model> model =
      image.size() == memory.size() ? learn::Model::Attach(*spec_, memory) : base::Status::kDataLoss;
  if (!model.ok()) {
    throw Error(ExitCode::kVerificationFailed, fmt::format("the image is not of this spec, or damaged ({})",
                                                           base::StatusName(model.status())));
  }
  return *model;
}

}  // namespace dipper::lab
