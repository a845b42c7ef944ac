// A Mosquitto of the test's own: finds the program, writes its configuration, starts it on a free loopback
// port and ends it by its process id. Also certificates and a folder for them. POSIX. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dipper::testing {

/// A folder that is gone when the test is over.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void WriteFile(const std::string& path, const std::string& text);
std::string ReadFile(const std::string& path);
/// Runs a program without a shell, output to `log`; returns its exit status, or -1.
int RunProgram(const std::vector<std::string>& arguments, const std::string& log);

/// Path of the broker; empty when it is not installed.
std::string FindMosquitto();
/// For main(): 0 when there is a broker, otherwise prints what to install and returns 77, CTest's "skipped".
int SkipWithoutMosquitto();

/// An authority and a certificate for `host`, made with the openssl program.
struct Certificates {
  std::string ca;
  std::string cert = {};
  std::string key = {};
};
/// Makes `<name>-ca.pem`, `<name>.pem`, `<name>.key` in `folder`. `host`: a DNS name or an IPv4 address.
Certificates MakeCertificates(const std::string& folder, const std::string& name, const std::string& host);

struct MosquittoOptions {
  std::string ca = {};  ///< With cert and key: TLS.
  std::string cert = {};
  std::string key = {};
  bool client_certificates =
      false;  ///< TLS: ask for one of the authority `ca`; its name becomes the user name.
  std::string password_file = {};
  std::string acl_file = {};
  bool persistence = false;
  uint32_t max_queued_messages = 20000;  ///< A client; 0: Mosquitto's own limit.
  std::vector<std::string> more = {};    ///< Lines added to the configuration.
};

class Mosquitto {
 public:
  /// Keeps its files in `folder`. Takes a free port and holds on to its number over restarts.
  Mosquitto(const std::string& folder, MosquittoOptions options = {});
  ~Mosquitto();
  Mosquitto(const Mosquitto&) = delete;
  Mosquitto& operator=(const Mosquitto&) = delete;

  /// Starts and waits until it answers. False: see log().
  bool Start();
  void Stop();  ///< SIGTERM: saves persistent data.
  void Kill();  ///< SIGKILL.
  bool running() const { return pid_ > 0; }
  uint16_t port() const { return port_; }
  pid_t pid() const { return pid_; }
  /// mqtt:// or mqtts:// with `host`.
  std::string Url(const std::string& host = "127.0.0.1") const;
  std::string log() const;

 private:
  void WriteConfig() const;
  bool Answers() const;
  void End(int signal);

  std::string folder_;
  MosquittoOptions options_;
  uint16_t port_;
  pid_t pid_ = 0;
};

/// Makes a password file with mosquitto_passwd. False: not possible.
bool MakePasswordFile(const std::string& path, const std::string& user, const std::string& password);

}  // namespace dipper::testing
