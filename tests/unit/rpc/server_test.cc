// The server over loopback: framings, order, bounds, rubbish, and the end.

#include "rpc/server.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "idl/rrdb_types.h"
#include "rpc/codec.h"
#include "unit/rpc/bytes_of.h"
#include "unit/rpc/raw_client.h"

namespace markab::rpc {
namespace {

constexpr HostPort kLoopback{0x7f000001, 0};

std::string get_args(std::string_view key) { return encode_args(wire::blob(key)); }

// A server whose GET echoes its key; whose REMOVE is kept until release(); whose TTL is dropped.
class ServerTest : public ::testing::Test {
 protected:
  ServerTest() : runtime_({.shards = 2, .blocking_threads = 2}) {
    dispatcher_.on_partition([this](Request request) {
      switch (request.header.code) {
        case TaskCode::kGet: {
          wire::blob key;
          if (!decode_args(request.args, key).ok()) return request.reply_error(Errc::kInvalidData);
          wire::read_response response;
          response.value = key;
          response.app_id = request.header.gpid.app_id;
          response.partition_index = request.header.gpid.partition_index;
          response.server = "127.0.0.1:34801";
          return request.reply(encode_result(response));
        }
        case TaskCode::kRemove: {
          std::lock_guard lock(mutex_);
          kept_.push_back(std::move(request));
          changed_.notify_all();
          return;
        }
        case TaskCode::kTtl:
          return;
        case TaskCode::kIncr:
          return request.reply_error(request.wants_host_port() ? Errc::kBusy : Errc::kExpired);
        case TaskCode::kClearScanner:
          return request.reply({});
        default:
          return request.reply_error(Errc::kDiskIoError);
      }
    });
    http_.on("echo", "says what it got", [](HttpRequest request, HttpRouter::Done done) {
      HttpResponse response;
      response.body = request.is_post ? "post:" + request.body : "get";
      for (auto& [name, value] : request.query) response.body += ";" + name + "=" + value;
      done(std::move(response));
    });
    http_.on("lost", "forgets its callback", [](HttpRequest, HttpRouter::Done) {});
    http_.on("moved", "redirects", [](HttpRequest, HttpRouter::Done done) {
      std::thread([done = std::move(done)] {
        HttpResponse response;
        response.status = 307;
        response.location = "http://127.0.0.1:1/moved";
        done(std::move(response));
      }).detach();
    });
  }
  ~ServerTest() override {
    server_.reset();
    kept_.clear();
    runtime_.stop();
  }

  void start(ServerOptions options = {}) {
    options.listen = kLoopback;
    auto started = Server::start(runtime_, options, dispatcher_, http_, registry_);
    ASSERT_TRUE(started) << started.error().to_string();
    server_ = std::move(*started);
  }
  HostPort at() { return server_->address(); }
  // Waits until `n` REMOVEs are kept and takes them.
  std::vector<Request> take_kept(size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(10), [&] { return kept_.size() >= n; });
    return std::move(kept_);
  }
  int64_t metric(std::string_view name) {
    int64_t value = -1;
    for (auto& entity : registry_.entities()) {
      entity->for_each([&](const MetricEntity::Item& item) {
        if (item.info.name == name) value = item.value();
      });
    }
    return value;
  }

  io::RealRuntime runtime_;
  Dispatcher dispatcher_;
  HttpRouter http_;
  MetricRegistry registry_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Request> kept_;
  std::unique_ptr<Server> server_;
};

std::string example_get(int version) {  // 01 §5.3
  std::string body =
      "80 01 00 01 00 00 00 11 52 50 43 5f 52 52 44 42 5f 52 52 44 42 5f 47 45 54 00 00 00 01"
      "0c 00 01 00 00 00 0c 00 05 68 65 6c 6c 6f 77 6f 72 6c 64 00";
  if (version == 0) {
    return bytes_of(
        "54 48 46 54  00 00 00 00  00 00 00 30  00 00 00 00"
        "00 00 00 31  00 00 00 00  00 00 00 02  00 00 00 07"
        "00 00 03 e8  00 00 3d e5  33 77 85 70 06 52 42 57" +
        body);
  }
  return bytes_of(
      "54 48 46 54 00 00 00 01 00 00 00 25 00 00 00 31"
      "08 00 01 00 00 00 02  08 00 02 00 00 00 07  08 00 03 00 00 03 e8  0a 00 04 33 77 85 70 06 "
      "52 42 57"
      "02 00 05 00  00" +
      body);
}

TEST_F(ServerTest, AnswersTheSpecificationsExampleByteForByte) {
  start();
  for (int version : {0, 1}) {
    RawClient client(at());
    ASSERT_TRUE(client.send(example_get(version)));
    EXPECT_EQ(
        hex_of(client.receive_thft()),
        hex_of(bytes_of(
            "00 00 00 72  00 00 00 06 45 52 52 5f 4f 4b  80 01 00 02 00 00 00 15"
            "52 50 43 5f 52 52 44 42 5f 52 52 44 42 5f 47 45 54 5f 41 43 4b 00 00 00 01"
            "0c 00 00 08 00 01 00 00 00 00 0c 00 02 00 00 00 0c 00 05 68 65 6c 6c 6f 77 6f 72 6c 64"
            "08 00 03 00 00 00 02 08 00 04 00 00 00 07"
            "0b 00 06 00 00 00 0f 31 32 37 2e 30 2e 30 2e 31 3a 33 34 38 30 31 00 00")));
  }
}

TEST_F(ServerTest, BothHeaderVersionsOnOneConnection) {
  start();
  RawClient client(at());
  ASSERT_TRUE(client.send(example_get(0) + example_get(1) + example_get(0)));
  std::string first = client.receive_thft();
  EXPECT_EQ(first.size(), 0x72u);
  EXPECT_EQ(client.receive_thft(), first);
  EXPECT_EQ(client.receive_thft(), first);
}

TEST_F(ServerTest, ErrorsHaveNoBodyAndNamesThatAllKnow) {
  start();
  RawClient client(at());
  client.send(thft0("RPC_RRDB_RRDB_PUT", get_args("x"), 7,
                    {1, 0}));  // answered kDiskIoError, unknown to Go and Java
  EXPECT_EQ(
      hex_of(client.receive_thft()),
      hex_of(bytes_of("00 00 00 3e 00 00 00 15 \"ERR_DISK_INSUFFICIENT\" 80 01 00 02 00 00 00 15"
                      "\"RPC_RRDB_RRDB_PUT_ACK\" 00 00 00 07")));
  client.send(thft0("RPC_RRDB_RRDB_GET", bytes_of("08 00 01 00 00 00 01 00"), 8, {1, 0}));
  EXPECT_NE(client.receive_thft().find("ERR_INVALID_DATA"), std::string::npos);
}

TEST_F(ServerTest, UnknownNamesAreAnsweredWithTheirOwnName) {
  start();
  RawClient client(at());
  client.send(thft0("RPC_NOBODY_KNOWS", bytes_of("00"), 3));
  EXPECT_EQ(
      hex_of(client.receive_thft()),
      hex_of(bytes_of("00 00 00 3d 00 00 00 15 \"ERR_HANDLER_NOT_FOUND\" 80 01 00 02 00 00 00 14"
                      "\"RPC_NOBODY_KNOWS_ACK\" 00 00 00 03")));
  // A data operation without a partition is none (01 §10.2).
  client.send(thft0("RPC_RRDB_RRDB_GET", get_args("k"), 4));
  EXPECT_NE(client.receive_thft().find("ERR_HANDLER_NOT_FOUND"), std::string::npos);
}

TEST_F(ServerTest, NativeFraming) {
  start();
  RawClient client(at());
  client.send(rdsn(TaskCode::kGet, get_args("key"), 0x1122334455667788, {2, 7}));
  std::string answer = client.receive_rdsn();
  ReplyFrame frame;
  Parsed parsed = parse_rdsn_reply(answer, 1 << 20, frame);
  ASSERT_EQ(parsed.outcome, Parsed::Outcome::kFrame) << parsed.reason;
  EXPECT_EQ(frame.id, 0x1122334455667788u);
  EXPECT_EQ(frame.error, Errc::kOk);
  wire::read_response response;
  ASSERT_TRUE(decode_result(frame.result, response).ok());
  EXPECT_EQ(response.value.view, "key");
}

TEST_F(ServerTest, ClearScannerIsSilentOnThftOnly) {  // 01 §5.2 rule 5, §11.1
  start();
  std::string args = encode_args(int64_t{5});
  RawClient thft(at());
  thft.send(thft0("RPC_RRDB_RRDB_CLEAR_SCANNER", args, 1, {1, 0}) +
            thft0("RPC_RRDB_RRDB_GET", get_args("after"), 2, {1, 0}));
  std::string answer = thft.receive_thft();
  EXPECT_NE(answer.find("RPC_RRDB_RRDB_GET_ACK"), std::string::npos);
  RawClient native(at());
  native.send(rdsn(TaskCode::kClearScanner, args, 9, {1, 0}));
  answer = native.receive_rdsn();
  EXPECT_EQ(answer.size(), kRdsnHeaderBytes);
  EXPECT_NE(answer.find("ERR_OK"), std::string::npos);
}

TEST_F(ServerTest, APipelineOfThousandsInAnySlicing) {
  start();
  constexpr int kRequests = 3000;
  std::string all;
  for (int i = 0; i < kRequests; ++i) {
    all += thft0("RPC_RRDB_RRDB_GET", get_args(std::string(static_cast<size_t>(i % 300), 'k')), i,
                 {1, 0});
  }
  for (size_t slice : {size_t{1} << 20, size_t{4097}, size_t{1000}}) {
    RawClient client(at());
    std::thread sender([&] {
      for (size_t i = 0; i < all.size(); i += slice)
        client.send(std::string_view(all).substr(i, slice));
    });
    for (int i = 0; i < kRequests; ++i) {
      std::string answer = client.receive_thft();
      size_t name = answer.find("_ACK");
      ASSERT_NE(name, std::string::npos) << i;
      EXPECT_EQ(load_be<int32_t>(answer.data() + name + 4), i);
    }
    sender.join();
  }
}

TEST_F(ServerTest, OneByteAtATime) {
  start();
  RawClient client(at());
  for (char c : example_get(0) + example_get(1)) ASSERT_TRUE(client.send({&c, 1}));
  EXPECT_EQ(client.receive_thft().size(), 0x72u);
  EXPECT_EQ(client.receive_thft().size(), 0x72u);
}

TEST_F(ServerTest, FramesLargerThanAnyBuffer) {
  start();
  RawClient client(at());
  for (size_t size : {size_t{20} << 10, size_t{200} << 10, size_t{20} << 20}) {
    std::string key(size, 'x');
    std::thread sender([&] {
      client.send(thft0("RPC_RRDB_RRDB_GET", get_args(key), 1, {1, 0}) + example_get(1));
    });
    std::string answer = client.receive_thft();
    EXPECT_GT(answer.size(), size);
    EXPECT_NE(answer.find(key), std::string::npos);
    EXPECT_EQ(client.receive_thft().size(), 0x72u);
    sender.join();
  }
}

TEST_F(ServerTest, AnswersFromOtherThreadsInAnyOrder) {
  start();
  RawClient client(at());
  for (int i = 0; i < 100; ++i)
    client.send(thft0("RPC_RRDB_RRDB_REMOVE", get_args("k"), i, {1, 0}));
  auto kept = take_kept(100);
  ASSERT_EQ(kept.size(), 100u);
  std::thread even([&] {
    for (size_t i = 0; i < 100; i += 2) kept[i].reply(encode_result(wire::update_response()));
  });
  std::thread odd([&] {
    for (size_t i = 1; i < 100; i += 2) kept[i].reply_error(Errc::kBusy);
  });
  std::vector<bool> seen(100);
  for (int i = 0; i < 100; ++i) {
    std::string answer = client.receive_thft();
    size_t name = answer.find("_ACK");
    ASSERT_NE(name, std::string::npos);
    auto id = static_cast<size_t>(load_be<int32_t>(answer.data() + name + 4));
    ASSERT_LT(id, 100u);
    EXPECT_FALSE(seen[id]);
    seen[id] = true;
    EXPECT_EQ(answer.find("ERR_BUSY") != std::string::npos, id % 2 == 1);
  }
  even.join();
  odd.join();
}

TEST_F(ServerTest, LargeAnswersFromOtherThreadsAmongSmallOnes) {
  start();
  constexpr size_t kAnswers = 30;
  RawClient client(at());
  for (size_t i = 0; i < kAnswers; ++i)
    client.send(thft0("RPC_RRDB_RRDB_REMOVE", get_args("k"), static_cast<int32_t>(i), {1, 0}));
  auto kept = take_kept(kAnswers);
  ASSERT_EQ(kept.size(), kAnswers);
  // Of the sizes about the bound between small and large, and far above it.
  auto size_of = [](size_t i) { return (i % 3) * (128u << 10) + (i % 10 == 9 ? 5u << 20 : i); };
  auto answer = [&](size_t from) {
    for (size_t i = from; i < kAnswers; i += 2) {
      std::string value(size_of(i), static_cast<char>('A' + i));
      wire::read_response response;
      response.value = std::string_view(value);
      kept[i].reply(encode_result(response));
    }
  };
  std::thread even(answer, 0);
  std::thread odd(answer, 1);
  std::vector<bool> seen(kAnswers);
  for (size_t n = 0; n < kAnswers; ++n) {
    std::string got = client.receive_thft();
    size_t name = got.find("_ACK");
    ASSERT_NE(name, std::string::npos);
    auto i = static_cast<size_t>(load_be<int32_t>(got.data() + name + 4));
    ASSERT_LT(i, kAnswers);
    EXPECT_FALSE(seen[i]);
    seen[i] = true;
    EXPECT_NE(got.find(std::string(size_of(i), static_cast<char>('A' + i))), std::string::npos)
        << i;
  }
  even.join();
  odd.join();
}

TEST_F(ServerTest, RequestsKeepTheirBytesAfterTheConnectionIsGone) {
  start();
  {
    RawClient client(at());
    client.send(thft0("RPC_RRDB_RRDB_REMOVE", get_args("kept bytes"), 1, {1, 0}));
    RawClient other(at());
    auto kept = take_kept(1);
    ASSERT_EQ(kept.size(), 1u);
    client.close();
    for (int i = 0; i < 3000; ++i)
      other.send(thft0("RPC_RRDB_RRDB_GET", get_args("noise"), i, {1, 0}));
    for (int i = 0; i < 3000; ++i) other.receive_thft();
    wire::blob key;
    ASSERT_TRUE(decode_args(kept[0].args, key).ok());
    EXPECT_EQ(key.view, "kept bytes");
    kept[0].reply_error(Errc::kBusy);  // into the void
  }
}

TEST_F(ServerTest, SilenceIsAnAnswer) {
  start();
  RawClient client(at());
  client.send(thft0("RPC_RRDB_RRDB_TTL", get_args("k"), 1, {1, 0}) + example_get(0));
  EXPECT_NE(client.receive_thft().find("GET_ACK"), std::string::npos);
  EXPECT_TRUE(client.quiet_for(50));
}

// ---- Rubbish

TEST_F(ServerTest, RubbishClosesWithoutAByte) {  // 01 §1
  start();
  for (std::string first :
       {std::string("\0\0\0\0", 4), std::string("\x16\3\1\2\0\1\0\1"),
        std::string("HEAD / HTTP/1.1\r\n\r\n"), std::string("PUT /x HTTP/1.1\r\n\r\n"),
        std::string("_RAW"), std::string("SSH-2.0-x\r\n"),
        std::string("OPTIONS / RTSP/1.0\r\n\r\n"), std::string(1000, '\xff')}) {
    RawClient client(at());
    client.send(first);
    EXPECT_TRUE(client.closed_silently()) << hex_of(first.substr(0, 8));
  }
  RawClient alive(at());
  alive.send(example_get(0));
  EXPECT_EQ(alive.receive_thft().size(), 0x72u);
  EXPECT_EQ(metric("network_malformed_frames"), 8);
}

TEST_F(ServerTest, MalformedFramesClose) {
  start();
  auto changed = [](std::string frame, size_t at, std::string_view bytes) {
    return frame.replace(at, bytes.size(), bytes);
  };
  std::string get = example_get(0);
  std::string meta = example_get(1);
  std::string native = rdsn(TaskCode::kGet, get_args("k"), 1, {1, 0});
  using namespace std::string_view_literals;
  for (const std::string& frame : {
           changed(get, 4, "\0\0\0\2"sv),           // version 2
           changed(get, 8, "\0\0\0\x2f"sv),         // header length
           changed(get, 16, "\x80\0\0\0"sv),        // negative body
           changed(get, 16, "\x04\0\0\1"sv),        // 64 MiB + 1
           changed(get, 16, "\0\0\0\0"sv),          // no body
           changed(get, 16, "\0\0\0\7"sv),          // body shorter than a message header
           changed(get, 48, "\x80\2\0\1"sv),        // strict version 2
           changed(get, 51, "\2"sv),                // a REPLY
           changed(get, 52, "\0\0\0\0"sv),          // nameless
           changed(get, 52, "\x7f\xff\xff\xff"sv),  // name longer than the body
           changed(meta, 8, "\xff\xff\xff\xff"sv),  // meta length
           changed(meta, 16, "\x0f\0\1\x0c\x7f\xff\xff\xff"sv),  // meta struct
           changed(native, 16, "\xff\xff\xff\xff"sv), changed(native, 104, "\x40"sv),  // an answer
           changed(native, 104, "\xc1"sv),     // format JSON
           changed(native, 12, "\1\2\3\4"sv),  // header checksum
           changed(native, 20, "\1\2\3\4"sv),  // body checksum
       }) {
    RawClient client(at());
    client.send(frame);
    EXPECT_TRUE(client.closed_silently()) << hex_of(frame.substr(0, 64));
  }
}

TEST_F(ServerTest, AFrameBeforeRubbishIsAnswered) {  // Python's stray bytes, 01 §13
  start();
  RawClient client(at());
  client.send(example_get(0) + "stray bytes");
  EXPECT_EQ(client.receive_thft().size(), 0x72u);
  EXPECT_TRUE(client.closed_silently());

  RawClient slow(at());
  slow.send(thft0("RPC_RRDB_RRDB_REMOVE", get_args("k"), 1, {1, 0}) + "stray bytes");
  auto kept = take_kept(1);
  ASSERT_EQ(kept.size(), 1u);
  kept[0].reply(encode_result(wire::update_response()));
  EXPECT_NE(slow.receive_thft().find("REMOVE_ACK"), std::string::npos);
  EXPECT_TRUE(slow.closed_silently());
}

TEST_F(ServerTest, AnotherSignatureOnTheSameConnectionCloses) {
  start();
  RawClient client(at());
  client.send(example_get(0));
  EXPECT_EQ(client.receive_thft().size(), 0x72u);
  client.send(rdsn(TaskCode::kGet, get_args("k"), 1, {1, 0}));
  EXPECT_TRUE(client.closed_silently());
}

TEST_F(ServerTest, AHalfClosedClientGetsItsAnswers) {
  start();
  RawClient client(at());
  client.send(thft0("RPC_RRDB_RRDB_REMOVE", get_args("k"), 1, {1, 0}));
  client.end_input();
  auto kept = take_kept(1);
  ASSERT_EQ(kept.size(), 1u);
  kept[0].reply(encode_result(wire::update_response()));
  EXPECT_NE(client.receive_thft().find("REMOVE_ACK"), std::string::npos);
  EXPECT_TRUE(client.closed_silently());
}

// ---- Bounds

TEST_F(ServerTest, AReaderThatIsSlowPausesItsOwnRequestsAndLosesNothing) {
  ServerOptions options;
  options.max_output_bytes = 1 << 20;
  start(options);
  RawClient client(at());
  std::string key(100 << 10, 'x');
  constexpr int kRequests = 1000;  // 100 MB of answers
  std::thread sender([&] {
    for (int i = 0; i < kRequests; ++i)
      client.send(thft0("RPC_RRDB_RRDB_GET", get_args(key), i, {1, 0}));
  });
  EXPECT_FALSE(client.quiet_for(10000));
  for (int i = 0; i < kRequests; ++i) {
    std::string answer = client.receive_thft();
    ASSERT_GT(answer.size(), key.size()) << i;
    size_t name = answer.find("_ACK");
    EXPECT_EQ(load_be<int32_t>(answer.data() + name + 4), i);
  }
  sender.join();
}

TEST_F(ServerTest, AReaderThatIsStuckIsCutOff) {  // 01 §12.3, the wedged Go session
  ServerOptions options;
  options.max_output_bytes = 1 << 20;
  options.stuck_output_timeout = std::chrono::milliseconds(200);
  start(options);
  RawClient client(at());
  std::string key(100 << 10, 'x');
  bool alive = true;
  for (int i = 0; i < 10000 && alive; ++i)
    alive = client.send(thft0("RPC_RRDB_RRDB_GET", get_args(key), i, {1, 0}));
  EXPECT_FALSE(alive);
}

TEST_F(ServerTest, ConnectionsOfOneHostAreBound) {
  ServerOptions options;
  options.max_connections_per_ip = 2;
  start(options);
  {
    RawClient a(at()), b(at());
    a.send(example_get(0));
    b.send(example_get(0));
    EXPECT_EQ(a.receive_thft().size(), 0x72u);
    EXPECT_EQ(b.receive_thft().size(), 0x72u);
    RawClient c(at());
    EXPECT_TRUE(c.closed_silently());
  }
  for (int i = 0; i < 1000; ++i) {  // places become free as the server sees the ends
    RawClient d(at());
    d.send(example_get(0));
    if (d.receive_thft().size() == 0x72u) return;
  }
  FAIL() << "no place became free";
}

TEST_F(ServerTest, ThePortsOwnerIsNamed) {
  start();
  ServerOptions options;
  options.listen = at();
  auto second = Server::start(runtime_, options, dispatcher_, http_, registry_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::kAddressAlreadyUsed);
  EXPECT_NE(second.error().message().find(std::to_string(at().port)), std::string::npos);
}

TEST_F(ServerTest, HostPortListsAreChecked) {
  ServerOptions options;
  options.listen = kLoopback;
  options.host_port_always = {"10.0.0.0/33"};
  auto server = Server::start(runtime_, options, dispatcher_, http_, registry_);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code(), Errc::kInvalidParameters);
}

TEST_F(ServerTest, HostPortFieldsGoByFramingUnlessThePeerIsListed) {  // 01 §7.3
  auto asked = [&](bool native) {
    RawClient client(at());
    client.send(native ? rdsn(TaskCode::kIncr, "", 1, {1, 0})
                       : thft0("RPC_RRDB_RRDB_INCR", "", 1, {1, 0}));
    std::string answer = native ? client.receive_rdsn() : client.receive_thft();
    EXPECT_NE(answer.find("ERR_"), std::string::npos);
    return answer.find("ERR_BUSY") != std::string::npos;
  };
  start();
  EXPECT_TRUE(asked(true));
  EXPECT_FALSE(asked(false));
  ServerOptions options;
  options.host_port_always = {"127.0.0.0/8"};
  server_.reset();
  start(options);
  EXPECT_TRUE(asked(true));
  EXPECT_TRUE(asked(false));
  options.host_port_never = {"127.0.0.1"};
  server_.reset();
  start(options);
  EXPECT_FALSE(asked(true));
  EXPECT_FALSE(asked(false));
}

// ---- The end

TEST_F(ServerTest, StopWaitsForWhatIsUnderWay) {
  start();
  RawClient client(at());
  client.send(thft0("RPC_RRDB_RRDB_REMOVE", get_args("k"), 1, {1, 0}));
  auto kept = take_kept(1);
  ASSERT_EQ(kept.size(), 1u);
  server_->stop_accepting();
  EXPECT_FALSE(RawClient(at()).connected());
  std::thread stopper([&] { server_->stop(std::chrono::seconds(30)); });
  EXPECT_TRUE(client.quiet_for(50));
  kept[0].reply(encode_result(wire::update_response()));
  EXPECT_NE(client.receive_thft().find("REMOVE_ACK"), std::string::npos);
  EXPECT_TRUE(client.closed_silently());
  stopper.join();
}

TEST_F(ServerTest, StopDoesNotWaitLongerThanItsGrace) {
  start();
  RawClient client(at());
  client.send(thft0("RPC_RRDB_RRDB_REMOVE", get_args("k"), 1, {1, 0}));
  auto kept = take_kept(1);
  server_->stop(std::chrono::milliseconds(50));
  EXPECT_TRUE(client.closed_silently());
}

// ---- HTTP

TEST_F(ServerTest, HttpStaysOpenAndAnswersInOrder) {
  start();
  RawClient client(at());
  client.send(
      "GET /echo?a=1 HTTP/1.1\r\nHost: x\r\n\r\nGET //echo/?b=%20%202&c HTTP/1.1\r\nHost: "
      "x\r\n\r\n");
  EXPECT_EQ(client.receive_until(";a=1"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\nget;a=1");
  EXPECT_EQ(
      client.receive_until(";c="),
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nget;b=  2;c=");
  client.send("GET /nothing/here HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.receive_until("here\""),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 36\r\n\r\n"
            "service not found for \"nothing/here\"");
}

TEST_F(ServerTest, AnHttpBodyInPieces) {
  start();
  RawClient client(at());
  for (std::string_view part :
       {"POST /ec", "ho HTTP/1.1\r\nContent-Le", "ngth: 11\r\n\r\nhello", " wor", "ld"}) {
    client.send(part);
    EXPECT_TRUE(part == "ld" || client.quiet_for(20));
  }
  EXPECT_NE(client.receive_until("world").find("post:hello world"), std::string::npos);
}

TEST_F(ServerTest, HttpCanBeTurnedOff) {  // 07 §3.1
  ServerOptions options;
  options.http = false;
  start(options);
  RawClient client(at());
  client.send("GET /echo HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(client.closed_silently());
  RawClient alive(at());
  alive.send(example_get(0));
  EXPECT_EQ(alive.receive_thft().size(), 0x72u);
}

TEST_F(ServerTest, HttpRefusals) {
  start();
  RawClient twice(at());
  twice.send("GET /echo?a=1&a=2 HTTP/1.1\r\n\r\n");
  EXPECT_NE(twice.receive_until("parameter: a").find("400 Bad Request"), std::string::npos);
  twice.send("GET /echo HTTP/1.1\r\n\r\n");  // the connection stays
  EXPECT_NE(twice.receive_until("\r\n\r\n").find("200 OK"), std::string::npos);

  RawClient rubbish(at());
  rubbish.send("GET rubbish\r\n\r\n");
  EXPECT_NE(rubbish.receive_until("\r\n\r\n").find("400 Bad Request"), std::string::npos);

  RawClient endless(at());
  endless.send("GET / HTTP/1.1\r\nX: " + std::string(100 << 10, 'x'));
  EXPECT_NE(endless.receive_until("\r\n\r\n").find("400 Bad Request"), std::string::npos);

  RawClient huge(at());
  huge.send("POST /echo HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n");
  EXPECT_NE(huge.receive_until("\r\n\r\n").find("400 Bad Request"), std::string::npos);

  RawClient chunks(at());
  chunks.send("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nabc\r\n");
  EXPECT_NE(chunks.receive_until("Content-Length\n").find("400 Bad Request"), std::string::npos);

  RawClient later(at());
  later.send("GET /echo HTTP/1.1\r\n\r\n");
  later.receive_until("get");
  later.send("PUT /echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(later.closed_silently());

  RawClient lost(at());
  lost.send("GET /lost HTTP/1.1\r\n\r\n");
  EXPECT_NE(lost.receive_until("dropped").find("500 Internal"), std::string::npos);
}

TEST_F(ServerTest, HttpRedirectsFromAnotherThread) {
  start();
  RawClient client(at());
  client.send("GET /moved HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.receive_until("\r\n\r\n"),
            "HTTP/1.1 307 Temporary Redirect\r\nContent-Type: text/plain\r\nLocation: "
            "http://127.0.0.1:1/moved\r\n"
            "Content-Length: 0\r\n\r\n");
}

TEST_F(ServerTest, HttpOneZeroCloses) {
  start();
  RawClient client(at());
  client.send("GET /echo HTTP/1.0\r\n\r\n");
  EXPECT_NE(client.receive_until("\r\n\r\nget").find("200 OK"), std::string::npos);
  EXPECT_TRUE(client.closed_silently());
}

TEST_F(ServerTest, HttpContinues) {
  start();
  RawClient client(at());
  client.send("POST /echo HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.receive_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ab");
  EXPECT_NE(client.receive_until("post:ab").find("200 OK"), std::string::npos);
}

}  // namespace
}  // namespace markab::rpc
