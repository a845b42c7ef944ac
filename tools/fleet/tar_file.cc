// Implementation of tar_file.h.
#include "tools/fleet/tar_file.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::fleet {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = 512;
constexpr size_t kMaxName = 100;  // the name field; the prefix field is not used
constexpr unsigned kModeBits = 07777;
constexpr char kRegular = '0';
constexpr char kFolder = '5';
// GNU tar reads and writes in records of so many blocks, and warns of others.
constexpr size_t kRecord = 20 * kBlock;

/// One header. Numbers are octal with leading zeros and end in a NUL; the checksum is of the header with its
/// own field blank.
std::string Header(const std::string& name, unsigned mode, size_t size, char type) {
  std::array<char, kBlock> header{};
  const auto put = [&](size_t at, std::string_view text) { std::ranges::copy(text, &header[at]); };
  put(0, name);
  put(100, fmt::format("{:07o}", mode));
  put(108, "0000000");  // owner and group: root
  put(116, "0000000");
  put(124, fmt::format("{:011o}", size));
  put(136, "00000000000");  // time
  put(148, "        ");
  header[156] = type;
  put(257, "ustar");
  put(263, "00");
  put(265, "root");
  put(297, "root");
  put(329, "0000000");  // no device
  put(337, "0000000");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum));
  header[154] = '\0';
  return {header.data(), header.size()};
}

[[noreturn]] void Refuse(const std::string& path, const std::string& why) {
  throw lab::Error(lab::ExitCode::kFailure, fmt::format("cannot put {} into an archive: {}", path, why));
}

void AddEntry(const std::string& path, std::string name, std::string* tar) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) Refuse(path, std::strerror(errno));
  const bool folder = S_ISDIR(found.st_mode);
  if (!folder && !S_ISREG(found.st_mode)) Refuse(path, "it is neither a file nor a folder");
  if (folder) name += "/";
  if (name.size() > kMaxName) Refuse(path, fmt::format("its name is longer than {} bytes", kMaxName));
  const unsigned mode = found.st_mode & kModeBits;
  if (folder) {
    *tar += Header(name, mode, 0, kFolder);
    return;
  }
  const std::string content = lab::ReadTextFile(path);
  *tar += Header(name, mode, content.size(), kRegular) + content;
  tar->resize((tar->size() + kBlock - 1) / kBlock * kBlock, '\0');
}

}  // namespace

std::string TarOfFolder(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().string().substr(folder.size() + 1));
  }
  if (error) Refuse(folder, error.message());
  std::ranges::sort(names);
  std::string tar;
  for (const std::string& name : names) AddEntry(folder + "/" + name, name, &tar);
  tar.append(2 * kBlock, '\0');
  tar.resize((tar.size() + kRecord - 1) / kRecord * kRecord, '\0');
  return tar;
}

}  // namespace dipper::fleet
