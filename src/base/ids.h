#pragma once
// Names of things: partitions, nodes, reigns, positions, instants. All are small values.

#include <fmt/format.h>

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace markab {

// A reign: the version of a partition's membership; +1 at each change that the meta server stores.
// 0 = none yet.
using Ballot = int64_t;
// A position in the sequence of mutations of one partition; contiguous from 1. 0 = the empty state,
// -1 = none.
using Decree = int64_t;
inline constexpr Decree kNoDecree = -1;

// A partition: the table's id (the wire says app) and the index in it.
struct Gpid {
  int32_t app_id = 0;
  int32_t partition_index = 0;

  friend auto operator<=>(const Gpid&, const Gpid&) = default;
  std::string to_string() const { return fmt::format("{}.{}", app_id, partition_index); }
  // "2.3"; kInvalidParameters otherwise.
  static Result<Gpid> parse(std::string_view text);
  // The wire's 64-bit form: index in the upper half, table in the lower (spec 01 §7).
  uint64_t packed() const {
    return static_cast<uint64_t>(static_cast<uint32_t>(partition_index)) << 32 |
           static_cast<uint32_t>(app_id);
  }
  static Gpid unpack(uint64_t v) {
    return {static_cast<int32_t>(v), static_cast<int32_t>(v >> 32)};
  }
};

// A node's identity: IPv4 address and port, in host byte order. {0, 0} is "none".
struct HostPort {
  uint32_t ipv4 = 0;
  uint16_t port = 0;

  friend auto operator<=>(const HostPort&, const HostPort&) = default;
  explicit operator bool() const { return ipv4 != 0 || port != 0; }
  std::string host() const;       // "10.0.0.1"
  std::string to_string() const;  // "10.0.0.1:34801", or "-" for none
  // "10.0.0.1:34801"; only dotted IPv4. kInvalidParameters otherwise.
  static Result<HostPort> parse(std::string_view text);
};

// A point of the monotonic clock, in nanoseconds from an arbitrary origin of this process (or of
// the simulation).
struct Instant {
  int64_t ns = 0;
  friend auto operator<=>(const Instant&, const Instant&) = default;
};
using Duration = std::chrono::nanoseconds;
inline Instant operator+(Instant t, Duration d) { return {t.ns + d.count()}; }
inline Instant operator-(Instant t, Duration d) { return {t.ns - d.count()}; }
inline Duration operator-(Instant a, Instant b) { return Duration(a.ns - b.ns); }
inline constexpr Instant kNever{INT64_MAX};

// Seconds since 2016-01-01 UTC, the epoch of every expiry time (spec 02, notation).
inline constexpr int64_t kExpiryEpoch = 1451606400;
inline uint32_t expiry_now(int64_t wall_us) {
  return static_cast<uint32_t>(wall_us / 1000000 - kExpiryEpoch);
}

}  // namespace markab

template <>
struct std::hash<markab::Gpid> {
  size_t operator()(const markab::Gpid& g) const noexcept {
    return static_cast<size_t>(g.packed() * 0x9E3779B97F4A7C15ull >> 16);
  }
};
template <>
struct std::hash<markab::HostPort> {
  size_t operator()(const markab::HostPort& h) const noexcept {
    return static_cast<size_t>(
        (static_cast<uint64_t>(h.ipv4) << 16 | h.port) * 0x9E3779B97F4A7C15ull >> 8);
  }
};
template <>
struct fmt::formatter<markab::Gpid> : fmt::formatter<std::string_view> {
  auto format(const markab::Gpid& g, fmt::format_context& c) const {
    return fmt::format_to(c.out(), "{}.{}", g.app_id, g.partition_index);
  }
};
template <>
struct fmt::formatter<markab::HostPort> : fmt::formatter<std::string_view> {
  auto format(const markab::HostPort& h, fmt::format_context& c) const {
    return fmt::formatter<std::string_view>::format(h.to_string(), c);
  }
};
