#pragma once
// A scan as a conversation with one partition after the other. Runs on its core's shard; one batch
// at a time.
//
// The server keeps a context per scan; when it is lost (the node died, five idle minutes passed)
// the flow starts again after the last row that it returned. A count has no last row: the partition
// is counted again from its beginning.

#include <memory>
#include <string>
#include <vector>

#include "client/core.h"
#include "markab/client.h"

namespace markab::client {

class ScanFlow : public std::enable_shared_from_this<ScanFlow> {
 public:
  using BatchCallback = Callback<Outcome<ScanBatch>>;

  // Whole partitions, one after the other.
  ScanFlow(Core& core, Core::Table& table, std::vector<int32_t> partitions, ScanOptions options);
  // The rows of one hash key; an empty stop: to its end.
  ScanFlow(Core& core, Core::Table& table, std::string_view hash_key, std::string_view start,
           std::string_view stop, ScanOptions options);

  // `done` runs once, on the shard, perhaps inside of this call. Not while another batch
  // is under way.
  void next_batch(Instant deadline, BatchCallback done);
  // Lets the server forget. The core must still be there.
  void close();

 private:
  void ask(Instant deadline, BatchCallback done);
  void on_answer(Instant deadline, Answer answer, BatchCallback done);
  void begin_partition();
  // After an answer that ends the scan of this partition.
  void end_partition();
  std::string encode_start() const;
  void deliver(ScanBatch batch, const Answer& answer, BatchCallback done);

  Core& core_;
  Core::Table& table_;
  const ScanOptions options_;
  const bool whole_;  // partitions, or one hash key
  std::vector<int32_t> partitions_;
  size_t position_ = 0;  // in partitions_
  uint64_t hash_ = 0;

  std::string first_key_;  // of each partition
  bool first_inclusive_ = true;
  std::string stop_key_;
  bool stop_inclusive_ = false;

  std::string start_key_;  // where the next GET_SCANNER starts
  bool start_inclusive_ = true;
  int64_t context_ = -1;  // of the server; -1: none
  int64_t counted_ = 0;   // in this partition, with only_count
  int restarts_ = 0;      // since the last row
  bool finished_ = false;
};

}  // namespace markab::client
