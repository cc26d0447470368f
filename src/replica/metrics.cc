#include "replica/metrics.h"

namespace markab::replica {

using rpc::TaskCode;

ReplicaMetrics::ReplicaMetrics(MetricRegistry& registry, Gpid gpid)
    : entity(registry.entity("replica", fmt::format("replica@{}", gpid),
                             {{"table_id", std::to_string(gpid.app_id)},
                              {"partition_id", std::to_string(gpid.partition_index)}})),
      backup_requests(
          entity->counter({"backup_requests", "Requests", "Reads served for backup requests"})),
      read_capacity_units(
          entity->counter({"read_capacity_units", "CapacityUnits", "Capacity units of reads"})),
      write_capacity_units(
          entity->counter({"write_capacity_units", "CapacityUnits", "Capacity units of writes"})),
      write_size_exceed_threshold_requests(
          entity->counter({"write_size_exceed_threshold_requests", "Requests",
                           "Writes refused because their body was too large"})),
      corrupt_writes(entity->counter(
          {"corrupt_writes", "Requests", "Writes refused because their body did not parse"})),
      committed_requests(
          entity->counter({"committed_requests", "Requests", "Mutations committed"})),
      prepare_failed_requests(entity->counter(
          {"prepare_failed_requests", "Requests", "Prepares without a good answer"})),
      learn_count(
          entity->counter({"learn_count", "Learns", "Times that this replica began to learn"})),
      learn_successful_count(
          entity->counter({"learn_successful_count", "Learns", "Learns that reached the stream"})),
      learn_failed_count(entity->counter({"learn_failed_count", "Learns", "Learns that failed"})),
      learn_copy_file_bytes(entity->counter(
          {"learn_copy_file_bytes", "Bytes", "Bytes of checkpoints copied to here"})),
      write_busy_requests(entity->counter(
          {"write_busy_requests", "Requests", "Writes refused because the queue was full"})),
      role(entity->gauge(
          {"role", "Role", "0 inactive, 1 learner, 2 secondary, 3 primary, 4 error"})),
      ballot(entity->gauge({"ballot", "Ballot", "The membership's version"})),
      last_committed_decree(entity->gauge({"last_committed_decree", "Decree", "The commit point"})),
      private_log_size_mb(
          entity->gauge({"private_log_size_mb", "MegaBytes", "Size of the mutation log"})) {
  auto add = [&](TaskCode code, const char* name) {
    auto& op = operations_[static_cast<size_t>(code)];
    op.requests = &entity->counter(
        {fmt::format("{}_requests", name), "Requests", fmt::format("Requests of {}", name)});
    op.latency_ns = &entity->histogram({fmt::format("{}_latency_ns", name), "NanoSeconds",
                                        fmt::format("Time from arrival to answer of {}", name)});
  };
  add(TaskCode::kGet, "get");
  add(TaskCode::kMultiGet, "multi_get");
  add(TaskCode::kBatchGet, "batch_get");
  add(TaskCode::kGetScanner, "scan");
  add(TaskCode::kPut, "put");
  add(TaskCode::kMultiPut, "multi_put");
  add(TaskCode::kRemove, "remove");
  add(TaskCode::kMultiRemove, "multi_remove");
  add(TaskCode::kIncr, "incr");
  add(TaskCode::kCheckAndSet, "check_and_set");
  add(TaskCode::kCheckAndMutate, "check_and_mutate");
  // sortkey_count and the continuation of a scan count as scans; ttl is not counted (spec 02 §15).
  operations_[static_cast<size_t>(TaskCode::kScan)] = operation(TaskCode::kGetScanner);
  operations_[static_cast<size_t>(TaskCode::kSortkeyCount)] = operation(TaskCode::kGetScanner);
}

}  // namespace markab::replica
