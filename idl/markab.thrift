// Markab's own messages: between its daemons, their supervisors and its shell. No Pegasus peer sends or gets them.
include "base.thrift"
include "replication.thrift"

namespace cpp markab.wire

// A witness (systemd's ExecStopPost, the onebox launcher) saw a replica daemon's process end.
struct report_death_request {
  1: base.rpc_address node
  2: i64 start_time      // ms, as in the dead process's beacons; 0: any incarnation
  3: string reason
}

struct report_death_response {
  1: base.error_code err
}

// A replica daemon that stops asks for its primaries to be moved away; repeated until none remains.
struct leave_request {
  1: base.rpc_address node
  2: i64 start_time
}

struct leave_response {
  1: base.error_code err
  2: i32 remaining_primaries
}

struct step_down_request {
  1: base.gpid pid
  2: i64 ballot
}

struct step_down_response {
  1: base.error_code err
  2: i64 last_committed_decree
}

struct fetch_log_request {
  1: base.gpid pid
  2: i64 from_decree
  3: i32 max_bytes
}

// Mutations from `from_decree` on, in order, as many as fit; `last_committed_decree` is the sender's.
struct fetch_log_response {
  1: base.error_code err
  2: i64 last_committed_decree
  3: i64 first_available_decree
  4: list<replication.mutation> mutations
}

// A follower hands a native request to the leader (spec 01 §6.2).
struct relay_request {
  1: base.rpc_address peer    // the original one
  2: string user              // its authenticated user
  3: i32 header_kind          // rpc::HeaderKind
  4: base.task_code task
  5: base.blob arguments
  6: i32 timeout_ms
}

struct relay_response {
  1: base.error_code error
  2: base.blob result
}
