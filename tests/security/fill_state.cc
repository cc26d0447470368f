// Fills a ZooKeeper with the state of a large cluster, through the meta's own election and store:
//   fill_state HOST:PORT ROOT TABLES PARTITIONS_PER_TABLE
// Prints how long the writing took.

#include <cstdio>
#include <cstdlib>
#include <future>

#include "base/log.h"
#include "io/shard.h"
#include "meta/state_json.h"
#include "meta/zookeeper_election.h"
#include "meta/zookeeper_store.h"
#include "zk/session.h"

namespace markab::meta {
namespace {

std::vector<StateOp> state(int tables, int partitions) {
  std::vector<StateOp> out{{StateOp::Kind::kPut, "/apps", "unlock"}};
  auto node = [](int n) { return HostPort{0x0a000001u + static_cast<uint32_t>(n), 34801}; };
  for (int t = 1; t <= tables; ++t) {
    TableInfo info;
    info.status = TableStatus::kAvailable;
    info.name = fmt::format("table_{}", t);
    info.id = t;
    info.partition_count = info.init_partition_count = partitions;
    info.max_replica_count = 3;
    out.push_back({StateOp::Kind::kPut, table_path(t), to_json(info)});
    for (int p = 0; p < partitions; ++p) {
      PartitionConfig config;
      config.pid = {t, p};
      config.ballot = 3;
      config.max_replica_count = 3;
      config.primary = node(p % 100);
      config.secondaries = {node((p + 1) % 100), node((p + 2) % 100)};
      config.last_committed = 1000 + p;
      out.push_back({StateOp::Kind::kPut, partition_path(config.pid), to_json(config)});
    }
  }
  return out;
}

// Everything on the shard; the main thread waits for `finished`.
struct Filler {
  io::RealRuntime& runtime;
  std::unique_ptr<zk::Client> client;
  std::unique_ptr<ZooKeeperElection> election;
  std::unique_ptr<StateStore> store;
  std::vector<StateOp> todo;
  size_t next = 0;
  Instant began;
  std::promise<int> finished;

  double seconds() const {
    return static_cast<double>((runtime.shard(0).now() - began).count()) / 1e9;
  }
  void end(const Status& status) {
    std::fprintf(stderr, "fill_state: %s\n", status.to_string().c_str());
    finished.set_value(1);
  }
  void begin() {
    election->start([this](Standing standing) {
      if (!standing.leading) return;
      store->open([this](Result<StateStore::Tree> tree) {
        if (!tree) return end(tree.error());
        began = runtime.shard(0).now();
        write();
      });
    });
  }
  void write() {
    if (next == todo.size()) {
      std::printf("wrote %zu nodes in %.2f s\n", todo.size(), seconds());
      return finished.set_value(0);
    }
    std::vector<StateOp> some;
    for (size_t bytes = 0; next < todo.size() && bytes < store->max_transaction_bytes(); ++next) {
      bytes += todo[next].path.size() + todo[next].data.size();
      some.push_back(todo[next]);
    }
    store->write(std::move(some), [this](const Status& status) {
      if (!status.ok()) return end(status);
      write();
    });
  }
};

int run(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: fill_state HOST:PORT ROOT TABLES PARTITIONS\n");
    return 2;
  }
  io::RealRuntime runtime({.shards = 1, .blocking_threads = 2});
  std::vector<std::string> warnings;
  zk::Options options;
  auto servers = zk::parse_servers(argv[1], "", warnings);
  if (!servers) return 2;
  options.servers = std::move(*servers);
  options.session_timeout = std::chrono::seconds(10);
  Filler f{runtime, {}, {}, {}, state(std::atoi(argv[3]), std::atoi(argv[4])), 0, {}, {}};
  std::string root = argv[2];
  f.client = zk::make_client(runtime.shard(0), runtime.blocking(), options, {}, nullptr);
  f.election = std::make_unique<ZooKeeperElection>(runtime.shard(0), *f.client, root + "/lock",
                                                   HostPort{0x7f000001u, 1});
  f.store = make_zookeeper_store(
      runtime.shard(0), *f.client,
      {root, [&] { return f.election->fence(); }, [&](auto why) { f.election->resign(why); }});
  runtime.shard(0).post([&] { f.begin(); });
  int code = f.finished.get_future().get();
  std::promise<void> closed;
  runtime.shard(0).post(
      [&] { f.store->close([&] { f.election->stop([&] { closed.set_value(); }); }); });
  closed.get_future().wait();
  runtime.stop();
  return code;
}

}  // namespace
}  // namespace markab::meta

int main(int argc, char** argv) { return markab::meta::run(argc, argv); }
