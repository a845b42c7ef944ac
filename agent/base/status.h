// Status codes and Result, the only error channel below link and app. No strings inside: detail goes to
// events and logs. Thread-safe: plain values.
#pragma once

#include <cstdint>
#include <new>
#include <utility>

#include "agent/base/assert.h"

namespace dipper::base {

/// Outcome of an operation. Each function documents what a code means for it.
enum class [[nodiscard]] Status : uint8_t{
    kOk = 0,
    kInvalidArgument,     ///< The caller's input is not acceptable; nothing changed.
    kNotFound,            ///< The named thing does not exist (any more).
    kDataLoss,            ///< Stored or received bytes are damaged or inconsistent.
    kResourceExhausted,   ///< A fixed capacity is too small for the request.
    kFailedPrecondition,  ///< The state does not allow this now.
    kUnavailable,         ///< An I/O partner failed; trying again may help.
    kUnimplemented,       ///< Unknown layout, version or kind.
    kPermissionDenied,    ///< Signature, role, floor or policy says no.
    kOutOfRange,          ///< Past the end of a partition, stream or window.
    kAborted,             ///< Cancelled or superseded.
    kDeadlineExceeded,    ///< Too late, or expired.
    kAlreadyExists,       ///< A duplicate; the first one counts.
    kInternal,            ///< A broken invariant that was noticed in time.
};

/// Name as printed in events and messages, for example "data_loss".
const char* StatusName(Status status);

constexpr bool Ok(Status status) { return status == Status::kOk; }

/// A value or the status that explains its absence. value() on a failed result is a programmer error.
template <typename T>
class [[nodiscard]] Result {
 public:
  // Implicit on purpose: `return Status::kNotFound;` and `return value;` read as what they are.
  Result(Status status) : status_(status) {  // NOLINT(google-explicit-constructor)
    DIPPER_CHECK(status != Status::kOk);
  }
  Result(const T& value) : status_(Status::kOk) { new (&storage_.value) T(value); }        // NOLINT
  Result(T&& value) : status_(Status::kOk) { new (&storage_.value) T(std::move(value)); }  // NOLINT
  Result(const Result& other) : status_(other.status_) {
    if (ok()) new (&storage_.value) T(other.storage_.value);
  }
  Result(Result&& other) noexcept : status_(other.status_) {
    if (ok()) new (&storage_.value) T(std::move(other.storage_.value));
  }
  Result& operator=(const Result& other) {
    if (this != &other) {
      this->~Result();
      new (this) Result(other);
    }
    return *this;
  }
  Result& operator=(Result&& other) noexcept {
    if (this != &other) {
      this->~Result();
      new (this) Result(std::move(other));
    }
    return *this;
  }
  ~Result() {
    if (ok()) storage_.value.~T();
  }

  bool ok() const { return status_ == Status::kOk; }
  Status status() const { return status_; }

  T& value() & {
    DIPPER_CHECK(ok());
    return storage_.value;
  }
  const T& value() const& {
    DIPPER_CHECK(ok());
    return storage_.value;
  }
  T&& value() && {
    DIPPER_CHECK(ok());
    return std::move(storage_.value);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  union Storage {
    Storage() : none(0) {}
    ~Storage() {}
    char none;
    T value;
  } storage_;
  Status status_;
};

}  // namespace dipper::base

// Evaluates `expr` (a Status) and returns it from the enclosing function unless it is kOk.
#define DIPPER_RETURN_IF_ERROR(expr)                                          \
  do {                                                                        \
    const ::dipper::base::Status dipper_status_ = (expr);                     \
    if (dipper_status_ != ::dipper::base::Status::kOk) return dipper_status_; \
  } while (false)

#define DIPPER_CONCAT_INNER(a, b) a##b
#define DIPPER_CONCAT(a, b) DIPPER_CONCAT_INNER(a, b)

// DIPPER_ASSIGN_OR_RETURN(auto x, F()): returns F's status on failure, otherwise moves its value into x.
#define DIPPER_ASSIGN_OR_RETURN(declaration, expr)           \
  auto DIPPER_CONCAT(dipper_result_, __LINE__) = (expr);     \
  if (!DIPPER_CONCAT(dipper_result_, __LINE__).ok())         \
    return DIPPER_CONCAT(dipper_result_, __LINE__).status(); \
  declaration = std::move(DIPPER_CONCAT(dipper_result_, __LINE__)).value()
