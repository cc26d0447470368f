// Channels against our own server and against peers that misbehave.

#include "rpc/channel.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>

#include "idl/rrdb_types.h"
#include "rpc/codec.h"
#include "rpc/server.h"
#include "unit/rpc/raw_client.h"

namespace markab::rpc {
namespace {

// A peer under the test's control: accepts, reads, and says only what it is told.
class Peer {
 public:
  explicit Peer(uint16_t port = 0) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(0x7f000001);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    at_ = {0x7f000001, ntohs(address.sin_port)};
  }
  ~Peer() {
    hang_up();
    ::close(fd_);
  }
  HostPort at() const { return at_; }
  void listen() { EXPECT_EQ(::listen(fd_, 16), 0); }
  void accept() { client_ = ::accept(fd_, nullptr, nullptr); }
  void hang_up() {
    if (client_ >= 0) ::close(client_);
    client_ = -1;
  }
  std::string read(size_t n) {
    std::string out(n, '\0');
    size_t have = 0;
    while (have < n) {
      ssize_t got = ::recv(client_, out.data() + have, n - have, 0);
      if (got <= 0) break;
      have += static_cast<size_t>(got);
    }
    out.resize(have);
    return out;
  }
  RequestFrame read_request(std::string& storage) {
    storage = read(kRdsnHeaderBytes);
    storage += read(load_le<uint32_t>(storage.data() + 16));
    RequestFrame frame;
    EXPECT_EQ(parse_rdsn(storage, 1 << 30, frame).outcome, Parsed::Outcome::kFrame);
    return frame;
  }
  void write(std::string_view bytes) {
    EXPECT_EQ(::send(client_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

 private:
  int fd_ = -1;
  int client_ = -1;
  HostPort at_;
};

class ChannelTest : public ::testing::Test {
 protected:
  ChannelTest() : runtime_({.shards = 1, .blocking_threads = 1}) {
    options_.self = {0x7f000001, 4711};
    options_.metrics = std::make_shared<ChannelMetrics>(registry_);
  }
  ~ChannelTest() override {
    if (network_) runtime_.run_and_wait(0, [this] { network_.reset(); });
    runtime_.stop();
  }
  void start() {
    runtime_.run_and_wait(0, [this] { network_ = make_channels(runtime_, 0, options_); });
  }
  std::future<Reply> call(HostPort to, std::string_view args = "\x0c\0\0\0\0",
                          Duration timeout = std::chrono::seconds(10),
                          TaskCode code = TaskCode::kGet) {
    auto promise = std::make_shared<std::promise<Reply>>();
    auto future = promise->get_future();
    runtime_.shard(0).post([this, to, args = std::string(args), timeout, code, promise] {
      CallOptions options;
      options.timeout = timeout;
      options.gpid = {1, 0};
      network_->call(to, code, options, args,
                     [promise](Reply reply) { promise->set_value(std::move(reply)); });
    });
    return future;
  }

  io::RealRuntime runtime_;
  MetricRegistry registry_;
  ChannelOptions options_;
  std::unique_ptr<Network> network_;
};

TEST_F(ChannelTest, CallsTheServerAndBack) {
  io::RealRuntime server_runtime({.shards = 2, .blocking_threads = 1});
  Dispatcher dispatcher;
  dispatcher.on_partition([](Request request) {
    wire::blob key;
    if (!decode_args(request.args, key).ok()) return request.reply_error(Errc::kInvalidData);
    EXPECT_TRUE(request.wants_host_port());
    wire::read_response response;
    response.value = key;
    request.reply(encode_result(response));
  });
  HttpRouter http;
  MetricRegistry registry;
  ServerOptions options;
  options.listen = {0x7f000001, 0};
  auto server = Server::start(server_runtime, options, dispatcher, http, registry);
  ASSERT_TRUE(server);
  start();
  std::vector<std::future<Reply>> calls;
  for (int i = 0; i < 2000; ++i)
    calls.push_back(call((*server)->address(), encode_args(wire::blob(std::to_string(i)))));
  for (int i = 0; i < 2000; ++i) {
    Reply reply = calls[static_cast<size_t>(i)].get();
    ASSERT_TRUE(reply.status.ok()) << reply.status.to_string();
    wire::read_response response;
    ASSERT_TRUE(decode_result(reply.result, response).ok());
    EXPECT_EQ(response.value.view, std::to_string(i));
  }
  std::string large(30 << 20, 'x');
  Reply reply = call((*server)->address(), encode_args(wire::blob(large))).get();
  ASSERT_TRUE(reply.status.ok()) << reply.status.to_string();
  EXPECT_GT(reply.result.size(), large.size());
  // What the peer answers with an error comes with its code, and was sent.
  reply = call((*server)->address(), std::string_view("\x08\0\0\0\0\0\0\0", 8)).get();
  EXPECT_EQ(reply.status.code(), Errc::kInvalidData);
  EXPECT_FALSE(reply.never_sent);
  reply = call((*server)->address(), "", std::chrono::seconds(10), TaskCode::kCliCall).get();
  EXPECT_EQ(reply.status.code(), Errc::kHandlerNotFound);
  // The server ends: everything later fails at once and says that it was not sent.
  auto gone = (*server)->address();
  (*server)->stop(Duration::zero());
  Reply lost;
  do {
    lost = call(gone).get();
  } while (!lost.never_sent &&
           lost.status.code() == Errc::kNetworkFailure);  // while the break is being noticed
  EXPECT_EQ(lost.status.code(), Errc::kNetworkFailure);
  EXPECT_NE(lost.status.message().find("refused"), std::string::npos) << lost.status.message();
  server_runtime.stop();
}

TEST_F(ChannelTest, TheHeaderIsTheNativeOne) {
  Peer peer;
  peer.listen();
  start();
  auto reply = call(peer.at(), "\x08\0\0\0\0\0\7\0");
  peer.accept();
  std::string bytes;
  RequestFrame frame = peer.read_request(bytes);
  EXPECT_EQ(frame.name, "RPC_RRDB_RRDB_GET");
  EXPECT_EQ(frame.header.context, 0x41u);  // no forwarding, spec 01 §6.2
  EXPECT_EQ(frame.header.gpid, (Gpid{1, 0}));
  EXPECT_EQ(frame.header.timeout_ms, 10000);
  EXPECT_EQ(frame.header.thread_hash, 7919);
  EXPECT_EQ(load_le<uint64_t>(bytes.data() + 112), 0x7f00000112670001u);
  EXPECT_EQ(load_le<uint32_t>(bytes.data() + 92), 0u);  // local_hash
  std::string answer;
  append_reply(answer, frame.header, frame.name, Errc::kForwardToOthers, "leader", {});
  peer.write(answer);
  Reply got = reply.get();
  EXPECT_EQ(got.status.code(), Errc::kForwardToOthers);
  EXPECT_EQ(got.result, "leader");
}

TEST_F(ChannelTest, ARefusedDialFailsAtOnceAndBacksOff) {
  Peer peer;  // bound, not listening
  start();
  Reply first = call(peer.at()).get();
  EXPECT_EQ(first.status.code(), Errc::kNetworkFailure);
  EXPECT_TRUE(first.never_sent);
  EXPECT_NE(first.status.message().find("nothing listens there"), std::string::npos)
      << first.status.message();
  int64_t dials = options_.metrics->dials.value();
  Reply second = call(peer.at()).get();
  EXPECT_TRUE(second.never_sent);
  EXPECT_LE(options_.metrics->dials.value(), dials + 1);
  // Hundreds of calls do not dial hundreds of times.
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(call(peer.at()).get().never_sent);
  EXPECT_LT(options_.metrics->dials.value(), 50);
  // And as soon as somebody listens, calls get through again.
  peer.listen();
  std::future<Reply> good;
  std::thread answerer([&] {
    peer.accept();
    std::string bytes;
    RequestFrame frame = peer.read_request(bytes);
    std::string answer;
    append_reply(answer, frame.header, frame.name, Errc::kOk, "x", {});
    peer.write(answer);
  });
  Reply reply;
  do {
    reply = call(peer.at()).get();
  } while (reply.never_sent);
  EXPECT_TRUE(reply.status.ok()) << reply.status.to_string();
  answerer.join();
}

TEST_F(ChannelTest, ABrokenConnectionEndsItsCallsAtOnce) {
  Peer peer;
  peer.listen();
  start();
  auto a = call(peer.at());
  auto b = call(peer.at());
  peer.accept();
  std::string bytes;
  peer.read_request(bytes);
  peer.read_request(bytes);
  peer.hang_up();
  for (auto* future : {&a, &b}) {
    Reply reply = future->get();
    EXPECT_EQ(reply.status.code(), Errc::kNetworkFailure);
    EXPECT_FALSE(reply.never_sent);
    EXPECT_NE(reply.status.message().find("outcome is unknown"), std::string::npos)
        << reply.status.message();
  }
}

TEST_F(ChannelTest, WhatTheKernelDidNotTakeWasNeverSent) {
  Peer peer;
  peer.listen();
  start();
  // More than socket buffers hold, to a peer that does not read: the first is half sent, the last
  // not at all.
  std::string large(40 << 20, 'x');
  auto first = call(peer.at(), large);
  auto last = call(peer.at(), "\x0c\0\0\0\0");
  peer.accept();
  peer.read(1000);
  peer.hang_up();
  EXPECT_FALSE(first.get().never_sent);
  EXPECT_TRUE(last.get().never_sent);
}

TEST_F(ChannelTest, TimeoutsAreOfEachCallAndLateAnswersHarmless) {
  Peer peer;
  peer.listen();
  start();
  auto patient = call(peer.at(), "p");
  auto hasty = call(peer.at(), "h", std::chrono::milliseconds(30));
  peer.accept();
  std::string first_bytes, second_bytes;
  RequestFrame first = peer.read_request(first_bytes);
  RequestFrame second = peer.read_request(second_bytes);
  Reply timed_out = hasty.get();
  EXPECT_EQ(timed_out.status.code(), Errc::kTimeout);
  EXPECT_FALSE(timed_out.never_sent);
  EXPECT_NE(timed_out.status.message().find("within 30 ms"), std::string::npos);
  auto third = call(peer.at(), "t");  // takes over the slot of the one that timed out
  std::string third_bytes;
  RequestFrame third_frame = peer.read_request(third_bytes);
  EXPECT_NE(third_frame.header.id, second.header.id);
  std::string answers;
  append_reply(answers, second.header, second.name, Errc::kOk, "late", {});
  append_reply(answers, third_frame.header, third_frame.name, Errc::kOk, "third", {});
  append_reply(answers, first.header, first.name, Errc::kOk, "first", {});
  peer.write(answers);
  EXPECT_EQ(patient.get().result, "first");
  EXPECT_EQ(third.get().result, "third");
}

TEST_F(ChannelTest, AMalformedAnswerBreaksTheConnection) {
  Peer peer;
  peer.listen();
  start();
  auto reply = call(peer.at());
  peer.accept();
  peer.write(std::string(300, 'x'));
  EXPECT_EQ(reply.get().status.code(), Errc::kNetworkFailure);
}

TEST_F(ChannelTest, TheBoundOfCallsInFlight) {
  options_.max_in_flight = 3;
  Peer peer;
  peer.listen();
  start();
  std::vector<std::future<Reply>> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(call(peer.at()));
  Reply refused = call(peer.at()).get();
  EXPECT_EQ(refused.status.code(), Errc::kBusy);
  EXPECT_TRUE(refused.never_sent);
  runtime_.run_and_wait(0, [this] { network_.reset(); });
  for (auto& future : waiting) EXPECT_EQ(future.get().status.code(), Errc::kNetworkFailure);
}

TEST_F(ChannelTest, TheBoundOfQueuedBytes) {
  options_.max_queued_bytes = 1 << 20;
  Peer peer;
  peer.listen();
  start();
  auto first = call(peer.at(), std::string(20 << 20, 'x'));
  EXPECT_EQ(first.get().status.code(), Errc::kBusy);
  EXPECT_EQ(call(peer.at(), std::string(65 << 20, 'x')).get().never_sent, true);
}

TEST_F(ChannelTest, ACallMayBeMadeFromACallback) {
  Peer peer;
  start();
  // Ten refusals in a row, each started by the one before.
  std::promise<int> finished;
  Function<void(int)> again;
  again = [&](int left) {
    network_->call(peer.at(), TaskCode::kGet, {}, "", [&, left](Reply reply) {
      EXPECT_TRUE(reply.never_sent);
      if (left == 0) return finished.set_value(1);
      again(left - 1);
    });
  };
  runtime_.shard(0).post([&] { again(10); });
  EXPECT_EQ(finished.get_future().get(), 1);
}

}  // namespace
}  // namespace markab::rpc
