#pragma once
// The one implementation of Engine; private to this room. point_reads.cc, range_reads.cc and
// scans.cc hold its reads.

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>

#include "engine/engine.h"
#include "engine/scan_contexts.h"

namespace markab::engine {

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(EngineOptions options);
  void attach(std::unique_ptr<Store> store);

  ReadOutcome get(const wire::blob& key, const ReadContext& context, ReadArena& arena,
                  wire::read_response& response) const override;
  ReadOutcome ttl(const wire::blob& key, const ReadContext& context, ReadArena& arena,
                  wire::ttl_response& response) const override;
  ReadOutcome multi_get(const wire::multi_get_request& request, const ReadContext& context,
                        ReadArena& arena, wire::multi_get_response& response) const override;
  ReadOutcome batch_get(const wire::batch_get_request& request, const ReadContext& context,
                        ReadArena& arena, wire::batch_get_response& response) const override;
  ReadOutcome sortkey_count(const wire::blob& hash_key, const ReadContext& context,
                            ReadArena& arena, wire::count_response& response) const override;
  ReadOutcome get_scanner(const wire::get_scanner_request& request, const ReadContext& context,
                          ReadArena& arena, wire::scan_response& response) override;
  ReadOutcome scan(const wire::scan_request& request, const ReadContext& context, ReadArena& arena,
                   wire::scan_response& response) override;
  void clear_scanner(int64_t context_id) override;
  void expire_scanners(Instant now) override;
  size_t scanner_count() const override { return scans_.size(); }

  Status apply(Decree decree, std::string_view effects) override;
  Status apply_run(Decree first, const std::vector<std::string_view>& effects) override;
  Store& store() override { return *store_; }
  const Store& store() const override { return *store_; }
  Gpid gpid() const override { return options_.gpid; }
  void set_settings(const TableSettings& settings) override { settings_.set(settings); }
  OperationSettings settings() const override { return settings_.get(); }

  const LiveSettings& live_settings() const { return settings_; }
  const EngineOptions& options() const { return options_; }

 private:
  // One live record found by a point lookup.
  enum class Found { kLive, kAbsent, kNeedsDisk, kFailed };
  struct Record {
    uint32_t expire_ts = 0;
    std::string_view data;  // in the arena
  };
  // kFailed: `error` is the storage result.
  Found find(std::string_view raw_key, const ReadContext& context, ReadArena& arena, Record& record,
             int32_t& error) const;
  // `live(record)` fills the answer to a read of one record.
  template <typename Response, typename Live>
  ReadOutcome read_record(const wire::blob& key, const ReadContext& context, ReadArena& arena,
                          Response& response, Live live) const;
  ReadOutcome multi_get_points(const wire::multi_get_request& request, const ReadContext& context,
                               ReadArena& arena, wire::multi_get_response& response) const;
  ReadOutcome multi_get_range(const wire::multi_get_request& request, const ReadContext& context,
                              ReadArena& arena, wire::multi_get_response& response) const;
  // Reads one batch from the context's iterator; see scans.cc.
  ReadOutcome read_batch(ScanContext& scan, uint32_t max_iterations, const ReadContext& context,
                         ReadArena& arena, wire::scan_response& response, bool& unfinished) const;
  // Whether a long read has used up its time; asks the clock.
  bool out_of_time(const ReadContext& context, int64_t threshold_ms) const;
  // Iterations between two looks at the clock (spec 02 §6).
  uint32_t time_check_every() const {
    return std::max<uint32_t>(1, options_.limits.multi_get_rows / 10);
  }
  // Where a read of one hash key looks, and whether what it fetches stays in the cache.
  ReadFrom read_from(const ReadContext& context) const {
    return {.memory_only = context.memory_only, .fill_cache = settings_.get().block_cache_enabled};
  }
  int32_t fail(Status status, ReadArena& arena) const;
  int32_t fail_damaged(std::string_view raw_key, ReadArena& arena) const;

  EngineOptions options_;
  LiveSettings settings_;
  // Before the contexts: their iterators go first.
  std::unique_ptr<Store> store_;
  ScanContexts scans_;
};

}  // namespace markab::engine
