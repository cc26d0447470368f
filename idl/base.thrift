// The types whose payload on the wire is not what Thrift would write for a struct, although their type byte says STRUCT
// (spec 01 §7). Here they are only names for the other files to refer to; their C++ is src/idl/base_types.h.
namespace cpp markab.wire

struct blob {}         // i32 length, bytes
struct error_code {}   // i32 length, name ("ERR_OK")
struct task_code {}    // i32 length, name ("RPC_RRDB_RRDB_PUT")
struct gpid {}         // i64: partition index << 32 | table id
struct rpc_address {}  // i64: IPv4 << 32 | port << 16 | type (0 none, 1 IPv4)
struct host_port {}    // i32 length, host, i16 port, i8 type (0 none, 1 host)
