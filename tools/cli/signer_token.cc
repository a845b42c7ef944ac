// Signing with a key in a PKCS #11 token: a smart card, a USB key, an HSM, SoftHSM. The key never leaves it.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "tools/cli/signer.h"
#include "tools/lab/error.h"
#ifdef DIPPER_CLI_TOKENS
#include "tools/cli/token_session.h"
#endif

namespace dipper::cli {

using lab::Error;
using lab::ExitCode;

#ifdef DIPPER_CLI_TOKENS
namespace {

/// OBJECT IDENTIFIER 1.2.840.10045.3.1.7, prime256v1.
constexpr std::array<uint8_t, 10> kP256 = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
constexpr size_t kPointBytes = 65;

class TokenSigner final : public Signer {
 public:
  TokenSigner(const std::string& uri, bool only_public) : uri_(uri), session_(uri_) {
    name_ = fmt::format("token {}", session_.label());
    if (only_public && FindPublicAlone()) return;
    session_.LogIn();
    FindPrivate();
    CheckCurve(private_);
    ReadPoint(private_, PublicOf(private_));
  }

 private:
  [[noreturn]] void NoKey(CK_OBJECT_CLASS object_class, size_t found) {
    std::vector<CK_ATTRIBUTE> any = {{CKA_CLASS, &object_class, sizeof(object_class)}};
    std::string labels;
    for (const CK_OBJECT_HANDLE object : session_.Find(any)) {
      const auto label = session_.Get(object, CKA_LABEL);
      labels += labels.empty() ? "" : ", ";
      labels +=
          label ? fmt::format("'{}'", std::string(label->begin(), label->end())) : "one without a label";
    }
    if (found == 0) {
      throw Error(ExitCode::kNotFound, fmt::format("{} has no private key that matches '{}'; it has: {}",
                                                   name_, uri_.text(), labels.empty() ? "none" : labels));
    }
    throw Error(ExitCode::kUsage,
                fmt::format("'{}' matches {} keys of {} ({}); add ;object=LABEL or ;id=%01 to it",
                            uri_.text(), found, name_, labels));
  }

  void FindPrivate() {
    CK_OBJECT_CLASS object_class = CKO_PRIVATE_KEY;
    const auto found = session_.Find(uri_.Attributes(&object_class));
    if (found.size() != 1) NoKey(object_class, found.size());
    private_ = found.front();
  }

  /// Whether the token shows the public half to everybody.
  bool FindPublicAlone() {
    CK_OBJECT_CLASS object_class = CKO_PUBLIC_KEY;
    const auto found = session_.Find(uri_.Attributes(&object_class));
    if (found.size() > 1) NoKey(object_class, found.size());
    if (found.empty()) return false;
    CheckCurve(found.front());
    ReadPoint(found.front(), found.front());
    return true;
  }

  /// The public key with the same CKA_ID (or, without one, label) as the private one; that one if there is
  /// none.
  CK_OBJECT_HANDLE PublicOf(CK_OBJECT_HANDLE key) {
    for (const CK_ATTRIBUTE_TYPE type : {CKA_ID, CKA_LABEL}) {
      auto value = session_.Get(key, type);
      if (!value) continue;
      CK_OBJECT_CLASS object_class = CKO_PUBLIC_KEY;
      const auto found = session_.Find(
          {{CKA_CLASS, &object_class, sizeof(object_class)}, {type, value->data(), value->size()}});
      if (found.size() == 1) return found.front();
    }
    return key;
  }

  void CheckCurve(CK_OBJECT_HANDLE key) {
    const auto parameters = session_.Get(key, CKA_EC_PARAMS);
    if (parameters && std::equal(parameters->begin(), parameters->end(), kP256.begin(), kP256.end())) return;
    throw Error(ExitCode::kVerificationFailed,
                fmt::format("the key '{}' in {} is not on P-256; dipper signs with P-256 (prime256v1) only",
                            uri_.text(), name_));
  }

  void ReadPoint(CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE public_half) {
    auto point = session_.Get(public_half, CKA_EC_POINT);
    if (!point) point = session_.Get(key, CKA_EC_POINT);
    // A DER OCTET STRING by the standard; some tokens give the point itself.
    const bool wrapped =
        point && point->size() == kPointBytes + 2 && (*point)[0] == 0x04 && (*point)[1] == 65;
    const size_t start = wrapped ? 2 : 0;
    if (!point || point->size() != start + kPointBytes || (*point)[start] != 0x04) {
      throw Error(
          ExitCode::kNotFound,
          fmt::format("{} does not show the public half of '{}'; store the public key beside the private "
                      "one, with the same id",
                      name_, uri_.text()));
    }
    std::copy(point->begin() + static_cast<std::ptrdiff_t>(start) + 1, point->end(), public_key_.xy.begin());
    if (!base::Ok(package::CheckPublicKey(public_key_))) {
      throw Error(ExitCode::kVerificationFailed,
                  fmt::format("{} gives a public key that is no point of P-256", name_));
    }
  }

  package::SignatureValue SignUnchecked(const SigningRequest& request) override {
    const base::Digest digest = request.digest();
    const auto bytes = session_.SignDigest(private_, {digest.bytes.begin(), digest.bytes.end()});
    package::SignatureValue value;
    if (bytes.size() != value.rs.size()) {
      throw Error(ExitCode::kFailure, fmt::format("{} gave a signature of {} bytes instead of {}", name_,
                                                  bytes.size(), value.rs.size()));
    }
    std::copy(bytes.begin(), bytes.end(), value.rs.begin());
    return value;
  }

  TokenUri uri_;
  TokenSession session_;
  CK_OBJECT_HANDLE private_ = 0;
};

}  // namespace

std::unique_ptr<Signer> OpenTokenSigner(const std::string& uri, bool only_public) {
  return std::make_unique<TokenSigner>(uri, only_public);
}
#else
std::unique_ptr<Signer> OpenTokenSigner(const std::string&, bool) {
  throw Error(ExitCode::kFailure,
              "this dipper was built without PKCS #11; install libp11-kit-dev and build it again");
}
#endif

}  // namespace dipper::cli
