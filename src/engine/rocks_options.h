#pragma once
// The RocksDB options of a store (spec 02 §14, table), with what differs and why. Pure.

#include <rocksdb/options.h>

#include <memory>
#include <string>
#include <unordered_map>

#include "base/ids.h"
#include "engine/record_filter.h"
#include "engine/shared_resources.h"
#include "engine/table_settings.h"

namespace markab::engine {

rocksdb::DBOptions make_db_options(const SharedResources& shared, const std::string& store_name);
rocksdb::ColumnFamilyOptions make_data_options(const SharedResources& shared,
                                               std::shared_ptr<RecordFilterFactory> filter);
// Those of the data family that a table's environments change while the store is open (spec 02 §14,
// usage scenarios), in the form of SetOptions. Buffer sizes differ between partitions, so that they
// are not all flushed at once.
std::unordered_map<std::string, std::string> data_options_of(const StoreSettings& settings,
                                                             Gpid gpid, const WriteBudget& budget);
rocksdb::ColumnFamilyOptions make_meta_options(const SharedResources& shared);

}  // namespace markab::engine
