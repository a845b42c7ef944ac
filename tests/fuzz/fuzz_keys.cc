// Implementation of fuzz_keys.h. The key is the published one of RFC 6979, appendix A.2.5.
#include "tests/fuzz/fuzz_keys.h"

#include "agent/package/table.h"

namespace dipper::fuzz {
namespace {

constexpr const char* kPem =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIMmvqdhFunUWa1whV2ex1pNOUMPbNuibEnuKYisSD2choAoGCCqGSM49\n"
    "AwEHoUQDQgAEYP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Z5A/4QCLi8\n"
    "maQa6elWKLxk8vGyDC1+n1F3o8KU1EYimQ==\n"
    "-----END EC PRIVATE KEY-----\n";

package::TrustRoot MakeRoot() {
  schema::RootT table;
  table.version = 1;
  table.expires = 4'000'000'000;
  table.keys.push_back(package::ToSchema(Key().public_key()));
  for (uint8_t i = 0; i < package::kRoleCount; ++i) {
    table.roles.push_back(package::MakeRole(static_cast<schema::RoleName>(i), 1, {0}));
  }
  const auto bytes = package::BuildRoot(table, {&Key(), 1});
  package::TrustRoot root;
  DIPPER_CHECK(package::TrustRoot::Parse(bytes.value(), &root) == schema::Reason::None);
  return root;
}

}  // namespace

const package::PrivateKey& Key() {
  static const package::PrivateKey key = package::ParsePrivateKey(kPem).value();
  return key;
}

const package::TrustRoot& Root() {
  static const package::TrustRoot root = MakeRoot();
  return root;
}

package::Bytes Sealed(package::Domain domain, base::ByteView payload) {
  schema::SignedT table;
  table.payload.assign(payload.begin(), payload.end());
  const auto value = package::Sign(Key(), package::SigningDigest(domain, payload));
  table.signatures.emplace_back(package::ToSchema(Key().id()), value.value().rs);
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Signed::Pack(builder, &table), package::kSignedKind);
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

package::Bytes DocumentOf(package::Domain domain, base::ByteView input) {
  if (input.empty()) return {};
  const base::ByteView rest = input.subspan(1);
  if (input[0] == 0 || rest.size() > 8192) return {rest.begin(), rest.end()};
  return Sealed(domain, rest);
}

}  // namespace dipper::fuzz
