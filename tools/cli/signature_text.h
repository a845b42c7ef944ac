// Reads a signature in the forms that signing programs print. Thread-safe: pure functions.
#pragma once

#include <string_view>
#include <vector>

#include "agent/package/crypto.h"

namespace dipper::cli {

/// The signatures that `output` may be, most likely first: r | s (64 bytes) or DER (SEQUENCE of two INTEGERs,
/// as openssl prints it), each raw, in hex, or in base64 with or without line ends. Empty: none of these.
/// Verification decides among several.
/// Source: SEC 1 version 2, section C.8; ITU-T X.690.
std::vector<package::SignatureValue> ReadSignature(std::string_view output);

}  // namespace dipper::cli
