// Text for people. JSON is in json.cc.
#include "agent/app/control/text.h"

#include <array>
#include <cinttypes>
#include <cstdio>
#include <ctime>

#include "agent/app/control/words.h"
#include "agent/app/version.h"
#include "agent/base/time.h"
#include "agent/telemetry/encoders.h"

namespace dipper::app {

using schema::Reason;
using schema::UpdateState;

namespace {

constexpr size_t kBriefDigits = 12;

std::string Row(std::string_view name, const std::string& text) {
  constexpr size_t kColumn = 13;
  std::string line = "  " + std::string(name);
  line.resize(std::max(line.size() + 1, kColumn), ' ');
  return line + text;
}

std::string Brief(const base::Digest& digest) {
  return std::string(base::ToHex(digest).view().substr(0, kBriefDigits));
}

std::string PackageText(const PackageView& package) {
  std::string text = Printable(package.name);
  if (!package.version.empty()) text += " " + Printable(package.version);
  return (text.empty() ? std::string("package") : text) + " (" + Brief(package.digest) + ")";
}

std::string VersionText(const base::SecurityVersion& version) {
  return std::to_string(version.version) +
         (version.epoch != 0 ? " of epoch " + std::to_string(version.epoch) : std::string());
}

std::string Number(double value) {
  std::array<char, 32> text;
  const int length = std::snprintf(text.data(), text.size(), "%.4g", value);
  return {text.data(), static_cast<size_t>(length)};
}

std::string Bytes(uint64_t bytes) {
  if (bytes >= 10 * 1024 * 1024) return std::to_string(bytes / (1024 * 1024)) + " MiB";
  if (bytes >= 10 * 1024) return std::to_string(bytes / 1024) + " KiB";
  return std::to_string(bytes) + " B";
}

std::string ServesText(const ModelView& model) {
  const store::BootRecord& record = model.record;
  if (record.lkg_slot == store::SlotId::kNone || model.champion.digest.IsZero())
    return model.lost.empty() ? "no model" : "no model: " + model.lost;
  std::string text = PackageText(model.champion) + ", slot " + SlotText(record.lkg_slot);
  if (model.serving_since_ns != 0) text += ", since " + TimeText(model.serving_since_ns);
  if (model.samples != 0) {
    text += ", " + std::to_string(model.samples) + " samples, " + std::to_string(model.labels) + " labels";
  }
  if (model.frozen) text += ", frozen";
  return text;
}

std::string VetoText(const update::VetoReport& veto) {
  if (veto.counted == 0) return "";
  return "; alarm on for " + Number(100 * veto.challenger_alarm_rate) + " % of samples, champion's " +
         Number(100 * veto.champion_alarm_rate) + " %, answers shifted by " + Number(veto.score_shift);
}

std::string GateText(const ModelView& model) {
  const update::GateReport& gate = model.gate;
  std::string text = std::to_string(gate.veto.samples) + " samples, " + std::to_string(gate.seen) + " labels";
  if (gate.counted == 0) return text + ", none counted yet (warm-up)" + VetoText(gate.veto);
  return text + ", " + std::to_string(gate.counted) + " counted; loss " + Number(gate.challenger_loss) +
         ", rival " + Number(gate.rival_loss) + "; excess over the margin " + Number(gate.excess) +
         ", between " + Number(gate.lower) + " and " + Number(gate.upper) + VetoText(gate.veto);
}

std::string UpdateText(const ModelView& model) {
  std::string text(telemetry::WordOf(model.state).view());
  if (model.reason != Reason::None) text += " (" + std::string(telemetry::WordOf(model.reason).view()) + ")";
  if (model.offer_number != 0) text += ", offer " + std::to_string(model.offer_number);
  const bool moving = model.state == UpdateState::Transferring || model.state == UpdateState::Verifying;
  if (moving && model.blocks_total != 0) {
    text +=
        ", " + std::to_string(model.blocks_have) + " of " + std::to_string(model.blocks_total) + " blocks";
  }
  return text;
}

/// What an update waits for while nothing serves: a model is on its way, so no other needs to be installed.
std::string FirstModelText(const ControlView& view, const ModelView& model) {
  if (model.state == UpdateState::Trial)
    return "nothing serves yet, one is on trial: the health gate decides by itself; dipper-agent confirm "
           "makes it "
           "serve now";
  std::string text = "nothing serves yet, one is on its way: ";
  if (!view.running) return text + "it goes on when the agent runs";
  const bool waits = model.state == UpdateState::Offered || model.state == UpdateState::Staged;
  if (waits && !model.healthy) {
    const int64_t left_s = view.readings.healthy_after_s - view.readings.uptime_ns / base::kSecondNs;
    return text + "it waits for the healthy mark, " +
           (left_s > 0 ? "in about " + std::to_string(left_s) + " s" : "which comes when every part works");
  }
  if (model.state == UpdateState::Offered)
    return text + "it waits for this device's place in the offer's window";
  return text + std::string(MeaningOf(model.state));
}

/// What a person should do, or what will happen if nobody does anything.
Lines NextText(const ControlView& view, const ModelView& model) {
  Lines lines;
  const Advice advice = AdviceOn(model.reason);
  if (!advice.meaning.empty()) lines.push_back(Row("why", std::string(advice.meaning)));
  // A trial that waits for its key or its agent.
  const bool waits = model.state == UpdateState::Staged && model.reason != Reason::None;
  if (!advice.to_do.empty() && (waits || update::IsResting(model.state))) {
    lines.push_back(Row("to do", std::string(advice.to_do)));
  }
  const bool lost = !model.lost.empty() && model.champion.digest.IsZero();
  const bool none = lost || model.record.lkg_slot == store::SlotId::kNone;
  if (none && !update::IsResting(model.state)) {
    lines.push_back(Row("next", FirstModelText(view, model)));
  } else if (lost) {
    lines.push_back(
        Row("to do",
            "install it again (dipper-agent install FILE) or offer it again, at or above security "
            "version " +
                VersionText(model.record.floor)));
  } else if (none) {
    lines.push_back(Row("to do", "no model serves: install one (dipper-agent install FILE) or offer one"));
  } else if (view.running && !model.healthy) {
    lines.push_back(Row("next", "the healthy mark, " + std::to_string(view.readings.healthy_after_s) +
                                    " s after the start; updates wait for it"));
  } else if (view.running && waits) {
    lines.push_back(Row("next", "the trial begins with the restart after that; fall-back drops it"));
  } else if (view.running) {
    lines.push_back(Row("next", std::string(MeaningOf(model.state))));
  }
  return lines;
}

void Append(Lines* lines, Lines more) {
  for (std::string& line : more) lines->push_back(std::move(line));
}

void AddModel(const ControlView& view, const ModelView& model, Lines* lines) {
  const store::BootRecord& record = model.record;
  lines->push_back("");
  lines->push_back("model " + model.id);
  if (model.storage_of_newer_agent) {
    lines->push_back(Row("storage", "written by a newer agent; install that one again, nothing is touched"));
    return;
  }
  if (!model.has_record) {
    lines->push_back(Row("storage", "no valid boot record: never started, or both copies are lost"));
    return;
  }
  lines->push_back(Row("serves", ServesText(model)));
  const bool serves = record.lkg_slot != store::SlotId::kNone;
  if (serves && !model.lost.empty() && !model.champion.digest.IsZero())
    lines->push_back(Row("lost", model.lost + "; the model above took its place"));
  if (record.rung != store::Rung::kNewestCheckpoint) lines->push_back(Row("ladder", RungText(record.rung)));
  lines->push_back(Row("update", UpdateText(model)));
  if (record.HasTrial()) {
    lines->push_back(Row("trial", PackageText(model.challenger) + ", slot " + SlotText(record.trial_slot) +
                                      ", " + std::to_string(record.tries_left) + " more tries" +
                                      (model.challenger_samples != 0
                                           ? ", " + std::to_string(model.challenger_samples) + " samples"
                                           : std::string())));
  }
  if (model.has_gate) lines->push_back(Row("gate", GateText(model)));
  if (!model.undo.digest.IsZero()) {
    lines->push_back(Row("undo", PackageText(model.undo) + " in slot " + SlotText(model.undo_slot)));
  } else if (view.running) {
    lines->push_back(Row("undo", "no previous model to go back to"));
  }
  lines->push_back(Row("floor", "security version " + VersionText(record.floor)));
  if (model.checkpoint_failures != 0) {
    lines->push_back(Row("checkpoints", std::to_string(model.checkpoint_failures) + " failed in this run"));
  }
  Append(lines, NextText(view, model));
}

/// Nothing is said of an expired one by a clock that nobody vouches for: nothing expires by it.
Lines RootText(const ControlReadings& at) {
  if (at.root_version == 0) return {};
  const std::string text = "version " + std::to_string(at.root_version) + ", " +
                           (at.root_expired ? "expired " : "until ") +
                           TimeText(at.root_expires_s * base::kSecondNs);
  Lines lines{Row("root", text)};
  if (at.root_expired)
    lines.push_back(Row("to do",
                        "publish a newer root (dipper root next, dipper root publish): until then "
                        "no offer and no command is taken"));
  return lines;
}

std::string EventWords(const schema::Event& event) {
  std::string text(telemetry::WordOf(event.kind()).view());
  if (event.kind() == schema::EventKind::UpdateStep) {
    text += " " + std::string(telemetry::WordOf(event.from()).view()) + " -> " +
            std::string(telemetry::WordOf(event.to()).view());
  }
  if (event.reason() != Reason::None) {
    text += " (" + std::string(telemetry::WordOf(event.reason()).view()) + ")";
  }
  if (const schema::PackageInfo* package = event.package(); package != nullptr) {
    PackageView named;
    if (package->name() != nullptr) named.name = package->name()->str();
    if (package->version() != nullptr) named.version = package->version()->str();
    if (package->digest() != nullptr) {
      for (uint32_t i = 0; i < 32; ++i) named.digest.bytes[i] = package->digest()->bytes()->Get(i);
    }
    if (!named.digest.IsZero()) text += " " + PackageText(named);
  }
  if (event.count() != 0) text += " #" + std::to_string(event.count());
  if (event.detail() != nullptr && event.detail()->size() != 0)
    text += ": " + Printable(event.detail()->str());
  return text;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string clean(text);
  for (char& c : clean) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return clean;
}

std::string TimeText(int64_t wall_ns) {
  const time_t seconds = static_cast<time_t>(wall_ns / base::kSecondNs);
  std::tm parts{};
  std::array<char, 40> text;
  if (::gmtime_r(&seconds, &parts) == nullptr) return "?";
  const size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text.data(), length};
}

std::string DurationText(int64_t ns) {
  const int64_t seconds = ns / base::kSecondNs;
  const auto two = [](int64_t big, const char* big_unit, int64_t small, const char* small_unit) {
    return std::to_string(big) + big_unit + (small != 0 ? " " + std::to_string(small) + small_unit : "");
  };
  if (seconds < 60) return std::to_string(seconds) + " s";
  if (seconds < 3600) return two(seconds / 60, " min", seconds % 60, " s");
  if (seconds < 86400) return two(seconds / 3600, " h", seconds % 3600 / 60, " min");
  return two(seconds / 86400, " d", seconds % 86400 / 3600, " h");
}

Lines StatusText(const ControlView& view) {
  const ControlReadings& at = view.readings;
  Lines lines;
  lines.push_back("device " + at.device + " of fleet " + at.fleet);
  if (view.running) {
    lines.push_back(Row("agent", std::string(kVersionText) + ", running for " + DurationText(at.uptime_ns) +
                                     ", process " + std::to_string(view.pid)));
    lines.push_back(Row("link", at.connected            ? "connected to " + at.broker
                                : at.link_error.empty() ? "not connected to " + at.broker
                                                        : "not connected: " + Printable(at.link_error)));
    lines.push_back(Row("source", Printable(at.source)));
    if (!at.source_trouble.empty()) lines.push_back(Row("", "not there: " + Printable(at.source_trouble)));
    std::string clock = at.clock_synchronized ? "synchronized" : "not synchronized: nothing expires by it";
    if (at.trusted_time_s != 0) {
      clock += "; at least " + TimeText(static_cast<int64_t>(at.trusted_time_s) * base::kSecondNs);
    }
    lines.push_back(Row("clock", clock));
    Append(&lines, RootText(at));
  } else {
    lines.push_back(Row("agent", "not running: what follows is read from its partitions"));
    if (at.trusted_time_s != 0) {
      lines.push_back(
          Row("clock", "at least " + TimeText(static_cast<int64_t>(at.trusted_time_s) * base::kSecondNs)));
    }
  }
  if (view.running && view.models.empty()) {
    lines.push_back(Row("models", "none runs; dipper-agent log says why"));
  }
  for (const ModelView& model : view.models) AddModel(view, model, &lines);
  return lines;
}

Lines SlotsText(const ControlView& view) {
  Lines lines;
  for (const ModelView& model : view.models) {
    if (!lines.empty()) lines.push_back("");
    lines.push_back("model " + model.id + ", floor " + VersionText(model.record.floor));
    if (model.storage_of_newer_agent) {
      lines.push_back(Row("storage", "written by a newer agent; install that one again, nothing is touched"));
    }
    for (const SlotView& slot : model.slots) {
      const bool undo = slot.id == model.undo_slot && !model.undo.digest.IsZero();
      const std::string name = slot.id == store::SlotId::kFactory ? "factory" : "slot " + SlotText(slot.id);
      std::string text = slot.holds;
      if (!slot.package.digest.IsZero()) {
        text += ": " + PackageText(slot.package) + ", security version " +
                VersionText(slot.package.security_version) + ", " + Bytes(slot.package_bytes);
      }
      lines.push_back(Row(name, text + (undo ? "; undo goes here" : "")));
      if (slot.has_mark) {
        lines.push_back(
            Row("  mark", "confirmed as number " + std::to_string(slot.mark.sequence) + ", floor " +
                              VersionText(slot.mark.floor) +
                              (slot.mark.digest == slot.package.digest ? "" : ", of another package")));
      }
      for (const store::CheckpointInfo& checkpoint : slot.checkpoints) {
        lines.push_back(Row("  saved", "checkpoint " + std::to_string(checkpoint.sequence) + ", " +
                                           std::to_string(checkpoint.samples) + " samples, " +
                                           Bytes(checkpoint.image_bytes)));
      }
    }
    if (model.record.HasTrial()) {
      lines.push_back(Row("trial", "slot " + SlotText(model.record.trial_slot) + ", " +
                                       std::to_string(model.record.tries_left) + " more tries, " +
                                       std::to_string(model.record.tries_given_back) + " given back"));
    }
    const bool none = model.record.lkg_slot == store::SlotId::kNone;
    lines.push_back(
        Row("ladder", (none && model.record.rung != store::Rung::kNone ? std::string("nothing to serve")
                                                                       : RungText(model.record.rung)) +
                          "; " + std::to_string(model.record.own_failures) + " own failures, " +
                          std::to_string(model.record.unexplained_starts) + " unexplained starts"));
    for (const store::DeniedEntry& denied : model.record.denied) {
      if (denied.digest.IsZero()) continue;
      lines.push_back(Row("denied", std::string(base::ToHex(denied.digest).view()) + " (" +
                                        std::string(telemetry::WordOf(denied.reason).view()) + ")"));
    }
  }
  return lines;
}

namespace {

/// Payloads are decoded where they are aligned.
struct AlignedEvent {
  explicit AlignedEvent(const store::Event& event) {
    std::copy(event.payload.begin(), event.payload.end(), bytes.begin());
    decoded = telemetry::Decode<schema::Event>(base::ByteView(bytes).first(event.payload.size()));
  }
  alignas(16) std::array<uint8_t, store::kEventBytes> bytes{};
  base::Result<const schema::Event*> decoded = base::Status::kNotFound;
};

std::string_view ModelOf(const schema::Event& event) {
  const flatbuffers::String* model = event.envelope()->model();
  return model == nullptr ? std::string_view{} : std::string_view(model->c_str(), model->size());
}

}  // namespace

bool IsOfModel(const store::Event& event, std::string_view model) {
  if (model.empty()) return true;
  const AlignedEvent aligned(event);
  return aligned.decoded.ok() && ModelOf(**aligned.decoded) == model;
}

uint64_t FirstEntry(store::EventLog& log, std::string_view model, uint64_t count) {
  alignas(16) std::array<uint8_t, store::kEventBytes> buffer;
  uint64_t first = log.newest() + 1;
  while (count > 0 && first > 1 && first > log.oldest()) {
    const auto entry = log.Read(--first, buffer);
    if (entry.ok() && IsOfModel(*entry, model)) --count;
  }
  return first;
}

std::string EventText(const store::Event& event) {
  std::string text = TimeText(event.time_ns) + "  " + std::to_string(event.sequence) + "  ";
  const AlignedEvent aligned(event);
  if (!aligned.decoded.ok()) {
    return text + std::string(telemetry::WordOf(static_cast<schema::EventKind>(event.kind)).view()) +
           ": its details cannot be read by this version";
  }
  const std::string_view model = ModelOf(**aligned.decoded);
  if (!model.empty()) text += Printable(model) + "  ";
  return text + EventWords(**aligned.decoded);
}

}  // namespace dipper::app
