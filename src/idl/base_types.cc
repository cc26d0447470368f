#include "base_types.h"

#include <ostream>

#include "base/escape.h"

namespace markab::wire {

std::ostream& operator<<(std::ostream& out, const blob& v) {
  return out << '"' << escape(v.view) << '"';
}
std::ostream& operator<<(std::ostream& out, const error_code& v) {
  return out << errc_name(v.code);
}
std::ostream& operator<<(std::ostream& out, const task_code& v) { return out << v.name; }
std::ostream& operator<<(std::ostream& out, const gpid& v) { return out << v.value.to_string(); }
std::ostream& operator<<(std::ostream& out, const rpc_address& v) {
  return out << v.node.to_string();
}
std::ostream& operator<<(std::ostream& out, const host_port& v) {
  return out << v.host << ':' << v.port;
}

}  // namespace markab::wire
