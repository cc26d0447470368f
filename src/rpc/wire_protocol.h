#pragma once
// Thrift's binary protocol over plain memory: what the generated templates read from and write to.
// Made on the stack by codec.h for one value, used by one thread.
//
// Both derive from TProtocol only because the templates' recursion guards want one; every call the
// templates make is bound to the methods here at compile time. Input is untrusted: each length is
// checked against what is left before it is used, and a list's count before anything is allocated
// for it.

#include <thrift/protocol/TVirtualProtocol.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace markab::rpc {

using apache::thrift::protocol::TType;

// Thrown by WireReader for malformed input, caught in codec_inl.h: only malformed input pays for
// it.
struct DecodeError {
  const char* reason;
};

namespace wire_detail {
// TProtocol's constructor wants a transport; one that does nothing serves all.
const std::shared_ptr<apache::thrift::transport::TTransport>& no_transport();
}  // namespace wire_detail

class WireReader final : public apache::thrift::protocol::TVirtualProtocol<WireReader> {
 public:
  // Structs inside structs, lists inside lists: beyond this the input is refused.
  static constexpr uint32_t kMaxDepth = 64;
  // No list of the wire has elements of fewer bytes, empty structs apart; so a list with more
  // elements than this that claims smaller ones is a lie, and the memory that a frame can make us
  // take is bound by its size.
  static constexpr uint32_t kMaxTinyElements = 1024;
  static constexpr uint32_t kMinElementBytes = 4;

  explicit WireReader(std::string_view bytes)
      : TVirtualProtocol(wire_detail::no_transport()),
        at_(bytes.data()),
        end_(bytes.data() + bytes.size()) {
    setRecurisionLimit(kMaxDepth);
  }

  size_t left() const { return static_cast<size_t>(end_ - at_); }
  [[noreturn]] void fail(const char* reason) const;

  uint32_t readStructBegin(std::string&) { return 0; }
  uint32_t readStructEnd() { return 0; }
  uint32_t readFieldBegin(std::string&, TType& type, int16_t& id) {
    type = read_type();
    id = type == apache::thrift::protocol::T_STOP ? int16_t{0} : fixed<int16_t>();
    return 0;
  }
  uint32_t readFieldEnd() { return 0; }
  uint32_t readMapBegin(TType& key, TType& value, uint32_t& size) {
    key = read_type();
    value = read_type();
    size = count();
    return 0;
  }
  uint32_t readMapEnd() { return 0; }
  uint32_t readListBegin(TType& element, uint32_t& size) {
    element = read_type();
    size = count();
    return 0;
  }
  uint32_t readListEnd() { return 0; }
  uint32_t readSetBegin(TType& element, uint32_t& size) { return readListBegin(element, size); }
  uint32_t readSetEnd() { return 0; }
  uint32_t readBool(bool& v) {
    v = fixed<uint8_t>() != 0;
    return 0;
  }
  uint32_t readBool(std::vector<bool>::reference v) {
    v = fixed<uint8_t>() != 0;
    return 0;
  }
  uint32_t readByte(int8_t& v) {
    v = fixed<int8_t>();
    return 0;
  }
  uint32_t readI16(int16_t& v) {
    v = fixed<int16_t>();
    return 0;
  }
  uint32_t readI32(int32_t& v) {
    v = fixed<int32_t>();
    return 0;
  }
  uint32_t readI64(int64_t& v) {
    v = fixed<int64_t>();
    return 0;
  }
  uint32_t readDouble(double& v) {
    v = std::bit_cast<double>(fixed<int64_t>());
    return 0;
  }
  uint32_t readString(std::string& v) {
    v.assign(bytes());
    return 0;
  }
  uint32_t readBinary(std::string& v) { return readString(v); }
  // Not Thrift's: the bytes where they are.
  uint32_t read_view(std::string_view& v) {
    v = bytes();
    return 0;
  }
  uint32_t skip(TType type);

 private:
  // Thrift's enum has no room for other numbers, and nothing of an unknown type can be skipped.
  TType read_type() {
    auto raw = fixed<uint8_t>();
    if (raw > apache::thrift::protocol::T_LIST) [[unlikely]]
      fail("a value of an unknown type");
    return static_cast<TType>(raw);
  }
  template <typename T>
  T fixed() {
    if (left() < sizeof(T)) [[unlikely]]
      fail("the message ends inside a value");
    T v = load_be<T>(at_);
    at_ += sizeof(T);
    return v;
  }
  std::string_view bytes() {
    auto size = fixed<uint32_t>();
    if (size > left()) [[unlikely]]
      fail("a string is longer than the message");
    std::string_view v(at_, size);
    at_ += size;
    return v;
  }
  uint32_t count() {
    auto n = fixed<uint32_t>();
    if (n > left() || (n > kMaxTinyElements && n > left() / kMinElementBytes)) [[unlikely]]
      fail("a list has more elements than the message has room for");
    return n;
  }
  void skip_elements(TType type, uint64_t n);

  const char* at_;
  const char* const end_;
};

class WireWriter final : public apache::thrift::protocol::TVirtualProtocol<WireWriter> {
 public:
  // Appends to `out`.
  explicit WireWriter(std::string& out)
      : TVirtualProtocol(wire_detail::no_transport()), out_(out) {}

  uint32_t writeStructBegin(const char*) { return 0; }
  uint32_t writeStructEnd() { return 0; }
  uint32_t writeFieldBegin(const char*, TType type, int16_t id) {
    char raw[3] = {static_cast<char>(type)};
    store_be(raw + 1, id);
    out_.append(raw, sizeof raw);
    return 0;
  }
  uint32_t writeFieldEnd() { return 0; }
  uint32_t writeFieldStop() {
    out_.push_back(0);
    return 0;
  }
  uint32_t writeMapBegin(TType key, TType value, uint32_t size) {
    out_.push_back(static_cast<char>(key));
    return writeListBegin(value, size);
  }
  uint32_t writeMapEnd() { return 0; }
  uint32_t writeListBegin(TType element, uint32_t size) {
    char raw[5] = {static_cast<char>(element)};
    store_be(raw + 1, size);
    out_.append(raw, sizeof raw);
    return 0;
  }
  uint32_t writeListEnd() { return 0; }
  uint32_t writeSetBegin(TType element, uint32_t size) { return writeListBegin(element, size); }
  uint32_t writeSetEnd() { return 0; }
  uint32_t writeBool(bool v) {
    out_.push_back(v ? 1 : 0);
    return 0;
  }
  uint32_t writeByte(int8_t v) {
    out_.push_back(static_cast<char>(v));
    return 0;
  }
  uint32_t writeI16(int16_t v) {
    append_be(out_, v);
    return 0;
  }
  uint32_t writeI32(int32_t v) {
    append_be(out_, v);
    return 0;
  }
  uint32_t writeI64(int64_t v) {
    append_be(out_, v);
    return 0;
  }
  uint32_t writeDouble(double v) {
    append_be(out_, std::bit_cast<int64_t>(v));
    return 0;
  }
  uint32_t writeString(const std::string& v) { return write_view(v); }
  uint32_t writeBinary(const std::string& v) { return write_view(v); }
  uint32_t write_view(std::string_view v) {
    append_be(out_, static_cast<uint32_t>(v.size()));
    out_.append(v);
    return 0;
  }

 private:
  std::string& out_;
};

}  // namespace markab::rpc
