// Implementation of group_keys.h.
#include "agent/app/group_keys.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace dipper::app {
namespace {

constexpr size_t kMaxKeyFileBytes = 16 * 1024;
/// A service's user may read by its group (root:dipper, 0640); nobody else may read, nor anybody but the
/// owner write.
constexpr mode_t kForbiddenBits = S_IWGRP | S_IRWXO;

/// A file of at most kMaxKeyFileBytes, wiped when it goes away.
class KeyText {
 public:
  ~KeyText() { ::explicit_bzero(bytes_.data(), bytes_.size()); }
  bool Read(int file) {
    while (length_ < bytes_.size()) {
      const ssize_t got = ::read(file, bytes_.data() + length_, bytes_.size() - length_);
      if (got == 0) return true;
      if (got < 0 && errno != EINTR) return false;
      if (got > 0) length_ += static_cast<size_t>(got);
    }
    errno = EFBIG;
    return false;
  }
  std::string_view text() const { return {bytes_.data(), length_}; }

 private:
  std::array<char, kMaxKeyFileBytes> bytes_{};
  size_t length_ = 0;
};

std::string Octal(mode_t mode) {
  std::string text = "0";
  for (int shift = 6; shift >= 0; shift -= 3) text += static_cast<char>('0' + ((mode >> shift) & 7U));
  return text;
}

/// Empty: read. The permissions are those of the file that is read, not of a name.
std::string ReadKeyFile(const std::string& path, KeyText* key) {
  // Without O_NONBLOCK a pipe would hold the start until somebody writes into it.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (file < 0) {
    const bool missing = errno == ENOENT || errno == ENOTDIR;
    return std::string("cannot be read (") + std::strerror(errno) + "); " +
           (missing ? "put the key there or take it off the list"
                    : "give the agent's user the right to read it (chown, or chmod 0640 with its group)");
  }
  struct stat status {};
  std::string problem;
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    problem = "is not a regular file; name the key's file";
  } else if ((status.st_mode & kForbiddenBits) != 0) {
    problem = "has mode " + Octal(status.st_mode) +
              ": others could read or change the group's key; run: chmod 0600 " + path;
  } else if (!key->Read(file)) {
    problem = std::string("cannot be read (") + std::strerror(errno) + "); is it the key's file?";
  }
  ::close(file);
  return problem;
}

}  // namespace

bool LoadGroupKeys(const std::vector<std::string>& paths, package::GroupKeys* keys, std::string* message) {
  for (const std::string& path : paths) {
    KeyText text;
    std::string problem = ReadKeyFile(path, &text);
    if (problem.empty()) {
      const auto key = package::ParsePrivateKey(text.text());
      if (!key.ok()) {
        problem =
            "is not an unencrypted P-256 private key in PEM form; make one with: dipper key new --kind "
            "group";
      } else if (keys->Add(*key) == base::Status::kAlreadyExists) {
        problem = "holds a key that is there already; name each key once";
      } else if (keys->Find(key->id()) == nullptr) {
        problem = "is one key too many; a device takes at most " + std::to_string(package::kMaxGroupKeys);
      }
    }
    if (!problem.empty()) {
      *message = "trust.group_keys: " + path + " " + problem;
      return false;
    }
  }
  return true;
}

}  // namespace dipper::app
