// Gives memory back that only the start, a connection's beginning or an update needed. Linux with glibc or
// musl.
#pragma once

namespace dipper::app {

/// Returns free heap pages to the system and unmaps the pages of code and constants of the program and its
/// libraries. Those in use come back from the page cache one by one, without a read unless the system was
/// short of memory and dropped them; what stays away is code that runs once: dynamic linking, reading the
/// configuration, OpenSSL's start, handshakes, verifying a package. Nothing that was written is touched.
///
/// Cost: one madvise per read-only segment, less than 1 ms together, and about a hundred minor page faults
/// afterwards. No heap. Any thread, at any time.
void TrimMemory();

}  // namespace dipper::app
