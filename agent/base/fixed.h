// Containers of fixed capacity: no heap, no exceptions; a full container says so instead of growing.
// Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "agent/base/status.h"

namespace dipper::base {

/// Text of at most N bytes.
template <size_t N>
class FixedString {
 public:
  FixedString() = default;
  /// kResourceExhausted: longer than N; unchanged.
  Status Assign(std::string_view text) {
    if (text.size() > N) return Status::kResourceExhausted;
    if (!text.empty()) std::memcpy(data_.data(), text.data(), text.size());
    size_ = static_cast<uint32_t>(text.size());
    return Status::kOk;
  }
  /// Takes the first N bytes: for messages, never for names.
  void AssignTruncated(std::string_view text) {
    const Status status = Assign(text.substr(0, N));
    DIPPER_CHECK(Ok(status));
  }
  std::string_view view() const { return {data_.data(), size_}; }
  bool empty() const { return size_ == 0; }
  static constexpr size_t capacity() { return N; }
  bool operator==(const FixedString& other) const { return view() == other.view(); }

 private:
  std::array<char, N> data_{};
  uint32_t size_ = 0;
};

/// Up to N values in order.
template <typename T, size_t N>
class FixedVector {
 public:
  /// kResourceExhausted: full; unchanged.
  Status PushBack(const T& value) {
    if (size_ == N) return Status::kResourceExhausted;
    data_[size_++] = value;
    return Status::kOk;
  }
  void Clear() { size_ = 0; }
  void EraseAt(size_t index) {
    DIPPER_CHECK(index < size_);
    for (size_t i = index + 1; i < size_; ++i) data_[i - 1] = data_[i];
    --size_;
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool full() const { return size_ == N; }
  static constexpr size_t capacity() { return N; }
  T& operator[](size_t index) {
    DIPPER_CHECK(index < size_);
    return data_[index];
  }
  const T& operator[](size_t index) const {
    DIPPER_CHECK(index < size_);
    return data_[index];
  }
  T* begin() { return data_.data(); }
  T* end() { return data_.data() + size_; }
  const T* begin() const { return data_.data(); }
  const T* end() const { return data_.data() + size_; }

 private:
  std::array<T, N> data_{};
  size_t size_ = 0;
};

/// First-in first-out queue of up to N values.
template <typename T, size_t N>
class FixedQueue {
 public:
  /// kResourceExhausted: full; unchanged.
  Status Push(const T& value) {
    if (size_ == N) return Status::kResourceExhausted;
    data_[(head_ + size_) % N] = value;
    ++size_;
    return Status::kOk;
  }
  T& Front() {
    DIPPER_CHECK(size_ > 0);
    return data_[head_];
  }
  void Pop() {
    DIPPER_CHECK(size_ > 0);
    head_ = (head_ + 1) % N;
    --size_;
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool full() const { return size_ == N; }

 private:
  std::array<T, N> data_{};
  size_t head_ = 0;
  size_t size_ = 0;
};

}  // namespace dipper::base
