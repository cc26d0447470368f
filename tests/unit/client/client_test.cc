// The public client with real threads and sockets, against a server of one map.

#include "markab/client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <map>
#include <mutex>
#include <thread>

#include "base/config.h"
#include "base/metrics.h"
#include "idl/partition_types.h"
#include "idl/partition_types.tcc"
#include "idl/rrdb_types.h"
#include "idl/rrdb_types.tcc"
#include "markab/admin.h"
#include "rpc/codec.h"
#include "rpc/server.h"

namespace markab {
namespace {

using rpc::TaskCode;

// Meta and replica server in one, on one port.
class SmallServer {
 public:
  SmallServer() : runtime_({.shards = 1, .blocking_threads = 1}) {
    dispatcher_.on(TaskCode::kQueryPartitionConfigByIndex,
                   [this](rpc::Request request) { query(std::move(request)); });
    dispatcher_.on_partition([this](rpc::Request request) { data(std::move(request)); });
    rpc::ServerOptions options;
    options.listen = *HostPort::parse("127.0.0.1:0");
    auto started = rpc::Server::start(runtime_, options, dispatcher_, http_, registry_);
    MARKAB_ASSERT(started.has_value(), "the server does not start", started.error());
    server_ = std::move(*started);
  }
  ~SmallServer() {
    parked_.clear();
    server_->stop(std::chrono::milliseconds(10));
    server_.reset();
    runtime_.stop();
  }
  std::string address() const { return server_->address().to_string(); }
  std::atomic<bool> silent{false};

 private:
  void query(rpc::Request request) {
    wire::query_cfg_request asked;
    wire::query_cfg_response response;
    Status status = rpc::decode_args(request.args, asked);
    if (!status.ok() || asked.app_name != "temp") {
      response.err = Errc::kObjectNotFound;
    } else {
      response.app_id = 1;
      response.partition_count = 2;
      response.is_stateful = true;
      for (int i = 0; i < 2; ++i) {
        wire::partition_configuration config;
        config.pid = Gpid{1, i};
        config.ballot = 1;
        config.primary = server_->address();
        response.partitions.push_back(config);
      }
    }
    request.reply(rpc::encode_result(response));
  }
  void data(rpc::Request request) {
    if (silent) {
      std::lock_guard lock(mutex_);
      parked_.push_back(std::move(request));
      return;
    }
    std::lock_guard lock(mutex_);
    if (request.header.code == TaskCode::kPut) {
      wire::update_request put;
      if (!rpc::decode_args(request.args, put).ok()) return request.reply_error(Errc::kInvalidData);
      rows_[put.key.to_string()] = put.value.to_string();
      return request.reply(rpc::encode_result(wire::update_response()));
    }
    wire::blob key;
    if (!rpc::decode_args(request.args, key).ok()) return request.reply_error(Errc::kInvalidData);
    wire::read_response response;
    auto it = rows_.find(key.to_string());
    response.error = it == rows_.end() ? 1 : 0;
    if (it != rows_.end()) response.value = std::string_view(it->second);
    request.reply(rpc::encode_result(response));
  }

  io::RealRuntime runtime_;
  rpc::Dispatcher dispatcher_;
  rpc::HttpRouter http_;
  MetricRegistry registry_;
  std::unique_ptr<rpc::Server> server_;
  std::mutex mutex_;
  std::map<std::string, std::string> rows_;
  std::vector<rpc::Request> parked_;
};

// Lets a test wait for what happens on other threads.
class Signal {
 public:
  void set() {
    std::lock_guard lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

class ClientTest : public testing::Test {
 protected:
  std::shared_ptr<Client> connect(int threads = 1) {
    ClientOptions options;
    options.meta_servers = {server.address()};
    options.threads = threads;
    auto client = Client::create(options);
    EXPECT_TRUE(client) << client.error().message;
    return *client;
  }
  SmallServer server;
};

TEST(ClientOptionsTest, WrongOnesNameTheRange) {
  ClientOptions options;
  EXPECT_EQ(Client::create(options).error().code, ErrorCode::kInvalidArgument);
  options.meta_servers = {"nonsense"};
  EXPECT_NE(Client::create(options).error().message.find("nonsense"), std::string::npos);
  options.meta_servers = {"127.0.0.1:34601"};
  options.threads = 65;
  EXPECT_NE(Client::create(options).error().message.find("1 to 64"), std::string::npos);
  options.threads = 1;
  options.meta_servers = {"localhost:34601"};
  EXPECT_TRUE(Client::create(options)) << "names are looked up";
}

TEST_F(ClientTest, WritesAndReads) {
  auto client = connect();
  auto table = client->open("temp");
  ASSERT_TRUE(table) << table.error().message;
  ASSERT_TRUE((*table)->set("user_1", "name", "Ada"));
  auto value = (*table)->get("user_1", "name");
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(*value, "Ada");
  EXPECT_EQ(value.origin.server(), server.address());
  EXPECT_EQ((*table)->get("user_1", "age").error().code, ErrorCode::kNotFound);
}

TEST_F(ClientTest, OpeningAnUnknownTableFails) {
  EXPECT_EQ(connect()->open("nothing").error().code, ErrorCode::kTableNotFound);
}

TEST_F(ClientTest, ManyThreadsShareOneTable) {
  auto client = connect(2);
  auto table = client->open_later("temp");
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        std::string key = std::to_string(t) + "." + std::to_string(i);
        if (!table->set(key, "s", key)) continue;
        auto value = table->get(key, "s");
        good += value.ok() && *value == key ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 800);
}

TEST_F(ClientTest, CallbacksMayStartTheNextOperation) {
  auto client = connect();
  auto table = client->open_later("temp");
  Signal done;
  std::string seen;
  table->async_set("k", "s", "v", [&](Outcome<Nothing> set) {
    ASSERT_TRUE(set) << set.error().message;
    table->async_get("k", "s", [&](Outcome<std::string> value) {
      seen = value.ok() ? *value : value.error().message;
      done.set();
    });
  });
  ASSERT_TRUE(done.wait());
  EXPECT_EQ(seen, "v");
}

TEST_F(ClientTest, ASynchronousCallInACallbackIsRefusedInsteadOfHanging) {
  auto client = connect();
  auto table = client->open_later("temp");
  Signal done;
  Error error;
  table->async_get("k", "s", [&](Outcome<std::string>) {
    error = table->get("k", "s").error();
    done.set();
  });
  ASSERT_TRUE(done.wait());
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
}

// The smallest coroutine that starts at once and owns itself.
struct Job {
  struct promise_type {
    Job get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

Job write_and_read(std::shared_ptr<Table> table, std::string& seen, Signal& done) {
  for (int i = 0; i < 100; ++i) {
    auto set = co_await table->co_set("k", std::to_string(i), std::to_string(i * i));
    if (!set) seen = set.error().message;
  }
  auto value = co_await table->co_get("k", "12");
  seen = value ? *value : value.error().message;
  done.set();
}

TEST_F(ClientTest, CoroutinesGoOnOnAThreadOfTheClient) {
  auto client = connect();
  Signal done;
  std::string seen;
  write_and_read(client->open_later("temp"), seen, done);
  ASSERT_TRUE(done.wait());
  EXPECT_EQ(seen, "144");
}

TEST_F(ClientTest, TheLastReferenceMayGoInACallback) {
  auto client = connect();
  auto table = client->open_later("temp");
  Signal done;
  auto* raw = table.get();
  raw->async_get(
      "k", "s",
      [client = std::move(client), table = std::move(table), &done](Outcome<std::string>) mutable {
        client.reset();
        table.reset();
        done.set();
      });
  EXPECT_TRUE(done.wait());
}

TEST_F(ClientTest, ClosingEndsWhatIsUnderWay) {
  server.silent = true;
  auto client = connect();
  auto table = client->open("temp");
  ASSERT_TRUE(table);
  std::atomic<int> ended{0};
  std::atomic<int> closed{0};
  Signal all;
  for (int i = 0; i < 10; ++i) {
    (*table)->async_get("k", std::to_string(i), [&](Outcome<std::string> value) {
      closed += value.error().code == ErrorCode::kClosed ? 1 : 0;
      if (++ended == 10) all.set();
    });
  }
  *table = nullptr;
  client.reset();
  ASSERT_TRUE(all.wait()) << "long before the operations' own 5 s";
  EXPECT_EQ(closed, 10);
}

TEST_F(ClientTest, ATimeoutIsOfOneOperation) {
  server.silent = true;
  auto client = connect();
  auto table = client->open_later("temp");
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(table->get("k", "s", Timeout(200)).error().code, ErrorCode::kTimeout);
  auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, std::chrono::milliseconds(200));
  EXPECT_LT(took, std::chrono::milliseconds(2000));
}

}  // namespace
}  // namespace markab
