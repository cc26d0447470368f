#pragma once
// The metrics of one replica (names: spec 07 §4.4). Recorded from any shard.

#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/metrics.h"
#include "engine/store_statistics.h"
#include "rpc/task_code.h"

namespace markab::replica {

struct ReplicaMetrics {
  ReplicaMetrics(MetricRegistry& registry, Gpid gpid);

  // Requests and latency of one operation; nullptr for codes that are not counted.
  struct Operation {
    Counter* requests = nullptr;
    Histogram* latency_ns = nullptr;
    Counter* bytes = nullptr;  // of keys and values; nullptr where nobody asks (spec 02 §15)
  };
  const Operation& operation(rpc::TaskCode code) const {
    return operations_[static_cast<size_t>(code)];
  }

  // Shows what the store said about itself. On the replica's shard.
  void show(const engine::StoreStatistics& store);

  std::shared_ptr<MetricEntity> entity;
  Counter& backup_requests;
  Counter& read_capacity_units;
  Counter& write_capacity_units;
  Counter& backup_request_bytes;
  Counter& read_expired_values;
  Counter& read_filtered_values;
  Counter& abnormal_read_requests;
  // What a throttle of the table's environments did.
  struct Throttled {
    Counter& delayed;
    Counter& rejected;
  };
  Throttled throttled_reads;
  Throttled throttled_writes;
  Throttled throttled_backups;
  Counter& splitting_rejected_read_requests;
  Counter& splitting_rejected_write_requests;
  Counter& write_size_exceed_threshold_requests;
  Counter& corrupt_writes;
  // Of writes that another cluster ships to here.
  Counter& dup_refused_requests;
  Counter& dup_lagging_writes;
  Histogram& dup_time_lag_ms;
  Counter& committed_requests;
  Counter& prepare_failed_requests;
  Counter& learn_count;
  Counter& learn_successful_count;
  Counter& learn_failed_count;
  Counter& learn_copy_file_bytes;
  Counter& learn_resumed_file_bytes;
  Counter& write_busy_requests;
  Gauge& role;
  Gauge& ballot;
  Gauge& last_committed_decree;
  Gauge& private_log_size_mb;
  Gauge& rdb_manual_compact_queued_tasks;
  Gauge& rdb_manual_compact_running_tasks;

 private:
  struct StoreGauge {
    Gauge* gauge;
    int64_t (*value)(const engine::StoreStatistics&);
  };
  void add_store_metrics();

  std::vector<StoreGauge> store_gauges_;
  Counter* compaction_input_bytes_ = nullptr;
  Counter* compaction_output_bytes_ = nullptr;
  Operation operations_[256];
};

}  // namespace markab::replica
