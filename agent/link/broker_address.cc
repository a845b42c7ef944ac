// Name look-up, TCP connect and TLS handshake with OpenSSL, only to name what fails.
#include "agent/link/broker_address.h"

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <string_view>

namespace dipper::link {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Scheme {
  std::string_view prefix;
  std::string_view paho;
  std::string_view port;
  bool tls;
  bool websocket;
};
constexpr std::array<Scheme, 4> kSchemes = {{{"mqtt://", "tcp://", "1883", false, false},
                                             {"mqtts://", "ssl://", "8883", true, false},
                                             {"ws://", "ws://", "80", false, true},
                                             {"wss://", "wss://", "443", true, true}}};

struct Deadline {
  SteadyClock::time_point at;
  const std::atomic<bool>& stop;
  // Waits for `events` on `fd` in short steps. False: too late or stopped.
  bool Wait(int fd, short events) const {
    while (!stop && SteadyClock::now() < at) {
      pollfd entry{fd, events, 0};
      if (poll(&entry, 1, 100) > 0) return true;
    }
    return false;
  }
};

struct Socket {
  int fd = -1;
  ~Socket() {
    if (fd >= 0) close(fd);
  }
};

// Connects `socket`; returns what failed, or an empty text.
std::string ConnectTcp(const BrokerAddress& address, const Deadline& deadline, Socket* out) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int found = getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &list);
  if (found != 0) return "the name " + address.host + " cannot be resolved: " + gai_strerror(found);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, freeaddrinfo);
  std::string error = "no address";
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    Socket socket_now{socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol)};
    if (socket_now.fd < 0) continue;
    int code = connect(socket_now.fd, at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
    if (code == EINPROGRESS) {
      if (!deadline.Wait(socket_now.fd, POLLOUT))
        return "no answer from " + address.host + ":" + address.port;
      socklen_t size = sizeof code;
      getsockopt(socket_now.fd, SOL_SOCKET, SO_ERROR, &code, &size);
    }
    if (code == 0) {
      std::swap(out->fd, socket_now.fd);
      return {};
    }
    error = std::strerror(code);
  }
  return address.host + ":" + address.port + ": " + error;
}

std::string LastOpenSslError() {
  std::array<char, 256> text{};
  const unsigned long code = ERR_peek_last_error();
  if (code == 0) return "the connection was closed";
  const char* reason = ERR_reason_error_string(code);
  if (reason != nullptr) return reason;
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

bool IsNumericAddress(const std::string& host) {
  return host.find_first_not_of("0123456789.") == std::string::npos || host.find(':') != std::string::npos;
}

std::string HandshakeError(SSL* ssl) {
  const long verify = SSL_get_verify_result(ssl);
  if (verify == X509_V_ERR_HOSTNAME_MISMATCH || verify == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    return "the broker's certificate is for another host name; use the name in the certificate, or make a "
           "new one";
  }
  if (verify != X509_V_OK) {
    return std::string("the broker's certificate is not trusted (") + X509_verify_cert_error_string(verify) +
           "); check ca_file";
  }
  return "TLS handshake failed: " + LastOpenSslError();
}

std::string Handshake(const BrokerAddress& address, const MqttConfig& config, int fd,
                      const Deadline& deadline) {
  ERR_clear_error();
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (!context) return "TLS cannot start: " + LastOpenSslError();
  if (SSL_CTX_load_verify_locations(context.get(), config.ca_file.c_str(), nullptr) != 1) {
    return "ca_file " + config.ca_file + " cannot be read: " + LastOpenSslError();
  }
  if (!config.cert_file.empty() &&
      (SSL_CTX_use_certificate_chain_file(context.get(), config.cert_file.c_str()) != 1 ||
       SSL_CTX_use_PrivateKey_file(context.get(), config.key_file.c_str(), SSL_FILETYPE_PEM) != 1)) {
    return "cert_file or key_file cannot be used: " + LastOpenSslError();
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  const std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context.get()), SSL_free);
  if (!ssl || SSL_set_fd(ssl.get(), fd) != 1) return "TLS cannot start: " + LastOpenSslError();
  if (IsNumericAddress(address.host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), address.host.c_str());
  } else {
    SSL_set1_host(ssl.get(), address.host.c_str());
    // SSL_set_tlsext_host_name is a macro with an old-style cast.
    SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(address.host.c_str()));
  }
  while (true) {
    const int done = SSL_connect(ssl.get());
    if (done == 1) break;
    const int want = SSL_get_error(ssl.get(), done);
    if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE) return HandshakeError(ssl.get());
    if (!deadline.Wait(fd, want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT))
      return "no answer to the TLS handshake";
  }
  // With TLS 1.3 a broker refuses our certificate only after the handshake: one read shows it.
  std::array<char, 1> byte{};
  const Deadline soon{std::min(deadline.at, SteadyClock::now() + std::chrono::milliseconds(500)),
                      deadline.stop};
  if (soon.Wait(fd, POLLIN) && SSL_read(ssl.get(), byte.data(), 1) <= 0 && ERR_peek_last_error() != 0) {
    return "the broker refused the TLS session: " + LastOpenSslError() + "; check cert_file and key_file";
  }
  return {};
}

}  // namespace

std::optional<BrokerAddress> ParseBrokerUrl(const std::string& url) {
  for (const Scheme& scheme : kSchemes) {
    if (!url.starts_with(scheme.prefix)) continue;
    std::string rest = url.substr(scheme.prefix.size());
    const size_t slash = rest.find('/');
    const std::string path = slash == std::string::npos ? "" : rest.substr(slash);
    if (!path.empty() && path != "/" && !scheme.websocket) return std::nullopt;
    rest.resize(std::min(rest.size(), slash));
    BrokerAddress address{scheme.tls, scheme.websocket, rest, std::string(scheme.port), {}};
    const size_t colon = rest.rfind(':');
    const size_t bracket = rest.rfind(']');
    if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
      address.host = rest.substr(0, colon);
      address.port = rest.substr(colon + 1);
    }
    const bool port_ok = !address.port.empty() && address.port.size() <= 5 &&
                         address.port.find_first_not_of("0123456789") == std::string::npos &&
                         std::stoi(address.port) >= 1 && std::stoi(address.port) <= 65535;
    if (address.host.empty() || !port_ok || address.host.find_first_of("@ \t\r\n") != std::string::npos) {
      return std::nullopt;
    }
    address.paho_url = std::string(scheme.paho) + address.host + ":" + address.port + path;
    if (address.host.front() == '[' && address.host.back() == ']') {
      address.host = address.host.substr(1, address.host.size() - 2);
    }
    return address;
  }
  return std::nullopt;
}

std::string DiagnoseConnect(const BrokerAddress& address, const MqttConfig& config, int timeout_ms,
                            const std::atomic<bool>& stop) {
  const Deadline deadline{SteadyClock::now() + std::chrono::milliseconds(timeout_ms), stop};
  Socket socket;
  std::string error = ConnectTcp(address, deadline, &socket);
  if (error.empty() && address.tls) error = Handshake(address, config, socket.fd, deadline);
  if (error.empty()) error = address.host + ":" + address.port + " answers, but not as an MQTT broker";
  return error;
}

}  // namespace dipper::link
