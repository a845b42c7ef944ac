// SaxBrackets: the calls of nlohmann's SAX parser that every handler answers alike. Handler has Open(bool
// array) and Close(), which say whether to go on.
#pragma once

#include <cstddef>
#include <string>

namespace dipper::stream {

template <typename Handler>
class SaxBrackets {
 public:
  template <typename Binary>
  bool binary(const Binary&) {
    return false;  // no such thing in a text
  }
  bool start_object(size_t) { return handler().Open(false); }
  bool start_array(size_t) { return handler().Open(true); }
  bool end_object() { return handler().Close(); }
  bool end_array() { return handler().Close(); }
  template <typename Exception>
  bool parse_error(size_t, const std::string&, const Exception&) {
    return false;
  }

 protected:
  ~SaxBrackets() = default;

 private:
  Handler& handler() { return static_cast<Handler&>(*this); }
};

}  // namespace dipper::stream
