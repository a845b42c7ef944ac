// A write that fails on a broken connection, as Paho can bear it.
#pragma once

namespace dipper::link {

/// Links the program's own `writev` and `SSL_write` in, which Paho C then uses in place of the C library's
/// and OpenSSL's. They do the same, but for a write that fails for good on an internet socket: that shuts the
/// socket down and counts as written.
///
/// Why: where handing a QoS 1 message to the socket fails, Paho C 1.3 frees its topic and payload and keeps
/// the message among those to send again, so that the next connection reads freed memory and frees it twice
/// (issues 1621 and 1622 of eclipse-paho/paho.mqtt.c). A message that counts as written stays whole until its
/// PUBACK; the reader meets the end of the connection at once, and that is where a lost connection is told.
/// Nothing is lost by it: who publishes waits for the PUBACK.
///
/// Returns true where the program's `writev` is indeed the one that libraries find. Cost of a write that
/// succeeds: one more call. Thread-safe.
bool UseLostWrites();

}  // namespace dipper::link
