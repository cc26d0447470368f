#pragma once
// The RocksDB options of a store (spec 02 §14, table), with what differs and why. Pure.

#include <rocksdb/options.h>

#include <memory>
#include <string>

#include "engine/record_filter.h"
#include "engine/shared_resources.h"

namespace markab::engine {

rocksdb::DBOptions make_db_options(const SharedResources& shared, const std::string& store_name);
rocksdb::ColumnFamilyOptions make_data_options(const SharedResources& shared,
                                               std::shared_ptr<RecordFilterFactory> filter);
rocksdb::ColumnFamilyOptions make_meta_options(const SharedResources& shared);

}  // namespace markab::engine
