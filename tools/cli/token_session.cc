// Implementation of token_session.h.
#include "tools/cli/token_session.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>

#include "tools/cli/token_pin.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

constexpr CK_ULONG kMaxFound = 64;
constexpr CK_ULONG kMaxAttributeBytes = 4096;
constexpr const char* kModuleVariable = "DIPPER_PKCS11_MODULE";

[[noreturn]] void Fail(const std::string& what, CK_RV code) {
  throw Error(ExitCode::kFailure,
              fmt::format("{}: {} (PKCS #11 code {:#x})", what, p11_kit_strerror(code), code));
}

void Check(CK_RV code, const std::string& what) {
  if (code != CKR_OK) Fail(what, code);
}

/// PKCS #11 pads texts with blanks and ends them with nothing.
template <size_t kSize>
std::string Padded(const unsigned char (&text)[kSize]) {
  std::string out(text, text + kSize);
  while (!out.empty() && (out.back() == ' ' || out.back() == 0)) out.pop_back();
  return out;
}

}  // namespace

TokenUri::TokenUri(const std::string& text) : text_(text), uri_(p11_kit_uri_new()) {
  const int code = p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_ANY, uri_.get());
  if (code != P11_KIT_URI_OK) {
    throw Error(ExitCode::kUsage, fmt::format("'{}' is no pkcs11: URI ({}); write it as "
                                              "'pkcs11:token=LABEL;object=LABEL'",
                                              text, p11_kit_uri_message(code)));
  }
  if (p11_kit_uri_get_pin_value(uri_.get()) != nullptr) {
    throw Error(
        ExitCode::kUsage,
        "a PIN does not belong on the command line, where every user of this machine can read it; put it "
        "into a file and write pin-source=file:PATH instead of pin-value, or set DIPPER_PKCS11_PIN");
  }
  if (p11_kit_uri_any_unrecognized(uri_.get()) != 0) {
    throw Error(
        ExitCode::kUsage,
        fmt::format("'{}' names an attribute that is not known; token, object, id, serial, manufacturer, "
                    "model, slot-id, module-path and pin-source are",
                    text));
  }
}

std::string TokenUri::module_path() const {
  const char* path = p11_kit_uri_get_module_path(uri_.get());
  if (path == nullptr) path = std::getenv(kModuleVariable);
  return path == nullptr ? "" : path;
}

std::string TokenUri::pin_source() const {
  const char* source = p11_kit_uri_get_pin_source(uri_.get());
  return source == nullptr ? "" : source;
}

std::vector<CK_ATTRIBUTE> TokenUri::Attributes(CK_OBJECT_CLASS* object_class) const {
  CK_ULONG count = 0;
  const CK_ATTRIBUTE* first = p11_kit_uri_get_attributes(uri_.get(), &count);
  std::vector<CK_ATTRIBUTE> attributes = {{CKA_CLASS, object_class, sizeof(*object_class)}};
  for (CK_ULONG i = 0; i < count; ++i) {
    if (first[i].type != CKA_CLASS) attributes.push_back(first[i]);
  }
  return attributes;
}

TokenSession::TokenSession(const TokenUri& uri) : uri_(uri) {
  LoadModules();
  ChooseSlot();
}

TokenSession::~TokenSession() {
  if (open_) module_->C_CloseSession(session_);
  if (own_module_ != nullptr) {
    p11_kit_module_finalize(own_module_);
    p11_kit_module_release(own_module_);
  }
  if (all_modules_ != nullptr) p11_kit_modules_finalize_and_release(all_modules_);
}

void TokenSession::LoadModules() {
  const std::string path = uri_.module_path();
  if (path.empty()) {
    all_modules_ = p11_kit_modules_load_and_initialize(0);
    for (CK_FUNCTION_LIST** at = all_modules_; at != nullptr && *at != nullptr; ++at) modules_.push_back(*at);
    if (!modules_.empty()) return;
    throw Error(
        ExitCode::kNotFound,
        fmt::format("no PKCS #11 module is registered on this machine; add module-path=/path/to/module.so "
                    "to the URI ('{}?module-path=...'), or set {}",
                    uri_.text(), kModuleVariable));
  }
  if (path.front() != '/') {
    throw Error(ExitCode::kUsage, fmt::format("module-path '{}' is not absolute", path));
  }
  CK_FUNCTION_LIST* module = p11_kit_module_load(path.c_str(), 0);
  if (module == nullptr) {
    const char* why = p11_kit_message();
    throw Error(ExitCode::kNotFound, fmt::format("the PKCS #11 module {} cannot be loaded{}", path,
                                                 why == nullptr ? "" : fmt::format(": {}", why)));
  }
  const CK_RV code = p11_kit_module_initialize(module);
  if (code != CKR_OK) {
    p11_kit_module_release(module);
    Fail(fmt::format("the PKCS #11 module {} does not start", path), code);
  }
  own_module_ = module;
  modules_ = {module};
}

void TokenSession::ChooseSlot() {
  CK_SLOT_ID chosen = 0;
  std::string matching;
  std::string others;
  size_t matches = 0;
  for (CK_FUNCTION_LIST* module : modules_) {
    std::array<CK_SLOT_ID, kMaxFound> slots{};
    CK_ULONG count = slots.size();
    if (module->C_GetSlotList(CK_TRUE, slots.data(), &count) != CKR_OK) continue;
    for (CK_ULONG i = 0; i < count; ++i) {
      CK_TOKEN_INFO info{};
      if (module->C_GetTokenInfo(slots[i], &info) != CKR_OK) continue;
      const CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(uri_.get());
      const bool match = p11_kit_uri_match_token_info(uri_.get(), &info) != 0 &&
                         (wanted == static_cast<CK_SLOT_ID>(-1) || wanted == slots[i]) &&
                         (info.flags & CKF_TOKEN_INITIALIZED) != 0;
      const std::string label =
          fmt::format("'{}' (serial {})", Padded(info.label), Padded(info.serialNumber));
      std::string& list = match ? matching : others;
      list += (list.empty() ? "" : ", ") + label;
      if (!match) continue;
      ++matches;
      module_ = module;
      chosen = slots[i];
      token_flags_ = info.flags;
      label_ = Padded(info.label);
    }
  }
  if (matches == 0) {
    throw Error(ExitCode::kNotFound,
                fmt::format("no token matches '{}'; {}", uri_.text(),
                            others.empty() ? "none is there: is it plugged in, and is this its module?"
                                           : "there are: " + others));
  }
  if (matches > 1) {
    throw Error(ExitCode::kUsage,
                fmt::format("'{}' matches several tokens: {}; add ;serial=... to it", uri_.text(), matching));
  }
  Check(module_->C_OpenSession(chosen, CKF_SERIAL_SESSION, nullptr, nullptr, &session_),
        fmt::format("token {} opens no session", label_));
  open_ = true;
}

void TokenSession::LogIn() {
  if (logged_in_ || (token_flags_ & CKF_LOGIN_REQUIRED) == 0) return;
  LogInAs(CKU_USER);
  logged_in_ = true;
}

void TokenSession::LogInAs(CK_USER_TYPE user) {
  CK_RV code = CKR_OK;
  if ((token_flags_ & CKF_PROTECTED_AUTHENTICATION_PATH) != 0) {
    code = module_->C_Login(session_, user, nullptr, 0);  // the reader has keys of its own
  } else {
    TokenPin pin = AskPin(uri_.pin_source(), label_);
    code = module_->C_Login(session_, user, reinterpret_cast<unsigned char*>(pin.text().data()),
                            pin.text().size());
  }
  switch (code) {
    case CKR_OK:
    case CKR_USER_ALREADY_LOGGED_IN:
      return;
    case CKR_PIN_INCORRECT:
    case CKR_PIN_LEN_RANGE:
    case CKR_PIN_INVALID:
      throw Error(
          ExitCode::kFailure,
          fmt::format("wrong PIN for token {}; it was tried once, and tokens lock themselves after a few",
                      label_));
    case CKR_PIN_LOCKED:
      throw Error(ExitCode::kFailure,
                  fmt::format("token {} is locked after too many wrong PINs; its security officer unlocks it",
                              label_));
    case CKR_PIN_EXPIRED:
    case CKR_USER_PIN_NOT_INITIALIZED:
      throw Error(ExitCode::kFailure,
                  fmt::format("token {} has no PIN yet, or one that must be changed first", label_));
    default:
      Fail(fmt::format("token {} does not let us in", label_), code);
  }
}

std::vector<CK_OBJECT_HANDLE> TokenSession::Find(std::vector<CK_ATTRIBUTE> attributes) {
  Check(module_->C_FindObjectsInit(session_, attributes.data(), attributes.size()),
        fmt::format("token {} cannot be searched", label_));
  std::vector<CK_OBJECT_HANDLE> found(kMaxFound);
  CK_ULONG count = 0;
  const CK_RV code = module_->C_FindObjects(session_, found.data(), kMaxFound, &count);
  module_->C_FindObjectsFinal(session_);
  Check(code, fmt::format("token {} cannot be searched", label_));
  found.resize(count);
  return found;
}

std::optional<std::vector<uint8_t>> TokenSession::Get(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  CK_ATTRIBUTE attribute{type, nullptr, 0};
  if (module_->C_GetAttributeValue(session_, object, &attribute, 1) != CKR_OK) return std::nullopt;
  if (attribute.ulValueLen == 0 || attribute.ulValueLen > kMaxAttributeBytes) return std::nullopt;
  std::vector<uint8_t> bytes(attribute.ulValueLen);
  attribute.pValue = bytes.data();
  if (module_->C_GetAttributeValue(session_, object, &attribute, 1) != CKR_OK) return std::nullopt;
  bytes.resize(attribute.ulValueLen);
  return bytes;
}

std::vector<uint8_t> TokenSession::SignDigest(CK_OBJECT_HANDLE key, std::vector<uint8_t> digest) {
  const std::string what = fmt::format("token {} did not sign", label_);
  CK_MECHANISM mechanism{CKM_ECDSA, nullptr, 0};
  Check(module_->C_SignInit(session_, &mechanism, key), what);
  const auto each_time = Get(key, CKA_ALWAYS_AUTHENTICATE);
  if (each_time && each_time->front() == CK_TRUE) LogInAs(CKU_CONTEXT_SPECIFIC);
  std::vector<uint8_t> value(256);
  CK_ULONG length = value.size();
  Check(module_->C_Sign(session_, digest.data(), digest.size(), value.data(), &length), what);
  value.resize(length);
  return value;
}

}  // namespace dipper::cli
