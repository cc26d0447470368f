#pragma once
// The C++ client of Markab (and of any Apache Pegasus cluster that speaks the native header).
//
//   markab::ClientOptions options;
//   options.meta_servers = {"127.0.0.1:34601"};
//   auto client = markab::Client::create(options);        // no network yet
//   if (!client) return fail(client.error().message);
//   auto table = (*client)->open("temp");                 // asks a meta server for the partitions
//   if (!table) return fail(table.error().message);
//   auto set = (*table)->set("user_1", "name", "Ada");
//   auto value = (*table)->get("user_1", "name");         // markab::Outcome<std::string>
//   if (value) std::cout << *value;
//
// A row has a hash key, which decides the partition, a sort key, by which the rows of one hash key
// are ordered, and a value; all are any bytes. A hash key has at most 65534 bytes.
//
// A Client and its Tables may be used from any number of threads. Each operation exists in three
// forms: synchronous (get), with a callback (async_get: called once, on a thread of the client; it
// must not block), and as a coroutine (co_await table->co_get(...), which goes on on a thread of
// the client). Arguments are copied before the call returns.
//
// Deadlines: an operation ends within its timeout, with success or with an Error that names the
// cause. It is repeated inside as long as that is safe: reads always; writes when the failed
// attempt surely had no effect, and idempotent writes (set, del, multi_set, multi_del) always. A
// write that is not idempotent (incr, check_and_*) and whose answer was lost ends with
// kUnknownOutcome. A dead or moved node never costs the whole timeout: a broken connection, a "not
// the primary" answer or a silent node make the client ask the meta servers at once.
//
// This header includes nothing of the implementation.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "markab/outcome.h"

namespace markab {

class Admin;
class Table;
class Scanner;

using Milliseconds = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;
// Of one operation; 0 = the table's.
using Timeout = Milliseconds;

// How a client proves who it is to a cluster with authentication. Each connection negotiates anew; a
// failure ends operations with kDenied and names its cause (KDC out of reach, ticket expired,
// unknown principal, clocks apart, ...).
struct KerberosOptions {
  bool enabled = false;
  // The service principal of all servers of the cluster: "pegasus", "cluster.example.org".
  std::string service_name;
  std::string service_fqdn;
  // Who logs in, and the file with the key; the ticket is renewed as long as the client lives. Both
  // empty: the tickets that the user has (kinit).
  std::string principal;
  std::string keytab;
  // krb5.conf; not empty: becomes KRB5_CONFIG of the process, so create the client before other
  // threads read the environment.
  std::string krb5_config;
  std::string sasl_plugin_path;    // empty: the library's own
  bool require_peer_auth = false;  // refuse servers that ask for no authentication
  Milliseconds negotiation_timeout{10000};
};

struct ClientOptions {
  std::vector<std::string> meta_servers;  // "host:port"; names are resolved once, by create()
  Timeout operation_timeout{5000};
  Milliseconds connect_timeout{1000};
  int threads = 1;                // 1 to 64: event loops; each keeps its own connections
  int connections_per_node = 1;   // 1 to 64, per thread
  size_t max_in_flight = 100000;  // operations per thread; more end with kBusy
  KerberosOptions kerberos;
};

class Client {
 public:
  // Errors: kInvalidArgument (which option, what is allowed).
  static Outcome<std::shared_ptr<Client>> create(const ClientOptions& options);
  // The connections close when the Client and all its Tables and Scanners are gone; operations then
  // under way end with kClosed.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Errors: kTableNotFound, kUnavailable, kTimeout.
  Outcome<std::shared_ptr<Table>> open(std::string_view table, Timeout timeout = {});
  // Without asking: the first operation does.
  std::shared_ptr<Table> open_later(std::string_view table, Timeout timeout = {});
  // Tables, nodes and the cluster itself: markab/admin.h.
  Admin& admin();

  struct Impl;  // of the implementation

 private:
  friend class Admin;
  explicit Client(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
  std::unique_ptr<Admin> admin_;
};

// One column of a hash key.
struct Cell {
  std::string sort_key;
  std::string value;
};

struct Key {
  std::string hash_key;
  std::string sort_key;
};

struct Cells {
  std::vector<Cell> cells;  // ascending by sort key, or in the order asked for
  bool complete = true;     // false: stopped at a limit of the caller or of the server
};

enum class Filter { kNone = 0, kAnywhere = 1, kPrefix = 2, kPostfix = 3 };

// Which rows of one hash key.
struct RangeOptions {
  bool start_inclusive = true;
  bool stop_inclusive = false;
  Filter sort_key_filter = Filter::kNone;
  std::string sort_key_pattern;
  int32_t max_count = -1;  // -1: the server's limit
  int32_t max_bytes = -1;
  bool no_value = false;
  bool reverse =
      false;  // with a limit: the largest sort keys are kept; they still come in ascending order
};

enum class Check {
  kNone = 0,
  kNotExist = 1,
  kNotExistOrEmpty = 2,
  kExist = 3,
  kNotEmpty = 4,
  kMatchAnywhere = 5,
  kMatchPrefix = 6,
  kMatchPostfix = 7,
  kBytesLess = 8,
  kBytesLessOrEqual = 9,
  kBytesEqual = 10,
  kBytesGreaterOrEqual = 11,
  kBytesGreater = 12,
  kIntLess = 13,
  kIntLessOrEqual = 14,
  kIntEqual = 15,
  kIntGreaterOrEqual = 16,
  kIntGreater = 17,
};

// "The value at check_sort_key, compared with the operand, passes."
struct Condition {
  std::string check_sort_key;
  Check check = Check::kNone;
  std::string operand;
  bool return_check_value = false;
};

struct Checked {
  bool passed = false;                     // and so the write was done
  bool check_value_returned = false;       // it was asked for
  std::optional<std::string> check_value;  // before the write; empty: there was none
};

// One change of check_and_mutate.
struct Mutation {
  enum class Kind { kSet = 0, kDelete = 1 } kind = Kind::kSet;
  std::string sort_key;
  std::string value;
  Seconds ttl{0};
};

struct ScanOptions {
  bool start_inclusive = true;  // of a hash scan
  bool stop_inclusive = false;
  Filter hash_key_filter = Filter::kNone;  // of an unordered scan
  std::string hash_key_pattern;
  Filter sort_key_filter = Filter::kNone;
  std::string sort_key_pattern;
  int32_t batch_size = 100;  // rows per message, 1 to 1000
  bool no_value = false;
  bool return_expire_time = false;
  bool only_count = false;  // no rows, only how many there are: ScanBatch::count
  Timeout timeout{0};       // of each next()
};

struct ScanRow {
  std::string hash_key;
  std::string sort_key;
  std::string value;
  std::optional<std::chrono::system_clock::time_point> expires;  // only if asked for and set
};

struct ScanBatch {
  std::vector<ScanRow> rows;
  int64_t count = 0;      // rows.size(), or with only_count the rows of the partition that ended
  bool finished = false;  // nothing follows
};

// The rows of a table or of one hash key, in batches. Used by one caller at a time; from any
// thread. Survives the loss of a node: it goes on after the last row that was returned.
class Scanner {
 public:
  ~Scanner();
  Scanner(const Scanner&) = delete;
  Scanner& operator=(const Scanner&) = delete;

  // The next row; nullopt at the end.
  Outcome<std::optional<ScanRow>> next();
  void async_next(Done<std::optional<ScanRow>> done);
  Pending<std::optional<ScanRow>> co_next();
  // What one message brings: at least one row unless `finished` is set (with only_count: a
  // partition's count).
  Outcome<ScanBatch> next_batch();
  void async_next_batch(Done<ScanBatch> done);
  Pending<ScanBatch> co_next_batch();

  struct Impl;  // of the implementation

 private:
  friend class Table;
  explicit Scanner(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

using Scanners = std::vector<std::unique_ptr<Scanner>>;

class Table {
 public:
  ~Table();
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  const std::string& name() const;

  // --- one row ---

  // Errors: kNotFound.
  Outcome<std::string> get(std::string_view hash_key, std::string_view sort_key,
                           Timeout timeout = {});
  void async_get(std::string_view hash_key, std::string_view sort_key, Done<std::string> done,
                 Timeout timeout = {});
  Pending<std::string> co_get(std::string hash_key, std::string sort_key, Timeout timeout = {});

  // ttl 0: the row stays (or as long as the table's default_ttl says).
  Outcome<Nothing> set(std::string_view hash_key, std::string_view sort_key, std::string_view value,
                       Seconds ttl = {}, Timeout timeout = {});
  void async_set(std::string_view hash_key, std::string_view sort_key, std::string_view value,
                 Done<Nothing> done, Seconds ttl = {}, Timeout timeout = {});
  Pending<Nothing> co_set(std::string hash_key, std::string sort_key, std::string value,
                          Seconds ttl = {}, Timeout timeout = {});

  // Ok whether or not the row existed.
  Outcome<Nothing> del(std::string_view hash_key, std::string_view sort_key, Timeout timeout = {});
  void async_del(std::string_view hash_key, std::string_view sort_key, Done<Nothing> done,
                 Timeout timeout = {});
  Pending<Nothing> co_del(std::string hash_key, std::string sort_key, Timeout timeout = {});

  Outcome<bool> exist(std::string_view hash_key, std::string_view sort_key, Timeout timeout = {});
  void async_exist(std::string_view hash_key, std::string_view sort_key, Done<bool> done,
                   Timeout timeout = {});
  Pending<bool> co_exist(std::string hash_key, std::string sort_key, Timeout timeout = {});

  // How long the row still lives; nullopt: for ever. Errors: kNotFound.
  Outcome<std::optional<Seconds>> ttl(std::string_view hash_key, std::string_view sort_key,
                                      Timeout timeout = {});
  void async_ttl(std::string_view hash_key, std::string_view sort_key,
                 Done<std::optional<Seconds>> done, Timeout timeout = {});
  Pending<std::optional<Seconds>> co_ttl(std::string hash_key, std::string sort_key,
                                         Timeout timeout = {});

  // Adds to a decimal number (a missing or empty value counts as 0) and returns the sum. ttl 0
  // keeps the row's, above 0 sets it, -1 s clears it. Errors: kInvalidArgument (not a number, or
  // beyond 64 bits), kUnknownOutcome.
  Outcome<int64_t> incr(std::string_view hash_key, std::string_view sort_key, int64_t by = 1,
                        Seconds ttl = {}, Timeout timeout = {});
  void async_incr(std::string_view hash_key, std::string_view sort_key, int64_t by,
                  Done<int64_t> done, Seconds ttl = {}, Timeout timeout = {});
  Pending<int64_t> co_incr(std::string hash_key, std::string sort_key, int64_t by = 1,
                           Seconds ttl = {}, Timeout timeout = {});

  // --- rows of one hash key ---

  // The cells at these sort keys; those that do not exist are left out.
  Outcome<Cells> multi_get(std::string_view hash_key, const std::vector<std::string>& sort_keys,
                           Timeout timeout = {});
  void async_multi_get(std::string_view hash_key, const std::vector<std::string>& sort_keys,
                       Done<Cells> done, Timeout timeout = {});
  Pending<Cells> co_multi_get(std::string hash_key, std::vector<std::string> sort_keys,
                              Timeout timeout = {});

  // The cells from `start` to `stop`; an empty stop: to the end of the hash key.
  Outcome<Cells> multi_get_range(std::string_view hash_key, std::string_view start,
                                 std::string_view stop, const RangeOptions& options = {},
                                 Timeout timeout = {});
  void async_multi_get_range(std::string_view hash_key, std::string_view start,
                             std::string_view stop, const RangeOptions& options, Done<Cells> done,
                             Timeout timeout = {});
  Pending<Cells> co_multi_get_range(std::string hash_key, std::string start, std::string stop,
                                    RangeOptions options = {}, Timeout timeout = {});

  // All or none; among equal sort keys the last one wins.
  Outcome<Nothing> multi_set(std::string_view hash_key, const std::vector<Cell>& cells,
                             Seconds ttl = {}, Timeout timeout = {});
  void async_multi_set(std::string_view hash_key, const std::vector<Cell>& cells,
                       Done<Nothing> done, Seconds ttl = {}, Timeout timeout = {});
  Pending<Nothing> co_multi_set(std::string hash_key, std::vector<Cell> cells, Seconds ttl = {},
                                Timeout timeout = {});

  // All or none; returns the number of sort keys given, existing or not.
  Outcome<int64_t> multi_del(std::string_view hash_key, const std::vector<std::string>& sort_keys,
                             Timeout timeout = {});
  void async_multi_del(std::string_view hash_key, const std::vector<std::string>& sort_keys,
                       Done<int64_t> done, Timeout timeout = {});
  Pending<int64_t> co_multi_del(std::string hash_key, std::vector<std::string> sort_keys,
                                Timeout timeout = {});

  // Deletes the rows from `start` to `stop` in steps of 100, not atomically; returns how many.
  // no_value, reverse and the limits of `options` do not count. On an error some may be gone;
  // repeat it.
  Outcome<int64_t> del_range(std::string_view hash_key, std::string_view start,
                             std::string_view stop, const RangeOptions& options = {},
                             Timeout timeout = {});
  void async_del_range(std::string_view hash_key, std::string_view start, std::string_view stop,
                       const RangeOptions& options, Done<int64_t> done, Timeout timeout = {});
  Pending<int64_t> co_del_range(std::string hash_key, std::string start, std::string stop,
                                RangeOptions options = {}, Timeout timeout = {});

  // How many rows the hash key has.
  Outcome<int64_t> sortkey_count(std::string_view hash_key, Timeout timeout = {});
  void async_sortkey_count(std::string_view hash_key, Done<int64_t> done, Timeout timeout = {});
  Pending<int64_t> co_sortkey_count(std::string hash_key, Timeout timeout = {});

  // --- atomic conditional writes; errors: kInvalidArgument (an integer check of what is no
  // integer), kUnknownOutcome ---

  // Sets one cell of the hash key if the condition holds.
  Outcome<Checked> check_and_set(std::string_view hash_key, const Condition& condition,
                                 const Cell& cell, Seconds ttl = {}, Timeout timeout = {});
  void async_check_and_set(std::string_view hash_key, const Condition& condition, const Cell& cell,
                           Done<Checked> done, Seconds ttl = {}, Timeout timeout = {});
  Pending<Checked> co_check_and_set(std::string hash_key, Condition condition, Cell cell,
                                    Seconds ttl = {}, Timeout timeout = {});

  // Does all mutations of the hash key if the condition holds.
  Outcome<Checked> check_and_mutate(std::string_view hash_key, const Condition& condition,
                                    const std::vector<Mutation>& mutations, Timeout timeout = {});
  void async_check_and_mutate(std::string_view hash_key, const Condition& condition,
                              const std::vector<Mutation>& mutations, Done<Checked> done,
                              Timeout timeout = {});
  Pending<Checked> co_check_and_mutate(std::string hash_key, Condition condition,
                                       std::vector<Mutation> mutations, Timeout timeout = {});

  // Sets the row to `desired` if its value is `expected`; check_value is what it was.
  Outcome<Checked> compare_exchange(std::string_view hash_key, std::string_view sort_key,
                                    std::string_view expected, std::string_view desired,
                                    Seconds ttl = {}, Timeout timeout = {});
  void async_compare_exchange(std::string_view hash_key, std::string_view sort_key,
                              std::string_view expected, std::string_view desired,
                              Done<Checked> done, Seconds ttl = {}, Timeout timeout = {});
  Pending<Checked> co_compare_exchange(std::string hash_key, std::string sort_key,
                                       std::string expected, std::string desired, Seconds ttl = {},
                                       Timeout timeout = {});

  // --- many hash keys ---

  // One message per partition. The answers are in the order of the keys; nullopt: no such row.
  Outcome<std::vector<std::optional<std::string>>> batch_get(const std::vector<Key>& keys,
                                                             Timeout timeout = {});
  void async_batch_get(const std::vector<Key>& keys,
                       Done<std::vector<std::optional<std::string>>> done, Timeout timeout = {});
  Pending<std::vector<std::optional<std::string>>> co_batch_get(std::vector<Key> keys,
                                                                Timeout timeout = {});

  // The rows of one hash key from `start` to `stop` (empty: to its end), ascending. Asks nobody
  // before next().
  Outcome<std::unique_ptr<Scanner>> hash_scanner(std::string_view hash_key, std::string_view start,
                                                 std::string_view stop,
                                                 const ScanOptions& options = {});
  // All rows of the table in no order that matters, dealt out to at most `n` scanners, which may
  // run in parallel.
  Outcome<Scanners> unordered_scanners(int n, const ScanOptions& options = {});
  // The rows of one partition.
  Outcome<std::unique_ptr<Scanner>> partition_scanner(int partition,
                                                      const ScanOptions& options = {});

  struct Impl;  // of the implementation

 private:
  friend class Client;
  explicit Table(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace markab
