#pragma once
// What scan-like commands of the shell ask for, and reading many scanners at once. One thread.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "markab/client.h"
#include "shell/session.h"

namespace markab::shell {

struct ScanRequest {
  ScanOptions options;
  Filter value_filter = Filter::kNone;  // here, not at the server
  std::string value_pattern;
  int32_t partition = -1;  // -1: all
};

// The options that all of them have: filters, -t, -p, -i.
Error read_scan(Session& session, const Arguments& arguments, ScanRequest& request);

// What help says of them: of sort keys, values and time; of hash keys and partitions.
std::vector<Option> filter_options();
std::vector<Option> hash_key_options();

Outcome<Scanners> open_scanners(Table& table, const ScanRequest& request, int n);

// Reads several scanners at once and calls `take` with the number of one and a batch of it, on this
// thread, in the order of arrival. Ends with the first error, or once `enough` says so.
Error drain(Scanners& scanners, const std::function<Error(size_t, const ScanBatch&)>& take,
            const std::function<bool()>& enough = nullptr);

// count_command.cc
Command count_data_command();

}  // namespace markab::shell
