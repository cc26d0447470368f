#pragma once
// Integers in byte strings, big-endian (wire, keys) and little-endian (native header, log). No
// bounds are checked here: callers check lengths first.

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace markab {

static_assert(std::endian::native == std::endian::little,
              "the native header is the memory image of x86-64 and arm64");

template <typename T>
inline T byte_swap(T v) {
  if constexpr (sizeof(T) == 1) return v;
  if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(static_cast<uint16_t>(v)));
  if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(static_cast<uint32_t>(v)));
  if constexpr (sizeof(T) == 8) return static_cast<T>(__builtin_bswap64(static_cast<uint64_t>(v)));
}
template <typename T>
inline T load_le(const char* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <typename T>
inline T load_be(const char* p) {
  return byte_swap(load_le<T>(p));
}
template <typename T>
inline void store_le(char* p, T v) {
  std::memcpy(p, &v, sizeof v);
}
template <typename T>
inline void store_be(char* p, T v) {
  store_le(p, byte_swap(v));
}
template <typename T>
inline void append_be(std::string& out, T v) {
  char raw[sizeof v];
  store_be(raw, v);
  out.append(raw, sizeof v);
}
template <typename T>
inline void append_le(std::string& out, T v) {
  char raw[sizeof v];
  store_le(raw, v);
  out.append(raw, sizeof v);
}

}  // namespace markab
