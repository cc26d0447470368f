#include "base/escape.h"

namespace markab {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string escape(std::string_view raw, bool all) {
  std::string out;
  out.reserve(raw.size() + 8);
  for (char c : raw) {
    auto byte = static_cast<uint8_t>(c);
    if (!all) {
      switch (c) {
        case '\n':
          out += "\\n";
          continue;
        case '\r':
          out += "\\r";
          continue;
        case '\t':
          out += "\\t";
          continue;
        case '"':
        case '\'':
        case '\\':
          out += '\\';
          out += c;
          continue;
        default:
          break;
      }
      if (byte >= 0x20 && byte < 0x7f) {
        out += c;
        continue;
      }
    }
    out += fmt::format("\\x{:02X}", byte);
  }
  return out;
}

std::string escape_cut(std::string_view raw, size_t limit) {
  if (raw.size() <= limit) return escape(raw);
  return fmt::format("{}...({} bytes)", escape(raw.substr(0, limit)), raw.size());
}

Result<std::string> unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) {
      return Status(Errc::kInvalidParameters, fmt::format("'{}' ends with a backslash", text));
    }
    switch (text[i]) {
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'b':
        out += '\b';
        break;
      case 'a':
        out += '\a';
        break;
      case 'x': {
        int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
        int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0) {
          return Status(
              Errc::kInvalidParameters,
              fmt::format("'\\x' at offset {} of '{}' needs two hex digits", i - 1, text));
        }
        out += static_cast<char>(high << 4 | low);
        i += 2;
        break;
      }
      default:
        out += text[i];
    }
  }
  return out;
}

}  // namespace markab
