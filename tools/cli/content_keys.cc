// Implementation of content_keys.h.
#include "tools/cli/content_keys.h"

#include <fmt/format.h>

#include <memory>

#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"

namespace dipper::cli {

lab::ContentKeys LoadContentKeys(const std::vector<std::string>& packages,
                                 const std::vector<std::string>& group_keys) {
  auto keys = std::make_shared<package::GroupKeys>();
  for (const std::string& file : group_keys) {
    if (keys->Add(LoadGroupKey(file)) == base::Status::kResourceExhausted) {
      throw lab::Error(lab::ExitCode::kUsage,
                       fmt::format("at most {} group keys at a time", package::kMaxGroupKeys));
    }
  }
  auto files = std::make_shared<std::vector<std::unique_ptr<PackageFile>>>();
  for (const std::string& file : packages) files->push_back(std::make_unique<PackageFile>(file));
  return [keys, files](const base::Digest& package) -> std::optional<package::Secret> {
    for (const auto& file : *files) {
      package::Secret key;
      if (file->manifest().package_digest() != package || !file->manifest().encrypted()) continue;
      if (package::OpenContentKey(file->manifest(), keys.get(), &key) == schema::Reason::None) return key;
    }
    return std::nullopt;
  };
}

}  // namespace dipper::cli
