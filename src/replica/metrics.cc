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
      dup_refused_requests(entity->counter(
          {"dup_refused_requests", "Requests",
           "Requests with writes of another cluster that were refused; it repeats them for ever"})),
      dup_lagging_writes(entity->counter(
          {"dup_lagging_writes", "Writes",
           "Writes of another cluster that came later than dup_lagging_write_threshold_ms"})),
      dup_time_lag_ms(entity->histogram(
          {"dup_time_lag_ms", "MilliSeconds",
           "Time from a write in another cluster to its answer here, by both clocks"})),
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
          entity->gauge({"private_log_size_mb", "MegaBytes", "Size of the mutation log"})),
      rdb_manual_compact_queued_tasks(entity->gauge(
          {"rdb_manual_compact_queued_tasks", "Tasks", "Manual compactions that wait their turn"})),
      rdb_manual_compact_running_tasks(entity->gauge(
          {"rdb_manual_compact_running_tasks", "Tasks", "Manual compactions under way"})) {
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
  operations_[static_cast<size_t>(TaskCode::kDuplicate)].requests =
      &entity->counter({"dup_requests", "Requests", "Requests with writes of another cluster"});
  // sortkey_count and the continuation of a scan count as scans; ttl is not counted (spec 02 §15).
  operations_[static_cast<size_t>(TaskCode::kScan)] = operation(TaskCode::kGetScanner);
  operations_[static_cast<size_t>(TaskCode::kSortkeyCount)] = operation(TaskCode::kGetScanner);
  add_store_metrics();
}

namespace {

using engine::StoreStatistics;

struct StoreMetric {
  const char* name;
  const char* unit;
  const char* description;
  int64_t (*value)(const StoreStatistics&);
};

int64_t ratio(int64_t a, int64_t b) { return b == 0 ? 0 : (a + b / 2) / b; }

constexpr StoreMetric kStoreMetrics[] = {
    {"rdb_total_sst_size_mb", "MegaBytes", "Size of the store's table files",
     [](const StoreStatistics& s) { return s.sst_bytes >> 20; }},
    {"rdb_total_sst_files", "Files", "Table files of the store",
     [](const StoreStatistics& s) { return s.sst_files; }},
    {"rdb_estimated_keys", "Keys", "Rows of the store, dead ones among them, estimated",
     [](const StoreStatistics& s) { return s.estimated_keys; }},
    {"rdb_memtable_mem_usage_bytes", "Bytes", "Memory of writes that are not yet in files",
     [](const StoreStatistics& s) { return s.memtable_bytes; }},
    {"rdb_index_and_filter_blocks_mem_usage_bytes", "Bytes",
     "Memory of open table files outside of the block cache",
     [](const StoreStatistics& s) { return s.index_and_filter_bytes; }},
    {"rdb_block_cache_hit_count", "Lookups", "Blocks found in the block cache",
     [](const StoreStatistics& s) { return s.block_cache_hits; }},
    {"rdb_block_cache_total_count", "Lookups", "Blocks looked for in the block cache",
     [](const StoreStatistics& s) { return s.block_cache_lookups; }},
    {"rdb_bloom_filter_seek_negatives", "Lookups", "Seeks that a filter kept from a file",
     [](const StoreStatistics& s) { return s.bloom_seek_negatives; }},
    {"rdb_bloom_filter_seek_total", "Lookups", "Seeks that asked a filter",
     [](const StoreStatistics& s) { return s.bloom_seeks; }},
    {"rdb_bloom_filter_point_lookup_negatives", "Lookups", "Gets that a filter kept from a file",
     [](const StoreStatistics& s) { return s.bloom_point_negatives; }},
    {"rdb_bloom_filter_point_lookup_positives", "Lookups", "Gets that a filter let into a file",
     [](const StoreStatistics& s) { return s.bloom_point_positives; }},
    {"rdb_bloom_filter_point_lookup_true_positives", "Lookups",
     "Gets that a filter let into a file that had the row",
     [](const StoreStatistics& s) { return s.bloom_point_true_positives; }},
    {"rdb_memtable_hit_count", "Lookups", "Gets answered by a memtable",
     [](const StoreStatistics& s) { return s.memtable_hits; }},
    {"rdb_l0_hit_count", "Lookups", "Gets answered by level 0",
     [](const StoreStatistics& s) { return s.l0_hits; }},
    {"rdb_l1_hit_count", "Lookups", "Gets answered by level 1",
     [](const StoreStatistics& s) { return s.l1_hits; }},
    {"rdb_l2_and_up_hit_count", "Lookups", "Gets answered by level 2 and above",
     [](const StoreStatistics& s) { return s.l2_and_up_hits; }},
    {"rdb_write_amplification", "Ratio", "Bytes written to files for each byte flushed",
     [](const StoreStatistics& s) {
       return ratio(s.flushed_bytes + s.compaction_output_bytes, s.flushed_bytes);
     }},
    {"rdb_read_amplification", "Files", "Files of level 0 and levels with files",
     [](const StoreStatistics& s) { return s.sorted_runs; }},
};

}  // namespace

void ReplicaMetrics::add_store_metrics() {
  for (const auto& metric : kStoreMetrics) {
    store_gauges_.push_back(
        {&entity->gauge({metric.name, metric.unit, metric.description}), metric.value});
  }
  compaction_input_bytes_ =
      &entity->counter({"rdb_compaction_input_bytes", "Bytes", "Bytes that compactions have read"});
  compaction_output_bytes_ = &entity->counter(
      {"rdb_compaction_output_bytes", "Bytes", "Bytes that compactions have written"});
}

void ReplicaMetrics::show(const StoreStatistics& store) {
  for (const auto& shown : store_gauges_) shown.gauge->set(shown.value(store));
  // The store counts from its opening; a store that was learned anew begins at zero.
  auto raise = [](Counter& counter, int64_t value) {
    if (value > counter.value()) counter.add(value - counter.value());
  };
  raise(*compaction_input_bytes_, store.compaction_input_bytes);
  raise(*compaction_output_bytes_, store.compaction_output_bytes);
}

}  // namespace markab::replica
