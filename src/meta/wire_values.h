#pragma once
// The core's values as the wire's and back. `host_ports`: whether host_port fields are set (01
// §7.3). Pure; any thread.

#include "idl/meta_admin_types.h"
#include "idl/partition_types.h"
#include "meta/core/actions.h"

namespace markab::meta {

wire::app_info to_wire(const TableInfo& info);
wire::partition_configuration to_wire(const PartitionConfig& config, bool host_ports);
wire::replica_info to_wire(const ReplicaReport& report);

PartitionConfig from_wire(const wire::partition_configuration& config);
ReplicaReport from_wire(const wire::replica_info& info);
UpdateRequest from_wire(const wire::configuration_update_request& request);

// The node that a pair of fields names: an empty half is an absent half (01 §7.3).
inline HostPort node_from(const wire::rpc_address& address, const wire::host_port& name) {
  return address.node ? address.node : name.node();
}

}  // namespace markab::meta
