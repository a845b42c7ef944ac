// Spec text (TOML, docs/reference/spec.md) to compiled spec and back. Errors are lab::Error with "file:line:
// what". Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/schema/spec_generated.h"

namespace dipper::lab {

/// Parses and checks a spec text. Unknown keys, wrong types and values out of range are errors that name the
/// line and what is allowed. `file_name` is for messages.
schema::SpecT ParseSpecText(std::string_view text, const std::string& file_name);

/// Reads and parses a spec file; a file that starts with the compiled form's identifier is taken as compiled.
schema::SpecT LoadSpec(const std::string& path);

/// The bytes that a device reads. Equal specs give equal bytes.
std::vector<uint8_t> CompileSpec(const schema::SpecT& spec);

/// A compiled spec as an object again. Throws Error (5) when the bytes are not a spec.
schema::SpecT DecompileSpec(base::ByteView bytes);

/// The text form: what `dipper spec init` and `spec show` print; parses back to an equal spec.
std::string PrintSpecText(const schema::SpecT& spec);

}  // namespace dipper::lab
