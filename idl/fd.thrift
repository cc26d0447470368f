// The failure detector's beacons (spec 03 §8).
include "base.thrift"

namespace cpp markab.wire

struct beacon_msg {
  1: i64 time
  2: base.rpc_address from_node
  3: base.rpc_address to_node
  4: optional i64 start_time
  5: optional base.host_port hp_from_node
  6: optional base.host_port hp_to_node
}

struct beacon_ack {
  1: i64 time
  2: base.rpc_address this_node
  3: base.rpc_address primary_node
  4: bool is_master
  5: bool allowed
  6: optional base.host_port hp_this_node
  7: optional base.host_port hp_primary_node
  // Ours: tells one leadership from another; absent when the answer is no leader's.
  30: optional i64 leadership
}
