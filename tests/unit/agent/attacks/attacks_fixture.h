// What the attack tests share: roots of any shape, and documents signed by whoever has stolen a key.
#pragma once

#include <array>
#include <vector>

#include "agent/package/build_document.h"
#include "tests/unit/agent/package/fixture.h"
#include "tests/unit/agent/update/updater_fixture.h"

namespace dipper::update::test {

using package::PrivateKey;

inline const package::DeviceNames kDevice{.fleet = "plant", .device = "d1", .groups = {}};
inline constexpr uint64_t kHighestNumber = (uint64_t{1} << package::kNumberBits) - 1;

/// Keys beyond the usual ones, made once a process.
inline const PrivateKey& Spare(size_t index) {
  static const auto* keys = [] {
    auto* made = new std::array<PrivateKey, 4>;
    for (PrivateKey& key : *made) key = package::GenerateKey().value();
    return made;
  }();
  return (*keys)[index];
}

/// A root document: by default the first root's content.
struct RootPlan {
  uint32_t version = 2;
  int64_t created = 1'000;
  int64_t expires = 4'000'000'000;
  std::array<std::vector<const PrivateKey*>, 4> keys = {
      {{&TestKeys().root}, {&TestKeys().release}, {&TestKeys().rollout}, {&TestKeys().command}}};
  std::array<uint8_t, 4> thresholds = {1, 1, 1, 1};
  std::array<uint32_t, 4> epochs{};
  std::vector<const PrivateKey*> signers = {&TestKeys().root};

  Bytes Document() const {
    schema::RootT root;
    root.version = version;
    root.created = created;
    root.expires = expires;
    for (uint8_t role = 0; role < 4; ++role) {
      std::vector<uint8_t> indices;
      for (const PrivateKey* key : keys[role]) {
        indices.push_back(static_cast<uint8_t>(root.keys.size()));
        root.keys.push_back(package::ToSchema(key->public_key()));
      }
      root.roles.push_back(package::MakeRole(static_cast<schema::RoleName>(role), thresholds[role],
                                             std::move(indices), epochs[role]));
    }
    Bytes bytes = package::DraftRoot(root).value();
    for (const PrivateKey* key : signers) {
      const auto value = package::Sign(
          *key, package::SigningDigest(package::Domain::kRoot, package::ReadDraft(bytes).value().payload));
      bytes = package::AddDocumentSignature(bytes, key->public_key(), value.value()).value();
    }
    return bytes;
  }
};

/// The same document with one signature only, by `key`.
inline Bytes SignedBy(const Bytes& document, const PrivateKey& key) {
  const package::Draft draft = package::ReadDraft(document).value();
  return package::test::Envelope(draft.payload,
                                 {package::test::SignatureBy(key, draft.domain, draft.payload)});
}

class AttackTest : public UpdaterTest {
 protected:
  Trust& trust() { return device_->trust(); }
  uint64_t StoredNumber() { return trust().counters().offer(0).number; }
  /// Sends a command; the outcome as it would be answered.
  Reason Command(uint64_t number, const PrivateKey& key = TestKeys().command) {
    return CommandSignedBy("undo", number, {&key});
  }
  Reason CommandSignedBy(const std::string& name, uint64_t number,
                         const std::vector<const PrivateKey*>& keys) {
    Bytes document = SignedBy(CommandDocument(name, number), *keys[0]);
    for (const PrivateKey* key : std::span(keys).subspan(1)) {
      document = package::MergeSignatures(document, SignedBy(CommandDocument(name, number), *key)).value();
    }
    const Trust::Ticket ticket = trust().OnCommand(document, kDevice);
    if (ticket.reason != Reason::None || ticket.lookup != store::CommandLookup::kNew) return ticket.reason;
    EXPECT_EQ(trust().FinishCommand(number, Reason::NoPrevious), base::Status::kOk);
    return Reason::None;
  }
};

}  // namespace dipper::update::test
