// A listening Unix stream socket. Used by hal/linux and agent/app. Not thread-safe: it sets the process's
// umask for a moment.
#pragma once

#include <cstdint>
#include <string>

#include "agent/base/status.h"

namespace dipper::hal {

/// Listens at `path`, non-blocking. A socket file that nobody answers at is replaced, anything else is not.
/// @param mode   Permission bits of the file; right before anybody can connect.
/// @param queue  Connections that may wait to be accepted.
/// @param fd     Set on kOk only; whoever closes it unlinks the file too.
/// @returns kInvalidArgument: the path is empty, too long for a socket, or something else lies there;
///   kAlreadyExists: another process serves it; kUnavailable: it cannot be made there, errno says why.
base::Status ListenUnix(const std::string& path, uint32_t mode, int queue, int* fd);

}  // namespace dipper::hal
