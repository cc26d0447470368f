// markab-bench: a closed loop against a table; throughput, latency, and what the daemons'
// processors spent.

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <map>
#include <thread>

#include "base/log.h"
#include "bench/http_get.h"
#include "bench/load.h"
#include "client/config_file.h"
#include "markab/admin.h"

namespace markab::bench {

namespace json = boost::json;

namespace {

struct BenchOptions {
  std::string metas;
  std::string config;
  std::string table = "temp";
  std::string workload = "get";
  uint64_t keys = 100000;
  int connections = 50;
  int depth = 1;
  size_t value_size = 100;
  double seconds = 10;
  double warm_up = 1;
  double read_share = 0.5;
  int threads = 1;
  uint64_t seed = 1;
  int64_t timeout_ms = 5000;
  bool json = false;
};

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  std::string part;
  std::istringstream in(text);
  while (std::getline(in, part, ',')) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

// The processor time that each replica server has used since its start, in µs.
class CpuMeter {
 public:
  explicit CpuMeter(const ClientOptions& options) {
    auto client = Client::create(options);
    if (!client) return;
    auto nodes = (*client)->admin().list_nodes();
    if (!nodes) return;
    for (const auto& node : *nodes) {
      auto address = HostPort::parse(node.address);
      if (node.alive && address) nodes_.push_back(*address);
    }
  }

  // By node; a node without the metric is left out, and told once.
  std::map<HostPort, int64_t> read() {
    std::map<HostPort, int64_t> used;
    for (HostPort node : nodes_) {
      auto us = read_one(node);
      if (us) {
        used[node] = *us;
      } else if (!complained_) {
        complained_ = true;
        std::cerr << "markab-bench: no processor time of " << node.to_string() << ": "
                  << us.error().message() << '\n';
      }
    }
    return used;
  }
  size_t node_count() const { return nodes_.size(); }

 private:
  static Result<int64_t> read_one(HostPort node) {
    auto body = http_get(node, "/metrics?types=server&metrics=process_cpu_us");
    if (!body) return body.error();
    json::error_code bad;
    json::value snapshot = json::parse(*body, bad);
    if (!bad && snapshot.is_object()) {
      if (const auto* value = snapshot.find_pointer("/entities/0/metrics/0/value", bad);
          value != nullptr && !bad) {
        auto number = value->to_number<int64_t>(bad);
        if (!bad) return number;
      }
    }
    return Status(Errc::kInvalidData, "/metrics shows no process_cpu_us");
  }

  std::vector<HostPort> nodes_;
  bool complained_ = false;
};

double us(int64_t ns) { return static_cast<double>(ns) / 1000; }

// In µs per operation, by node; a node that was restarted meanwhile is left out.
std::map<HostPort, double> cpu_per_operation(const std::map<HostPort, int64_t>& before,
                                             const std::map<HostPort, int64_t>& after,
                                             int64_t operations) {
  std::map<HostPort, double> each;
  for (const auto& [node, end] : after) {
    auto begin = before.find(node);
    if (begin == before.end() || end < begin->second || operations == 0) continue;
    each[node] = static_cast<double>(end - begin->second) / static_cast<double>(operations);
  }
  return each;
}

struct Figures {
  double seconds = 0;
  std::map<HostPort, double> cpu_us;

  double rate(const LoadResult& result) const {
    return seconds > 0 ? static_cast<double>(result.operations) / seconds : 0;
  }
  double cpu_total() const {
    double total = 0;
    for (const auto& [node, each] : cpu_us) total += each;
    return total;
  }
};

// One line. Written by hand, for numbers with two digits after the point.
std::string to_json(const BenchOptions& options, const LoadResult& result, const Figures& figures) {
  const Histogram& latency = result.latency_ns;
  std::string by_node;
  for (const auto& [node, each] : figures.cpu_us) {
    by_node += fmt::format(R"({}"{}":{:.2f})", by_node.empty() ? "" : ",", node, each);
  }
  std::string out = fmt::format(
      R"({{"workload":"{}","keys":{},"connections":{},"depth":{},"value_size":{},)",
      options.workload, options.keys, options.connections, options.depth, options.value_size);
  out += fmt::format(
      R"("operations":{},"errors":{},"missing":{},"seconds":{:.2f},"ops_per_second":{:.0f},)",
      result.operations, result.errors, result.missing, figures.seconds, figures.rate(result));
  out += fmt::format(
      R"("latency_us":{{"p50":{:.1f},"p90":{:.1f},"p99":{:.1f},"p999":{:.1f},"max":{:.1f}}},)",
      us(latency.quantile(0.5)), us(latency.quantile(0.9)), us(latency.quantile(0.99)),
      us(latency.quantile(0.999)), us(latency.max()));
  out += fmt::format(R"("cpu_us_per_op":{{"total":{:.2f},"by_node":{{{}}}}}}})",
                     figures.cpu_total(), by_node);
  return out;
}

void print_for_people(const BenchOptions& options, const LoadResult& result,
                      const Figures& figures) {
  const Histogram& latency = result.latency_ns;
  std::cerr << fmt::format(
      "{} of {} B, {} connections x depth {}: {:.0f} operations/s ({} in {:.2f} s, {} errors)\n",
      options.workload, options.value_size, options.connections, options.depth,
      figures.rate(result), result.operations, figures.seconds, result.errors);
  std::cerr << fmt::format(
      "latency in us: p50 {:.0f}, p90 {:.0f}, p99 {:.0f}, p999 {:.0f}, max {:.0f}\n",
      us(latency.quantile(0.5)), us(latency.quantile(0.9)), us(latency.quantile(0.99)),
      us(latency.quantile(0.999)), us(latency.max()));
  std::cerr << fmt::format("processor time of the replica servers: {:.2f} us per operation",
                           figures.cpu_total());
  for (const auto& [node, each] : figures.cpu_us) {
    std::cerr << fmt::format(", {} {:.2f}", node, each);
  }
  std::cerr << '\n';
  if (result.missing > 0) {
    std::cerr << fmt::format(
        "{} rows were missing; run --workload fill with the same --keys first\n", result.missing);
  }
  if (result.errors > 0) std::cerr << "first error: " << result.first_error << '\n';
}

Workload workload_of(const std::string& name) {
  if (name == "fill") return Workload::kFill;
  if (name == "set") return Workload::kSet;
  if (name == "mixed") return Workload::kMixed;
  return Workload::kGet;
}

void wait_seconds(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

}  // namespace

int run(const BenchOptions& options) {
  LoadOptions load_options;
  ClientOptions client_options;
  client_options.meta_servers = split_list(options.metas);
  if (!options.config.empty()) {
    if (Status status = client::apply_config_file(options.config, client_options); !status.ok()) {
      std::cerr << "markab-bench: " << status.message() << '\n';
      return 1;
    }
  }
  if (client_options.meta_servers.empty()) client_options.meta_servers = {"127.0.0.1:34601"};
  const auto& metas = client_options.meta_servers;
  load_options.kerberos = client_options.kerberos;
  for (const auto& text : metas) {
    auto node = HostPort::parse(text);
    if (!node) {
      std::cerr << "markab-bench: --meta: " << node.error().message() << '\n';
      return 1;
    }
    load_options.metas.push_back(*node);
  }
  load_options.table = options.table;
  load_options.workload = workload_of(options.workload);
  load_options.keys = options.keys;
  load_options.connections = options.connections;
  load_options.depth = options.depth;
  load_options.value_size = options.value_size;
  load_options.read_share = options.read_share;
  load_options.threads = options.threads;
  load_options.seed = options.seed;
  load_options.timeout = std::chrono::milliseconds(options.timeout_ms);

  CpuMeter meter(client_options);
  auto load = Load::open(load_options);
  if (!load) {
    std::cerr << "markab-bench: " << load.error().message() << '\n';
    return 1;
  }
  bool fill = load_options.workload == Workload::kFill;
  using Clock = std::chrono::steady_clock;
  auto before = meter.read();
  auto begin = Clock::now();
  (*load)->start();
  if (fill) {
    while (!(*load)->filled()) wait_seconds(0.01);
  } else {
    wait_seconds(options.warm_up);
    before = meter.read();
    (*load)->count();
    begin = Clock::now();
    wait_seconds(options.seconds);
  }
  LoadResult result;
  (*load)->read(result);
  std::chrono::duration<double> passed = Clock::now() - begin;
  auto after = meter.read();
  (*load)->stop();

  Figures figures{passed.count(), cpu_per_operation(before, after, result.operations)};
  print_for_people(options, result, figures);
  if (options.json) std::cout << to_json(options, result, figures) << std::endl;
  return result.errors == 0 && result.operations > 0 ? 0 : 1;
}

}  // namespace markab::bench

int main(int argc, char** argv) {
  markab::bench::BenchOptions options;
  CLI::App app(
      "A closed loop of requests against a table, with latencies and the daemons' processor time.",
      "markab-bench");
  app.add_option("-m,--meta", options.metas,
                 "meta servers: host:port[,host:port...]; else those of --config, else "
                 "127.0.0.1:34601");
  app.add_option("--config", options.config,
                 "INI file with [security] (how to authenticate) and [meta_server] server_list")
      ->envname("MARKAB_SHELL_CONFIG")
      ->check(CLI::ExistingFile);
  app.add_option("--table", options.table, "which table; it must exist")->capture_default_str();
  app.add_option("--workload", options.workload,
                 "fill writes every key once; the others run for --seconds")
      ->check(CLI::IsMember({"fill", "get", "set", "mixed"}))
      ->capture_default_str();
  app.add_option("--keys", options.keys, "keys 0 to N-1")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1000000000000}))
      ->capture_default_str();
  app.add_option("--connections", options.connections, "")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_option("--depth", options.depth, "requests on their way per connection")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--value-size", options.value_size, "bytes")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "how long to measure")
      ->check(CLI::Range(0.1, 86400.0))
      ->capture_default_str();
  app.add_option("--warm-up", options.warm_up, "seconds before that")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app.add_option("--read-share", options.read_share, "of the mixed workload")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "event loops of the load generator")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of the keys' order")->capture_default_str();
  app.add_option("--timeout", options.timeout_ms, "of one request, in ms")
      ->check(CLI::Range(1, 3600 * 1000))
      ->capture_default_str();
  app.add_flag("--json", options.json, "one line of JSON, last on standard output");
  CLI11_PARSE(app, argc, argv);
  markab::log::set_level(markab::log::Level::kError);
  return markab::bench::run(options);
}
