// Processes by fork and exec; the broker ends with its parent even when a test crashes.
#include "tests/integration/support/mosquitto.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace dipper::testing {
namespace {

pid_t Spawn(const std::vector<std::string>& arguments, const std::string& log) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  dup2(fd, STDOUT_FILENO);
  dup2(fd, STDERR_FILENO);
  execvp(argv[0], argv.data());
  _exit(127);
}

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

uint16_t FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  uint16_t port = 0;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    port = ntohs(address.sin_port);
  }
  close(fd);
  return port;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string path = std::filesystem::temp_directory_path().string() + "/dipper-test-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) std::abort();
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

int RunProgram(const std::vector<std::string>& arguments, const std::string& log) {
  const pid_t pid = Spawn(arguments, log);
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string FindMosquitto() {
  for (const char* path : {"/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"}) {
    if (access(path, X_OK) == 0) return path;
  }
  return {};
}

int SkipWithoutMosquitto() {
  if (!FindMosquitto().empty()) return 0;
  std::fputs("skipped: no mosquitto found; install it with: apt-get install mosquitto mosquitto-clients\n",
             stderr);
  return 77;
}

Certificates MakeCertificates(const std::string& folder, const std::string& name, const std::string& host) {
  const std::string base = folder + "/" + name;
  const std::string log = base + "-openssl.log";
  Certificates made{base + "-ca.pem", base + ".pem", base + ".key"};
  const bool numeric = host.find_first_not_of("0123456789.") == std::string::npos;
  WriteFile(base + ".ext", std::string("subjectAltName=") + (numeric ? "IP:" : "DNS:") + host + "\n");
  const bool ok =
      RunProgram(
          {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
           "-days", "2", "-subj", "/CN=" + name + " authority", "-keyout", base + "-ca.key", "-out", made.ca},
          log) == 0 &&
      RunProgram({"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                  "/CN=" + host, "-keyout", made.key, "-out", base + ".csr"},
                 log) == 0 &&
      RunProgram({"openssl", "x509", "-req", "-in", base + ".csr", "-CA", made.ca, "-CAkey", base + "-ca.key",
                  "-CAcreateserial", "-days", "2", "-extfile", base + ".ext", "-out", made.cert},
                 log) == 0;
  if (!ok) std::fprintf(stderr, "openssl failed:\n%s\n", ReadFile(log).c_str());
  return made;
}

bool MakePasswordFile(const std::string& path, const std::string& user, const std::string& password) {
  return RunProgram({"mosquitto_passwd", "-b", "-c", path, user, password}, path + ".log") == 0;
}

Mosquitto::Mosquitto(const std::string& folder, MosquittoOptions options)
    : folder_(folder), options_(std::move(options)), port_(FreePort()) {}

Mosquitto::~Mosquitto() { Kill(); }

std::string Mosquitto::Url(const std::string& host) const {
  return (options_.cert.empty() ? "mqtt://" : "mqtts://") + host + ":" + std::to_string(port_);
}

std::string Mosquitto::log() const { return ReadFile(folder_ + "/mosquitto.log"); }

void Mosquitto::WriteConfig() const {
  std::string text = "listener " + std::to_string(port_) + " 127.0.0.1\n";
  if (options_.max_queued_messages != 0) {
    text += "max_queued_messages " + std::to_string(options_.max_queued_messages) + "\n";
  }
  text += options_.password_file.empty() && !options_.client_certificates ? "allow_anonymous true\n"
                                                                          : "allow_anonymous false\n";
  if (!options_.cert.empty()) {
    text += "cafile " + options_.ca + "\ncertfile " + options_.cert + "\nkeyfile " + options_.key + "\n";
  }
  if (options_.client_certificates) text += "require_certificate true\nuse_identity_as_username true\n";
  if (!options_.password_file.empty()) text += "password_file " + options_.password_file + "\n";
  if (!options_.acl_file.empty()) text += "acl_file " + options_.acl_file + "\n";
  if (options_.persistence) text += "persistence true\npersistence_location " + folder_ + "/\n";
  // As root it would otherwise become another user, who may not read the test's files.
  if (geteuid() == 0) text += "user root\n";
  for (const std::string& line : options_.more) text += line + "\n";
  WriteFile(folder_ + "/mosquitto.conf", text);
}

bool Mosquitto::Answers() const {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Loopback(port_);
  const bool answered = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return answered;
}

bool Mosquitto::Start() {
  WriteConfig();
  pid_ = Spawn({FindMosquitto(), "-c", folder_ + "/mosquitto.conf"}, folder_ + "/mosquitto.log");
  for (int i = 0; pid_ > 0 && i < 200; ++i) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = 0;
      break;
    }
    if (Answers()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  Kill();
  std::fprintf(stderr, "mosquitto did not start:\n%s\n", log().c_str());
  return false;
}

void Mosquitto::End(int signal) {
  if (pid_ <= 0) return;
  kill(pid_, signal);
  waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

void Mosquitto::Stop() { End(SIGTERM); }
void Mosquitto::Kill() { End(SIGKILL); }

}  // namespace dipper::testing
