// dipper document: shows, signs and merges roots, offers and commands as files (docs/reference/trust.md).
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "tools/cli/command.h"
#include "tools/cli/document_files.h"
#include "tools/cli/output.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;
using package::Domain;

struct DocumentOptions {
  std::string file;
  std::string root;
  bool json = false;
};

Json OfferJson(const package::OfferFacts& offer) {
  Json out;
  out["kind"] = "offer";
  out["fleet"] = std::string(offer.fleet.view());
  out["model"] = std::string(offer.model.view());
  out["rollout"] = std::string(offer.rollout.view());
  out["number"] = offer.number;
  out["epoch"] = package::EpochOfNumber(offer.number);
  out["package"] = HexText(offer.package);
  out["issued"] = TimeText(offer.issued);
  out["not_before"] = TimeText(offer.not_before);
  out["not_after"] = TimeText(offer.not_after);
  out["cancel"] = offer.cancel;
  out["override_denied"] = offer.override_denied;
  return out;
}

Json CommandJson(const package::CommandFacts& command) {
  Json out;
  out["kind"] = "command";
  out["fleet"] = std::string(command.fleet.view());
  out["model"] = std::string(command.model.view());
  out["name"] = std::string(command.name.view());
  out["number"] = command.number;
  out["epoch"] = package::EpochOfNumber(command.number);
  out["issued"] = TimeText(command.issued);
  out["not_after"] = TimeText(command.not_after);
  out["arguments"] = Json::object();
  for (const package::ArgumentText& argument : command.arguments)
    out["arguments"][std::string(argument.key.view())] = std::string(argument.value.view());
  return out;
}

Json DocumentJson(const DocumentOptions& options, const package::Bytes& bytes, const package::Draft& draft) {
  if (draft.domain == Domain::kOffer) {
    package::OfferFacts offer;
    static_cast<void>(package::InspectOffer(bytes, &offer));
    return OfferJson(offer);
  }
  if (draft.domain == Domain::kCommand) {
    package::CommandFacts command;
    static_cast<void>(package::InspectCommand(bytes, &command));
    return CommandJson(command);
  }
  throw Error(ExitCode::kUsage,
              fmt::format("{} is a trust root; show it with `dipper root show`", options.file));
}

void ShowDocument(const DocumentOptions& options, int& exit_code) {
  const package::Bytes bytes = LoadDocument(options.file);
  const auto draft = package::ReadDraft(bytes);
  if (!draft.ok()) {
    throw Error(ExitCode::kVerificationFailed,
                fmt::format("{} is no offer or command, or one that devices would refuse", options.file));
  }
  Json json = DocumentJson(options, bytes, *draft);
  json["signed_by"] = Json::array();
  for (const auto& signature : draft.value().signatures)
    json["signed_by"].push_back(HexText(signature.key_id));
  if (!options.root.empty()) {
    const SigningState state = DocumentSigningState(*draft, LoadRoot(options.root));
    json["signatures"] = state.text;
    json["complete"] = state.complete;
    if (!state.complete) exit_code = static_cast<int>(ExitCode::kVerificationFailed);
  }
  if (options.json) {
    PrintJson(json);
    return;
  }
  for (const auto& [key, value] : json.items()) {
    fmt::print("{:<16}{}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  if (options.root.empty()) Note("shown without asking who signed it; --root asks");
}

}  // namespace

void RegisterDocument(CLI::App& app, int& exit_code) {
  CLI::App* document =
      app.add_subcommand("document", "Show, sign and merge offers, commands and roots as files");
  document->require_subcommand(1);
  AddSigningCommands(*document);
  const auto options = std::make_shared<DocumentOptions>();
  CLI::App* show = document->add_subcommand("show", "Show an offer or command");
  show->add_option("file", options->file, "Offer or command")->required();
  show->add_option("--root", options->root, "Trust root: is it signed as it must be?");
  show->add_flag("--json", options->json, "Print JSON");
  show->callback([options, &exit_code] { ShowDocument(*options, exit_code); });
}

}  // namespace dipper::cli
