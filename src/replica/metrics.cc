#include "replica/metrics.h"

namespace markab::replica {

using rpc::TaskCode;

namespace {

ReplicaMetrics::Throttled throttled(MetricEntity& entity, const char* kind) {
  auto counter = [&](const char* what, const char* words) -> Counter& {
    return entity.counter(
        {fmt::format("throttling_{}_{}_requests", what, kind), "Requests",
         fmt::format("Requests of kind {} {} by a throttle of the table", kind, words)});
  };
  return {counter("delayed", "held up"), counter("rejected", "refused")};
}

}  // namespace

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
      backup_request_bytes(entity->counter(
          {"backup_request_bytes", "Bytes", "Keys and values that backup reads returned"})),
      read_expired_values(entity->counter(
          {"read_expired_values", "Values", "Dead records that reads came across"})),
      read_filtered_values(entity->counter(
          {"read_filtered_values", "Values", "Records that reads left out by their filters"})),
      abnormal_read_requests(entity->counter(
          {"abnormal_read_requests", "Requests", "Reads that took long or touched much"})),
      throttled_reads(throttled(*entity, "read")),
      throttled_writes(throttled(*entity, "write")),
      throttled_backups(throttled(*entity, "backup")),
      splitting_rejected_read_requests(entity->counter(
          {"splitting_rejected_read_requests", "Requests",
           "Reads refused because their row belongs to another partition or a split is ending"})),
      splitting_rejected_write_requests(entity->counter(
          {"splitting_rejected_write_requests", "Requests",
           "Writes refused because their row belongs to another partition or a split is ending"})),
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
      learn_resumed_file_bytes(entity->counter(
          {"learn_resumed_file_bytes", "Bytes", "Bytes of checkpoints that were here already"})),
      write_busy_requests(entity->counter(
          {"write_busy_requests", "Requests", "Writes refused because the queue was full"})),
      role(entity->gauge(
          {"role", "Role", "0 inactive, 1 learner, 2 secondary, 3 primary, 4 error"})),
      ballot(entity->gauge({"ballot", "Ballot", "The membership's version"})),
      last_committed_decree(entity->gauge({"last_committed_decree", "Decree", "The commit point"})),
      private_log_size_mb(
          entity->gauge({"private_log_size_mb", "MegaBytes", "Size of the mutation log"})) {
  auto add = [&](TaskCode code, const char* name, bool with_bytes) {
    auto& op = operations_[static_cast<size_t>(code)];
    op.requests = &entity->counter(
        {fmt::format("{}_requests", name), "Requests", fmt::format("Requests of {}", name)});
    op.latency_ns = &entity->histogram({fmt::format("{}_latency_ns", name), "NanoSeconds",
                                        fmt::format("Time from arrival to answer of {}", name)});
    if (!with_bytes) return;
    op.bytes = &entity->counter({fmt::format("{}_bytes", name), "Bytes",
                                 fmt::format("Keys and values that {} carried", name)});
  };
  add(TaskCode::kGet, "get", true);
  add(TaskCode::kMultiGet, "multi_get", true);
  add(TaskCode::kBatchGet, "batch_get", true);
  add(TaskCode::kGetScanner, "scan", true);
  add(TaskCode::kPut, "put", true);
  add(TaskCode::kMultiPut, "multi_put", true);
  add(TaskCode::kRemove, "remove", false);
  add(TaskCode::kMultiRemove, "multi_remove", false);
  add(TaskCode::kIncr, "incr", false);
  add(TaskCode::kCheckAndSet, "check_and_set", true);
  add(TaskCode::kCheckAndMutate, "check_and_mutate", true);
  // sortkey_count and the continuation of a scan count as scans; ttl is not counted (spec 02 §15).
  operations_[static_cast<size_t>(TaskCode::kScan)] = operation(TaskCode::kGetScanner);
  operations_[static_cast<size_t>(TaskCode::kSortkeyCount)] = operation(TaskCode::kGetScanner);
}

}  // namespace markab::replica
