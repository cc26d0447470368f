// The gate over loopback, with a scripted mechanism: what passes before success, what is parked,
// how failures end, what strangers may hold; and a channel that negotiates with it.

#include "security/gate.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>

#include "idl/meta_admin_types.h"
#include "idl/rrdb_types.h"
#include "idl/security_types.h"
#include "io/own_pool.h"
#include "rpc/channel.h"
#include "rpc/codec.h"
#include "rpc/server.h"
#include "security/client_negotiation.h"
#include "security/negotiation_core.h"
#include "unit/rpc/raw_client.h"

namespace markab::security {
namespace {

using rpc::TaskCode;
using std::chrono::milliseconds;

// Client: "hello:NAME"; server: "who?"; client: ""; server: "sure?"; client: "yes"; done.
class ScriptedServer final : public Mechanism {
 public:
  explicit ScriptedServer(std::shared_future<void> gate) : gate_(std::move(gate)) {}
  StepResult start(std::string_view token) override {
    if (gate_.valid()) gate_.wait();
    if (token.substr(0, 6) != "hello:") return refuse();
    name_ = token.substr(6);
    return go_on("who?");
  }
  StepResult step(std::string_view token) override {
    if (++steps_ == 1) return token.empty() ? go_on("sure?") : refuse();
    if (token != "yes") return refuse();
    StepResult out;
    out.outcome = StepResult::Outcome::kDone;
    out.identity = {name_ + "@R", name_};
    return out;
  }

 private:
  static StepResult refuse() {
    StepResult out;
    out.failure = {Reason::kMechanismRefused, "no such greeting"};
    return out;
  }
  static StepResult go_on(std::string token) {
    StepResult out;
    out.outcome = StepResult::Outcome::kContinue;
    out.token = std::move(token);
    return out;
  }
  std::shared_future<void> gate_;
  std::string name_;
  int steps_ = 0;
};

class ScriptedClient final : public Mechanism {
 public:
  ScriptedClient(std::string name, Failure failure)
      : name_(std::move(name)), failure_(std::move(failure)) {}
  StepResult start(std::string_view) override {
    StepResult out;
    out.failure = failure_;
    if (failure_.detail.empty()) {
      out.outcome = StepResult::Outcome::kContinue;
      out.token = "hello:" + name_;
    }
    return out;
  }
  StepResult step(std::string_view token) override {
    StepResult out;
    out.outcome = token == "who?" ? StepResult::Outcome::kContinue : StepResult::Outcome::kDone;
    out.token = token == "who?" ? "" : "yes";
    return out;
  }

 private:
  std::string name_;
  Failure failure_;
};

struct Scripted final : Mechanisms {
  std::shared_future<void> gate;  // the server's first step waits for it
  std::string name = "alice";
  Failure client_failure{Reason::kMechanismRefused, ""};
  bool no_key = false;

  std::vector<std::string> names() const override { return {"GSSAPI"}; }
  std::unique_ptr<Mechanism> new_server(const std::string&, HostPort, Failure& failure) override {
    if (no_key) {
      failure = {Reason::kNoKeyForService, "No key table entry found"};
      return nullptr;
    }
    return std::make_unique<ScriptedServer>(gate);
  }
  std::unique_ptr<Mechanism> new_client(const std::string&, HostPort, Failure&) override {
    return std::make_unique<ScriptedClient>(name, client_failure);
  }
};

using Wire = wire::negotiation_status;

std::string negotiation(NegotiationStatus status, std::string_view msg) {
  wire::negotiation_request request;
  request.status = static_cast<Wire::type>(status);
  request.msg = msg;
  return rpc::encode_args(request);
}

// A peer that speaks THFT and knows the script.
class Peer : public rpc::RawClient {
 public:
  using RawClient::RawClient;

  void say(NegotiationStatus status, std::string_view msg) {
    send(rpc::thft0("RPC_NEGOTIATION", negotiation(status, msg), ++sequence_));
  }
  // "LIST_MECHANISMS_RESP GSSAPI", or "closed", or the envelope's error.
  std::string hear() {
    std::string frame = receive_thft();
    if (frame.size() < 8) return "closed";
    auto length = load_be<uint32_t>(frame.data() + 4);
    std::string error = frame.substr(8, length);
    if (error != "ERR_OK") return error;
    size_t at = 8 + length + 4;
    auto name = load_be<uint32_t>(frame.data() + at);
    wire::negotiation_response response;
    if (!rpc::decode_result(std::string_view(frame).substr(at + 4 + name + 4), response).ok())
      return "undecodable";
    return std::string(status_name(static_cast<NegotiationStatus>(response.status))) + " " +
           response.msg.to_string();
  }
  std::string ask(NegotiationStatus status, std::string_view msg) {
    say(status, msg);
    return hear();
  }
  void authenticate(const std::string& name) {
    EXPECT_EQ(ask(NegotiationStatus::kListMechanisms, ""), "LIST_MECHANISMS_RESP GSSAPI");
    EXPECT_EQ(ask(NegotiationStatus::kSelectMechanisms, "GSSAPI"), "SELECT_MECHANISMS_RESP ");
    EXPECT_EQ(ask(NegotiationStatus::kInitiate, "hello:" + name), "CHALLENGE who?");
    EXPECT_EQ(ask(NegotiationStatus::kChallengeResp, ""), "CHALLENGE sure?");
    EXPECT_EQ(ask(NegotiationStatus::kChallengeResp, "yes"), "SUCC ");
  }
  // A GET; the server answers with the user's name.
  void get() {
    send(rpc::thft0("RPC_RRDB_RRDB_GET", rpc::encode_args(wire::blob("k")), 77, {1, 0}));
  }
  std::string got() {
    std::string frame = receive_thft();
    if (frame.size() < 8) return "closed";
    auto length = load_be<uint32_t>(frame.data() + 4);
    std::string error = frame.substr(8, length);
    if (error != "ERR_OK") return error;
    size_t at = 8 + length + 4;
    auto name = load_be<uint32_t>(frame.data() + at);
    wire::read_response response;
    if (!rpc::decode_result(std::string_view(frame).substr(at + 4 + name + 4), response).ok())
      return "undecodable";
    return "user " + response.value.to_string();
  }

 private:
  int sequence_ = 0;
};

class GateTest : public ::testing::Test {
 protected:
  GateTest() : runtime_({.shards = 2, .blocking_threads = 1}), pool_(io::make_blocking_pool(1)) {
    options_.mandatory = true;
    dispatcher_.on_partition([](rpc::Request request) {
      wire::read_response response;
      std::string user = request.user().empty() ? "nobody" : request.user();
      response.value = std::string_view(user);
      response.server = "x";
      request.reply(rpc::encode_result(response));
    });
#define X(name, text, kind)                                       \
  if (rpc::task_kind(TaskCode::name) != rpc::TaskKind::kRead &&   \
      rpc::task_kind(TaskCode::name) != rpc::TaskKind::kWrite) {  \
    dispatcher_.on(TaskCode::name, [this](rpc::Request request) { \
      ++served_;                                                  \
      request.reply_error(Errc::kNoNeedOperate);                  \
    });                                                           \
  }
    MARKAB_TASK_CODES(X)
#undef X
    dispatcher_.on_refusal(TaskCode::kListApps, [](Errc error) {
      wire::configuration_list_apps_response response;
      response.err = error;
      return rpc::encode_result(response);
    });
    http_.on("page", "", [](rpc::HttpRequest, rpc::HttpRouter::Done done) { done({}); });
    http_.on("updateConfig", "", [](rpc::HttpRequest, rpc::HttpRouter::Done done) { done({}); });
  }
  ~GateTest() override {
    server_.reset();
    runtime_.stop();
  }
  void start() {
    gate_ = std::make_unique<Gate>(options_, mechanisms_, *pool_, registry_);
    rpc::ServerOptions options;
    options.listen = {0x7f000001, 0};
    options.guards = gate_.get();
    auto started = rpc::Server::start(runtime_, options, dispatcher_, http_, registry_);
    ASSERT_TRUE(started) << started.error().to_string();
    server_ = std::move(*started);
  }
  HostPort at() { return server_->address(); }
  int64_t metric(std::string_view name) {
    int64_t value = -1;
    for (auto& entity : registry_.entities()) {
      entity->for_each([&](const MetricEntity::Item& item) {
        if (item.info.name == name) value = item.value();
      });
    }
    return value;
  }
  // The answer to one call through a channel with negotiators.
  rpc::Reply call_through_channel(bool strict, Duration timeout = std::chrono::seconds(10),
                                  Duration deadline = std::chrono::seconds(10)) {
    DialOptions dial;
    dial.must_authenticate = strict;
    dial.deadline = deadline;
    dial.identity = "alice@R";
    dial.service = "pegasus/x";
    rpc::ChannelOptions channel;
    channel.negotiators =
        make_negotiators(dial, std::shared_ptr<Mechanisms>(&mechanisms_, [](Mechanisms*) {}),
                         io::make_blocking_pool(1), nullptr, nullptr);
    auto network = rpc::make_channels(runtime_, 1, channel);
    std::promise<rpc::Reply> ended;
    runtime_.shard(1).post([&] {
      rpc::CallOptions options;
      options.gpid = {1, 0};
      options.timeout = timeout;
      network->call(at(), TaskCode::kGet, options, rpc::encode_args(wire::blob("k")),
                    [&](rpc::Reply reply) { ended.set_value(std::move(reply)); });
    });
    auto reply = ended.get_future().get();
    runtime_.run_and_wait(1, [&] { network.reset(); });
    return reply;
  }

  io::RealRuntime runtime_;
  std::unique_ptr<io::BlockingPool> pool_;
  MetricRegistry registry_;
  rpc::Dispatcher dispatcher_;
  rpc::HttpRouter http_;
  Scripted mechanisms_;
  GateOptions options_;
  std::atomic<int> served_{0};
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<rpc::Server> server_;
};

TEST_F(GateTest, WhoAuthenticatesIsServedByName) {
  start();
  Peer peer(at());
  peer.authenticate("alice");
  peer.get();
  EXPECT_EQ(peer.got(), "user alice");
  EXPECT_EQ(metric("security_negotiations_succeeded"), 1);
  EXPECT_EQ(metric("security_strangers"), 0);
}

TEST_F(GateTest, NothingButNegotiationIsAnsweredBefore) {  // every task code of the list
  options_.premature_grace = milliseconds(0);
  start();
  int codes = 0;
#define X(name, text, kind)                                                                       \
  if (TaskCode::name != TaskCode::kNegotiation) {    \
    ++codes;                                                                                      \
    Peer peer(at());                                                                              \
    peer.send(rpc::rdsn(TaskCode::name, rpc::encode_args(wire::blob("x")), 9, {1, 0}));           \
    std::string frame = peer.receive_rdsn();                                                      \
    rpc::ReplyFrame reply;                                                                        \
    ASSERT_EQ(rpc::parse_rdsn_reply(frame, 1 << 20, reply).outcome, rpc::Parsed::Outcome::kFrame) \
        << text;                                                                                  \
    bool by_struct = TaskCode::name == TaskCode::kListApps;                                       \
    EXPECT_EQ(reply.error, by_struct ? Errc::kOk : Errc::kUnauthenticated) << text;               \
  }
  MARKAB_TASK_CODES(X)
#undef X
  EXPECT_EQ(served_, 0);
  EXPECT_GE(codes, 90);
  EXPECT_EQ(metric("security_requests_refused"), codes);
}

TEST_F(GateTest, AMetaCallIsRefusedInItsOwnForm) {  // 05 §2.6
  options_.premature_grace = milliseconds(0);
  start();
  Peer peer(at());
  wire::configuration_list_apps_request request;
  peer.send(rpc::rdsn(TaskCode::kListApps, rpc::encode_args(request), 9));
  std::string frame = peer.receive_rdsn();
  rpc::ReplyFrame reply;
  ASSERT_EQ(rpc::parse_rdsn_reply(frame, 1 << 20, reply).outcome, rpc::Parsed::Outcome::kFrame);
  wire::configuration_list_apps_response response;
  ASSERT_TRUE(rpc::decode_result(reply.result, response).ok());
  EXPECT_EQ(response.err.code, Errc::kUnauthenticated);
}

TEST_F(GateTest, WhatComesTooEarlyIsParkedAndServedInOrderUnderTheNewName) {  // S-000 (b)
  start();
  Peer peer(at());
  std::string both =
      rpc::thft0("RPC_RRDB_RRDB_GET", rpc::encode_args(wire::blob("k")), 1, {1, 0}) +
      rpc::thft0("RPC_NEGOTIATION", negotiation(NegotiationStatus::kListMechanisms, ""), 2);
  peer.send(both);
  EXPECT_EQ(peer.hear(), "LIST_MECHANISMS_RESP GSSAPI");
  EXPECT_TRUE(peer.quiet_for(50));
  EXPECT_EQ(peer.ask(NegotiationStatus::kSelectMechanisms, "GSSAPI"), "SELECT_MECHANISMS_RESP ");
  EXPECT_EQ(peer.ask(NegotiationStatus::kInitiate, "hello:bob"), "CHALLENGE who?");
  EXPECT_EQ(peer.ask(NegotiationStatus::kChallengeResp, ""), "CHALLENGE sure?");
  EXPECT_EQ(peer.ask(NegotiationStatus::kChallengeResp, "yes"), "SUCC ");
  EXPECT_EQ(peer.got(), "user bob");
  EXPECT_EQ(metric("security_parked_bytes"), 0);
}

TEST_F(GateTest, WithoutNegotiationParkedRequestsAreRefusedAfterTheGrace) {  // S-000 (c)
  options_.premature_grace = milliseconds(150);
  start();
  Peer peer(at());
  Instant before = runtime_.shard(0).now();
  peer.get();
  EXPECT_EQ(peer.got(), "ERR_UNAUTHENTICATED");
  EXPECT_GE(runtime_.shard(0).now() - before, milliseconds(150));
  before = runtime_.shard(0).now();
  peer.get();  // from then on at once
  EXPECT_EQ(peer.got(), "ERR_UNAUTHENTICATED");
  EXPECT_LT(runtime_.shard(0).now() - before, milliseconds(150));
  peer.authenticate("alice");  // the connection is still of use
  peer.get();
  EXPECT_EQ(peer.got(), "user alice");
}

TEST_F(GateTest, ParkingIsBounded) {
  options_.premature_grace = std::chrono::seconds(30);
  options_.deadline = std::chrono::seconds(30);
  start();
  Peer many(at());
  for (size_t i = 0; i < kMaxParkedMessages + 3; ++i) many.get();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(many.got(), "ERR_UNAUTHENTICATED");
  EXPECT_TRUE(many.quiet_for(50));
  Peer large(at());
  std::string half(kMaxParkedBytes / 2, 'x');
  for (int i = 0; i < 3; ++i)
    large.send(rpc::thft0("RPC_RRDB_RRDB_GET", rpc::encode_args(wire::blob(half)), i, {1, 0}));
  EXPECT_EQ(large.got(), "ERR_UNAUTHENTICATED");
  EXPECT_EQ(large.got(), "ERR_UNAUTHENTICATED");
  Peer too_large(at());
  std::string frame =
      rpc::thft0("RPC_RRDB_RRDB_GET", rpc::encode_args(wire::blob(std::string(4 << 20, 'x'))));
  too_large.send(std::string_view(frame).substr(0, 64 << 10));
  EXPECT_EQ(too_large.got(), "closed");
}

TEST_F(GateTest, ARequestWhoseTimeIsOverIsNotExecutedLate) {  // 05 §3.3
  std::promise<void> open;
  mechanisms_.gate = open.get_future().share();
  start();
  Peer peer(at());
  rpc::RdsnRequest request;
  request.code = TaskCode::kGet;
  request.gpid = {1, 0};
  request.timeout_ms = 1;
  request.id = 5;
  std::string bytes;
  rpc::append_rdsn_request(bytes, request, rpc::encode_args(wire::blob("k")), {0x7f000001, 1});
  auto step = [&](NegotiationStatus status, std::string_view msg) {
    peer.send(rpc::rdsn(TaskCode::kNegotiation, negotiation(status, msg), 1));
  };
  peer.send(bytes);
  step(NegotiationStatus::kListMechanisms, "");
  peer.receive_rdsn();
  step(NegotiationStatus::kSelectMechanisms, "GSSAPI");
  peer.receive_rdsn();
  step(NegotiationStatus::kInitiate, "hello:bob");
  EXPECT_TRUE(peer.quiet_for(20));
  open.set_value();
  peer.receive_rdsn();
  step(NegotiationStatus::kChallengeResp, "");
  peer.receive_rdsn();
  step(NegotiationStatus::kChallengeResp, "yes");
  peer.receive_rdsn();
  std::string frame = peer.receive_rdsn();
  rpc::ReplyFrame reply;
  ASSERT_EQ(rpc::parse_rdsn_reply(frame, 1 << 20, reply).outcome, rpc::Parsed::Outcome::kFrame);
  EXPECT_EQ(reply.id, 5u);
  EXPECT_EQ(reply.error, Errc::kTimeout);
}

TEST_F(GateTest, FailuresAreAnsweredWithAReasonAndTheEnd) {  // S-000 (d)
  start();
  {
    Peer peer(at());
    EXPECT_EQ(peer.ask(NegotiationStatus::kSelectMechanisms, "GSSAPI").substr(0, 25),
              "AUTH_FAIL protocol_order:");
    EXPECT_EQ(peer.hear(), "closed");
  }
  {
    Peer peer(at());
    peer.ask(NegotiationStatus::kListMechanisms, "");
    EXPECT_EQ(peer.ask(NegotiationStatus::kSelectMechanisms, "PLAIN").substr(0, 10), "AUTH_FAIL ");
    EXPECT_EQ(peer.hear(), "closed");
  }
  {
    Peer peer(at());
    peer.get();  // parked, then refused before the verdict
    peer.ask(NegotiationStatus::kListMechanisms, "");
    peer.ask(NegotiationStatus::kSelectMechanisms, "GSSAPI");
    peer.say(NegotiationStatus::kInitiate, "garbage");
    EXPECT_EQ(peer.got(), "ERR_UNAUTHENTICATED");
    EXPECT_EQ(peer.hear(), "AUTH_FAIL mechanism_refused: no such greeting");
    EXPECT_EQ(peer.hear(), "closed");
  }
  {
    Peer peer(at());
    peer.authenticate("alice");
    EXPECT_EQ(peer.ask(NegotiationStatus::kListMechanisms, "").substr(0, 10), "AUTH_FAIL ");
    EXPECT_EQ(peer.hear(), "closed");
  }
  {
    Peer peer(at());
    peer.send(rpc::thft0("RPC_NEGOTIATION", "rubbish", 1));
    EXPECT_EQ(peer.hear().substr(0, 10), "AUTH_FAIL ");
    EXPECT_EQ(peer.hear(), "closed");
  }
  mechanisms_.no_key = true;
  Peer peer(at());
  peer.ask(NegotiationStatus::kListMechanisms, "");
  EXPECT_EQ(peer.ask(NegotiationStatus::kSelectMechanisms, "GSSAPI"),
            "AUTH_FAIL no_key_for_service: No key table entry found");
  EXPECT_EQ(metric("security_failures_no_key_for_service"), 1);
  EXPECT_EQ(metric("security_failures_protocol_order"), 4);
}

TEST_F(GateTest, AMessageThatDoesNotWaitForItsAnswerEndsIt) {
  std::promise<void> open;
  mechanisms_.gate = open.get_future().share();
  start();
  Peer peer(at());
  peer.ask(NegotiationStatus::kListMechanisms, "");
  peer.ask(NegotiationStatus::kSelectMechanisms, "GSSAPI");
  peer.say(NegotiationStatus::kInitiate, "hello:alice");
  peer.say(NegotiationStatus::kChallengeResp, "");
  EXPECT_EQ(peer.hear().substr(0, 9), "AUTH_FAIL");
  EXPECT_EQ(peer.hear().substr(0, 9), "AUTH_FAIL");
  EXPECT_EQ(peer.hear(), "closed");
  open.set_value();
}

TEST_F(GateTest, StrangersAreCutAtTheDeadline) {
  options_.deadline = milliseconds(100);
  start();
  Peer silent(at());
  EXPECT_TRUE(silent.closed_silently());
  Peer slow(at());
  slow.ask(NegotiationStatus::kListMechanisms, "");
  EXPECT_EQ(slow.hear(), "closed");
  std::promise<void> open;
  mechanisms_.gate = open.get_future().share();
  Peer stuck(at());
  stuck.ask(NegotiationStatus::kListMechanisms, "");
  stuck.ask(NegotiationStatus::kSelectMechanisms, "GSSAPI");
  EXPECT_EQ(stuck.ask(NegotiationStatus::kInitiate, "hello:alice").substr(0, 18),
            "AUTH_FAIL timeout:");
  EXPECT_EQ(stuck.hear(), "closed");
  open.set_value();
  mechanisms_.gate = {};
  Peer quick(at());
  quick.authenticate("alice");
  EXPECT_TRUE(quick.quiet_for(200));  // no deadline after success
  quick.get();
  EXPECT_EQ(quick.got(), "user alice");
}

TEST_F(GateTest, StrangersAreCounted) {
  options_.max_unauthenticated_per_ip = 3;
  start();
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 3; ++i) {
    peers.push_back(std::make_unique<Peer>(at()));
    peers.back()->ask(NegotiationStatus::kListMechanisms, "");
  }
  Peer fourth(at());
  EXPECT_TRUE(fourth.closed_silently());
  EXPECT_EQ(metric("security_strangers"), 3);
  EXPECT_EQ(metric("security_strangers_turned_away"), 1);
  peers[0]->ask(NegotiationStatus::kSelectMechanisms, "GSSAPI");
  peers[0]->ask(NegotiationStatus::kInitiate, "hello:a");
  peers[0]->ask(NegotiationStatus::kChallengeResp, "");
  EXPECT_EQ(peers[0]->ask(NegotiationStatus::kChallengeResp, "yes"), "SUCC ");
  Peer fifth(at());  // there is room again
  fifth.authenticate("b");
}

TEST_F(GateTest, WhereItIsNotMandatoryNamelessPeersPass) {
  options_.mandatory = false;
  options_.deadline = milliseconds(100);
  start();
  Peer peer(at());
  peer.get();
  EXPECT_EQ(peer.got(), "user nobody");
  EXPECT_TRUE(peer.quiet_for(200));
  peer.get();
  EXPECT_EQ(peer.got(), "user nobody");
  Peer named(at());
  named.authenticate("alice");
  named.get();
  EXPECT_EQ(named.got(), "user alice");
  gate_->set_mandatory(true);  // from now on
  Peer late(at());
  late.get();
  EXPECT_EQ(late.got(), "ERR_UNAUTHENTICATED");  // the deadline comes before the grace's end
  EXPECT_EQ(late.got(), "closed");
  named.get();
  EXPECT_EQ(named.got(), "user alice");
}

TEST_F(GateTest, TrustedNetworksHaveANameAndMayStillNegotiate) {
  options_.trusted = *TrustedNetworks::parse({"127.0.0.0/8=tools"});
  start();
  Peer peer(at());
  peer.get();
  EXPECT_EQ(peer.got(), "user tools");
  peer.authenticate("alice");
  peer.get();
  EXPECT_EQ(peer.got(), "user alice");
}

TEST_F(GateTest, PagesAreForThisMachineAndChangesForTrustedSuperUsers) {  // 05 §8.6
  start();
  auto get = [&](const char* path) {
    rpc::RawClient client(at());
    client.send(std::string("GET ") + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return client.receive_until("\r\n").substr(9, 3);
  };
  EXPECT_EQ(get("/page"), "200");
  EXPECT_EQ(get("/updateConfig"), "403");
}

TEST_F(GateTest, AChannelProvesWhoItIsBeforeItsCalls) {
  start();
  auto reply = call_through_channel(true);
  ASSERT_TRUE(reply.status.ok()) << reply.status.to_string();
  wire::read_response response;
  ASSERT_TRUE(rpc::decode_result(reply.result, response).ok());
  EXPECT_EQ(response.value.to_string(), "alice");
}

TEST_F(GateTest, AChannelsCallsFailAtOnceWithTheCause) {
  mechanisms_.client_failure = {Reason::kKdcUnreachable, "Cannot contact any KDC for realm 'R'"};
  start();
  auto reply = call_through_channel(true);
  EXPECT_EQ(reply.status.code(), Errc::kUnauthenticated);
  EXPECT_TRUE(reply.never_sent);
  EXPECT_NE(reply.status.message().find("kdc_unreachable"), std::string::npos)
      << reply.status.to_string();
}

TEST_F(GateTest, AChannelTellsWhyThePeerRefused) {
  mechanisms_.no_key = true;
  start();
  auto reply = call_through_channel(true);
  EXPECT_EQ(reply.status.code(), Errc::kUnauthenticated);
  EXPECT_NE(reply.status.message().find("no_key_for_service"), std::string::npos)
      << reply.status.to_string();
}

TEST_F(GateTest, AChannelHasADeadlineOfItsOwn) {
  std::promise<void> open;
  mechanisms_.gate = open.get_future().share();
  start();
  auto reply = call_through_channel(true, std::chrono::seconds(10), milliseconds(100));
  EXPECT_EQ(reply.status.code(), Errc::kUnauthenticated);
  EXPECT_NE(reply.status.message().find("timeout"), std::string::npos);
  auto late = call_through_channel(true, milliseconds(100), std::chrono::seconds(10));
  EXPECT_EQ(late.status.code(), Errc::kTimeout);
  EXPECT_NE(late.status.message().find("negotiation"), std::string::npos)
      << late.status.to_string();
  open.set_value();
}

TEST(GateOff, APeerWithoutAuthenticationIsTakenOrNot) {
  // The dispatcher answers AUTH_DISABLE, as daemons without enable_auth do.
  io::RealRuntime runtime({.shards = 1, .blocking_threads = 1});
  rpc::Dispatcher dispatcher;
  dispatcher.on(TaskCode::kNegotiation, [](rpc::Request request) {
    wire::negotiation_response answer;
    answer.status = Wire::SASL_AUTH_DISABLE;
    request.reply(rpc::encode_result(answer));
  });
  dispatcher.on_partition([](rpc::Request request) { request.reply_error(Errc::kBusy); });
  rpc::HttpRouter http;
  MetricRegistry registry;
  rpc::ServerOptions options;
  options.listen = {0x7f000001, 0};
  auto server = rpc::Server::start(runtime, options, dispatcher, http, registry);
  ASSERT_TRUE(server);
  for (bool strict : {false, true}) {
    DialOptions dial;
    dial.must_authenticate = strict;
    rpc::ChannelOptions channel;
    channel.negotiators = make_negotiators(dial, std::make_shared<Scripted>(),
                                           io::make_blocking_pool(1), nullptr, nullptr);
    auto network = rpc::make_channels(runtime, 0, channel);
    std::promise<Errc> ended;
    runtime.shard(0).post([&] {
      rpc::CallOptions call;
      call.gpid = {1, 0};
      network->call((*server)->address(), TaskCode::kGet, call, rpc::encode_args(wire::blob("k")),
                    [&](rpc::Reply reply) { ended.set_value(reply.status.code()); });
    });
    EXPECT_EQ(ended.get_future().get(), strict ? Errc::kUnauthenticated : Errc::kBusy);
    runtime.run_and_wait(0, [&] { network.reset(); });
  }
  server->reset();
  runtime.stop();
}

}  // namespace
}  // namespace markab::security
