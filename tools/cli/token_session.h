// TokenSession: one session with the one token that a pkcs11: URI means, found through the module of that URI
// or through all modules that p11-kit knows on this machine. Errors are lab::Error. Not thread-safe.
// Source: PKCS #11 2.40 (OASIS); RFC 7512.
#pragma once

// p11-kit's headers declare the functions of PKCS #11 itself.
#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dipper::cli {

/// A parsed pkcs11: URI. Throws Error (2) for a malformed one, one with a PIN in it, or one that names more
/// than can be matched.
class TokenUri {
 public:
  explicit TokenUri(const std::string& text);
  P11KitUri* get() const { return uri_.get(); }
  const std::string& text() const { return text_; }
  std::string module_path() const;
  std::string pin_source() const;
  /// The object's attributes without its class, which the caller decides.
  std::vector<CK_ATTRIBUTE> Attributes(CK_OBJECT_CLASS* object_class) const;

 private:
  struct Free {
    void operator()(P11KitUri* uri) const { p11_kit_uri_free(uri); }
  };
  std::string text_;
  std::unique_ptr<P11KitUri, Free> uri_;
};

class TokenSession {
 public:
  /// Throws Error: 3 no such module or token (the message lists those that are there); 2 several tokens
  /// match.
  explicit TokenSession(const TokenUri& uri);
  ~TokenSession();
  TokenSession(const TokenSession&) = delete;
  TokenSession& operator=(const TokenSession&) = delete;

  /// Logs in if the token wants that and it was not done. Tries a PIN once only: tokens lock themselves.
  /// Throws Error (1): wrong, locked or expired PIN.
  void LogIn();
  /// Objects with these attributes.
  std::vector<CK_OBJECT_HANDLE> Find(std::vector<CK_ATTRIBUTE> attributes);
  /// An attribute's bytes; empty optional: the object has none, or does not show it.
  std::optional<std::vector<uint8_t>> Get(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
  /// ECDSA over a digest, r | s. Logs in once more for a key that asks for it at each use.
  std::vector<uint8_t> SignDigest(CK_OBJECT_HANDLE key, std::vector<uint8_t> digest);
  /// The label without its padding.
  const std::string& label() const { return label_; }

 private:
  void LoadModules();
  void ChooseSlot();
  void LogInAs(CK_USER_TYPE user);

  const TokenUri& uri_;
  CK_FUNCTION_LIST** all_modules_ = nullptr;  // of p11-kit's configuration
  CK_FUNCTION_LIST* own_module_ = nullptr;    // of the URI
  std::vector<CK_FUNCTION_LIST*> modules_;
  CK_FUNCTION_LIST* module_ = nullptr;
  CK_SESSION_HANDLE session_ = 0;
  CK_FLAGS token_flags_ = 0;
  bool open_ = false;
  bool logged_in_ = false;
  std::string label_;
};

}  // namespace dipper::cli
