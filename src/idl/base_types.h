#pragma once
// The types of idl/base.thrift: what Thrift calls a struct but what travels as one plain value
// (spec 01 §7). The generated headers include this file under its bare name.
//
// All are small values. read() and write() are what the generated templates call, with a WireReader
// or a WireWriter of rpc/wire_protocol.h; bad input leaves read() as the reader's DecodeError.

#include <fmt/format.h>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/status.h"

namespace markab::wire {

// Bytes that live elsewhere: read from a message, a blob is a view into that message's buffer and
// dies with it; to be written, it is a view of whatever the sender holds until the encoding is
// done.
struct blob {
  std::string_view view;

  blob() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): a blob is a view
  blob(std::string_view bytes) : view(bytes) {}
  blob& operator=(std::string_view bytes) {
    view = bytes;
    return *this;
  }
  blob& operator=(const char* text) { return *this = std::string_view(text); }
  // A view of a string that is about to die is always a mistake.
  blob& operator=(std::string&&) = delete;

  // NOLINTNEXTLINE(google-explicit-constructor)
  operator std::string_view() const { return view; }
  const char* data() const { return view.data(); }
  size_t size() const { return view.size(); }
  bool empty() const { return view.empty(); }
  std::string to_string() const { return std::string(view); }
  friend bool operator==(const blob& a, const blob& b) { return a.view == b.view; }
  friend auto operator<=>(const blob& a, const blob& b) { return a.view <=> b.view; }

  template <typename Reader>
  uint32_t read(Reader* in) {
    return in->read_view(view);
  }
  template <typename Writer>
  uint32_t write(Writer* out) const {
    return out->write_view(view);
  }
};

// On the wire the name; a name that is not known reads as kUnknown.
struct error_code {
  Errc code = Errc::kOk;

  error_code() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): `response.err = Errc::kBusy`
  error_code(Errc c) : code(c) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator Errc() const { return code; }
  bool ok() const { return code == Errc::kOk; }
  friend auto operator<=>(const error_code&, const error_code&) = default;

  template <typename Reader>
  uint32_t read(Reader* in) {
    std::string_view name;
    uint32_t n = in->read_view(name);
    code = errc_from_name(name);
    return n;
  }
  template <typename Writer>
  uint32_t write(Writer* out) const {
    return out->write_view(errc_name(code));
  }
};

// The name of a remote procedure.
struct task_code {
  std::string name;

  task_code() = default;
  explicit task_code(std::string_view n) : name(n) {}
  friend auto operator<=>(const task_code&, const task_code&) = default;

  template <typename Reader>
  uint32_t read(Reader* in) {
    std::string_view view;
    uint32_t n = in->read_view(view);
    name.assign(view);
    return n;
  }
  template <typename Writer>
  uint32_t write(Writer* out) const {
    return out->write_view(name);
  }
};

struct gpid {
  Gpid value;

  gpid() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  gpid(Gpid g) : value(g) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator Gpid() const { return value; }
  friend auto operator<=>(const gpid&, const gpid&) = default;

  template <typename Reader>
  uint32_t read(Reader* in) {
    int64_t packed;
    uint32_t n = in->readI64(packed);
    value = Gpid::unpack(static_cast<uint64_t>(packed));
    return n;
  }
  template <typename Writer>
  uint32_t write(Writer* out) const {
    return out->writeI64(static_cast<int64_t>(value.packed()));
  }
};

// The wire's 64-bit address (spec 01 §7.1): IPv4, port, and in the low bits 0 = none or 1 = IPv4. A
// group (2) is refused: it must never be sent to anybody.
inline uint64_t pack_address(HostPort node) {
  return node ? static_cast<uint64_t>(node.ipv4) << 32 | static_cast<uint64_t>(node.port) << 16 | 1
              : 0;
}
inline bool unpack_address(uint64_t packed, HostPort& node) {
  uint64_t type = packed & 3;
  if (type >= 2) return false;
  node = type == 0
             ? HostPort{}
             : HostPort{static_cast<uint32_t>(packed >> 32), static_cast<uint16_t>(packed >> 16)};
  return true;
}

struct rpc_address {
  HostPort node;

  rpc_address() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  rpc_address(HostPort n) : node(n) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator HostPort() const { return node; }
  explicit operator bool() const { return static_cast<bool>(node); }
  friend auto operator<=>(const rpc_address&, const rpc_address&) = default;

  template <typename Reader>
  uint32_t read(Reader* in) {
    int64_t packed;
    uint32_t n = in->readI64(packed);
    if (!unpack_address(static_cast<uint64_t>(packed), node))
      in->fail("an rpc_address of a type other than IPv4");
    return n;
  }
  template <typename Writer>
  uint32_t write(Writer* out) const {
    return out->writeI64(static_cast<int64_t>(pack_address(node)));
  }
};

// A node by name. Ours hold dotted IPv4 text, except when an operator configures names. type: 0
// none, 1 host.
struct host_port {
  std::string host;
  uint16_t port = 0;
  uint8_t type = 0;

  host_port() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  host_port(HostPort n) {
    if (!n) return;
    host = n.host();
    port = n.port;
    type = 1;
  }
  explicit operator bool() const { return type != 0; }
  // The node it names, when the name is dotted IPv4 text; else none.
  HostPort node() const {
    if (type == 0) return {};
    auto parsed = HostPort::parse(fmt::format("{}:{}", host, port));
    return parsed ? *parsed : HostPort{};
  }
  friend auto operator<=>(const host_port&, const host_port&) = default;

  template <typename Reader>
  uint32_t read(Reader* in) {
    std::string_view text;
    int16_t raw_port;
    int8_t raw_type;
    uint32_t n = in->read_view(text) + in->readI16(raw_port) + in->readByte(raw_type);
    if (raw_type < 0 || raw_type > 1) in->fail("a host_port of a type other than a host");
    host.assign(text);
    port = static_cast<uint16_t>(raw_port);
    type = static_cast<uint8_t>(raw_type);
    return n;
  }
  template <typename Writer>
  uint32_t write(Writer* out) const {
    return out->write_view(host) + out->writeI16(static_cast<int16_t>(port)) +
           out->writeByte(static_cast<int8_t>(type));
  }
};

// Thrift's printing of structs asks for these.
std::ostream& operator<<(std::ostream& out, const blob& v);
std::ostream& operator<<(std::ostream& out, const error_code& v);
std::ostream& operator<<(std::ostream& out, const task_code& v);
std::ostream& operator<<(std::ostream& out, const gpid& v);
std::ostream& operator<<(std::ostream& out, const rpc_address& v);
std::ostream& operator<<(std::ostream& out, const host_port& v);

}  // namespace markab::wire
