// Whole files over the C library, which tells why an open failed.
#include "tools/lab/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "tools/lab/error.h"

namespace dipper::lab {
namespace {

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Closer>;

[[noreturn]] void FailErrno(const std::string& what, const std::string& path) {
  const int code = errno;
  throw Error(code == ENOENT ? ExitCode::kNotFound : ExitCode::kFailure,
              what + " '" + path + "': " + std::strerror(code) +
                  (code == ENOENT ? "; check the path" : "; check its permissions and the disk"));
}

File OpenForReading(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    throw Error(ExitCode::kFailure, "cannot read '" + path + "': it is a folder; name a file in it");
  }
  File file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) FailErrno("cannot read", path);
  return file;
}

}  // namespace

std::vector<uint8_t> ReadFile(const std::string& path, uint64_t max_bytes) {
  const File file = OpenForReading(path);
  std::vector<uint8_t> bytes;
  constexpr size_t kStep = size_t{1} << 20U;
  for (;;) {
    const size_t before = bytes.size();
    bytes.resize(before + kStep);
    const size_t got = std::fread(bytes.data() + before, 1, kStep, file.get());
    bytes.resize(before + got);
    if (bytes.size() > max_bytes) {
      throw Error(ExitCode::kFailure, "'" + path + "' is larger than the " + std::to_string(max_bytes) +
                                          " bytes that are read here; is it the right file?");
    }
    if (got < kStep) break;
  }
  if (std::ferror(file.get()) != 0) FailErrno("cannot read", path);
  return bytes;
}

std::string ReadTextFile(const std::string& path, uint64_t max_bytes) {
  const std::vector<uint8_t> bytes = ReadFile(path, max_bytes);
  return std::string(base::AsText(bytes));
}

void WriteFile(const std::string& path, base::ByteView bytes, bool secret) {
  const std::string temporary = path + "." + std::to_string(::getpid()) + ".part";
  const int descriptor =
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, secret ? 0600 : 0666);
  File file(descriptor < 0 ? nullptr : ::fdopen(descriptor, "wb"));
  if (file == nullptr) FailErrno("cannot write", path);
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size() &&
                       std::fflush(file.get()) == 0 && ::fsync(::fileno(file.get())) == 0;
  if (!written || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int code = errno;
    std::remove(temporary.c_str());
    errno = code;
    FailErrno("cannot write", path);
  }
}

}  // namespace dipper::lab
