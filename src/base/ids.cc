#include "base/ids.h"

#include <charconv>

namespace markab {
namespace {

template <typename T>
bool parse_whole(std::string_view text, T& out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

Result<Gpid> Gpid::parse(std::string_view text) {
  Gpid out;
  auto dot = text.find('.');
  if (dot == std::string_view::npos || !parse_whole(text.substr(0, dot), out.app_id) ||
      !parse_whole(text.substr(dot + 1), out.partition_index) || out.app_id < 0 ||
      out.partition_index < 0) {
    return Status(
        Errc::kInvalidParameters,
        fmt::format("'{}' is not a partition; expected <table id>.<index>, as in 2.3", text));
  }
  return out;
}

std::string HostPort::host() const {
  return fmt::format("{}.{}.{}.{}", ipv4 >> 24, ipv4 >> 16 & 255, ipv4 >> 8 & 255, ipv4 & 255);
}

std::string HostPort::to_string() const { return *this ? fmt::format("{}:{}", host(), port) : "-"; }

Result<HostPort> HostPort::parse(std::string_view text) {
  auto bad = [&] {
    return Status(
        Errc::kInvalidParameters,
        fmt::format("'{}' is not an address; expected IPv4:port, as in 127.0.0.1:34601", text));
  };
  HostPort out;
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos || !parse_whole(text.substr(colon + 1), out.port))
    return bad();
  auto rest = text.substr(0, colon);
  for (int i = 0; i < 4; ++i) {
    auto dot = rest.find('.');
    if ((dot == std::string_view::npos) != (i == 3)) return bad();
    uint8_t part = 0;
    if (!parse_whole(rest.substr(0, dot), part)) return bad();
    out.ipv4 = out.ipv4 << 8 | part;
    rest = i == 3 ? std::string_view() : rest.substr(dot + 1);
  }
  return out;
}

}  // namespace markab
