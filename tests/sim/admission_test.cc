// testdata/admission/*.txt: what a replica server lets in and what it answers to the rest (02 §5,
// §6, §13; 04 §4.2, §4.3, §5), on a simulated cluster of three replica servers with one table of
// four partitions. Requests go to partition 0. testdata/admission/README.txt describes the
// language.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/crc64.h"
#include "idl/duplication_types.h"
#include "idl/meta_admin_types.h"
#include "idl/rrdb_types.h"
#include "rpc/codec.h"
#include "sim_cluster.h"

namespace markab::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kFolder = std::string(MARKAB_TEST_DATA) + "/sim/testdata/admission";
constexpr Duration kPatience = seconds(3);  // after which no answer is silence

struct Answer {
  bool come = false;
  Errc error = Errc::kOk;
  std::string result;
  int64_t after_ms = 0;
};

class AnswerSink final : public rpc::ReplySink {
 public:
  AnswerSink(SimWorld& world, Answer& answer)
      : world_(world), answer_(answer), sent_(world.now()) {}
  void reply(const rpc::RequestHeader&, std::string_view, Errc error,
             std::string_view result) override {
    answer_ = {true, error, std::string(result), (world_.now() - sent_).count() / 1000000};
  }
  HostPort peer() const override { return {0x0A000003, 5}; }
  const std::string& user() const override { return nobody_; }
  bool wants_host_port() const override { return false; }

 private:
  SimWorld& world_;
  Answer& answer_;
  const Instant sent_;
  const std::string nobody_;
};

class Bytes final : public rpc::InputBlock {
 public:
  explicit Bytes(std::string bytes) : text(std::move(bytes)) {}
  const std::string text;
};

class AdmissionScript {
 public:
  AdmissionScript() : cluster_(7, options()) {
    cluster_.create_table("t", 4);
    bool open = cluster_.world().run_until([&] { return find(0, pacifica::Role::kPrimary) >= 0; },
                                           seconds(20));
    EXPECT_TRUE(open);
    cluster_.world().run_for(seconds(2));
  }

  std::string run(const std::string& text) {
    std::istringstream lines(text);
    std::string out;
    std::string line;
    std::vector<std::string> commands;
    while (std::getline(lines, line)) {
      if (line.empty() || line[0] == '#') {
        out += line + "\n";
      } else if (line != "----") {
        commands.push_back(line);
        out += line + "\n";
      } else {
        out += "----\n";
        for (const auto& command : commands) out += run_command(command);
        commands.clear();
        while (std::getline(lines, line) && !line.empty()) {
        }
        if (lines) out += "\n";
      }
    }
    return out;
  }

 private:
  static ClusterOptions options() {
    ClusterOptions out;
    out.metas = 1;
    out.replicas = 3;
    out.clients = 1;
    out.duplication = replica::duplication_peers({{"here", "1"}, {"there", "2"}}, "here").value();
    return out;
  }

  struct Words {
    std::map<std::string, std::string> options;
    std::vector<std::string> plain;
    int64_t number(const std::string& name, int64_t otherwise) const {
      auto at = options.find(name);
      return at == options.end() ? otherwise : std::strtoll(at->second.c_str(), nullptr, 0);
    }
    bool has(const std::string& word) const {
      return std::find(plain.begin(), plain.end(), word) != plain.end();
    }
  };

  static Words words_of(const std::string& line) {
    Words out;
    std::istringstream in(line);
    for (std::string word; in >> word;) {
      auto equals = word.find('=');
      if (equals == std::string::npos) {
        out.plain.push_back(word);
      } else {
        out.options[word.substr(0, equals)] = word.substr(equals + 1);
      }
    }
    return out;
  }

  std::string run_command(const std::string& line) {
    if (line.starts_with("env ")) {
      auto space = line.find(' ', 4);
      return change_env(wire::app_env_operation::APP_ENV_OP_SET, line.substr(4, space - 4),
                        line.substr(space + 1));
    }
    if (line.starts_with("del_env ")) {
      return change_env(wire::app_env_operation::APP_ENV_OP_DEL, line.substr(8), "");
    }
    Words words = words_of(line);
    if (words.plain.front() == "metric") return metric(words.plain.at(1));
    if (words.plain.front() == "move_primary") return move_primary();
    return send(words);
  }

  // Which node holds partition `index` in that role; -1: none.
  int find(int32_t index, pacifica::Role role) {
    for (int i = 0; i < 3; ++i) {
      if (!cluster_.up(i)) continue;
      for (const auto& replica : cluster_.server(i).replicas()) {
        if (replica->gpid().partition_index != index || replica->role() != role) continue;
        app_id_ = replica->gpid().app_id;
        return i;
      }
    }
    return -1;
  }

  // Through the meta server; then until every replica has heard of it.
  std::string change_env(wire::app_env_operation::type operation, const std::string& name,
                         const std::string& value) {
    wire::configuration_update_app_env_request request;
    request.app_name = "t";
    request.op = operation;
    request.__set_keys({name});
    if (operation == wire::app_env_operation::APP_ENV_OP_SET) request.__set_values({value});
    std::string said;
    auto& client = cluster_.client(0);
    client.shard().post([&] {
      client::MetaRequest call;
      call.code = rpc::TaskCode::kUpdateAppEnv;
      call.args = rpc::encode_args(request);
      call.deadline = client.shard().now() + seconds(5);
      call.only_asks = false;
      client.call_meta(std::move(call), [&](client::Answer answer) {
        wire::configuration_update_app_env_response response;
        bool decoded = rpc::decode_result(answer.result, response).ok();
        said = decoded ? std::string(errc_name(response.err.code)) : "no answer";
        if (decoded && response.err.code != Errc::kOk) said += ": " + response.hint_message;
        said += "\n";
      });
    });
    cluster_.world().run_until([&] { return !said.empty(); }, seconds(10));
    cluster_.world().run_for(seconds(32));  // config sync
    return said;
  }

  // The process of partition 0's primary dies, and another member takes over.
  std::string move_primary() {
    int old = find(0, pacifica::Role::kPrimary);
    cluster_.kill(old);
    cluster_.report_death(old);
    bool moved = cluster_.world().run_until([&] { return find(0, pacifica::Role::kPrimary) >= 0; },
                                            seconds(30));
    return moved ? "ok\n" : "no new primary\n";
  }

  // A counter of partition 0's primary.
  std::string metric(const std::string& name) {
    int node = find(0, pacifica::Role::kPrimary);
    std::string out = "no such metric\n";
    for (const auto& replica : cluster_.server(node).replicas()) {
      if (replica->gpid().partition_index != 0) continue;
      replica->metrics().entity->for_each([&](const MetricEntity::Item& item) {
        if (item.info.name == name) out = std::to_string(item.value()) + "\n";
      });
    }
    return out;
  }

  std::string body_of(const Words& words, rpc::TaskCode& code) {
    const std::string& what = words.plain.front();
    auto sort_key = words.options.find("sort_key");
    const std::string key =
        std::string("\0\1k", 3) + (sort_key == words.options.end() ? "S" : sort_key->second);
    std::string value(static_cast<size_t>(words.number("value_bytes", 1)), 'v');
    if (what == "get" || what == "ttl") {
      code = what == "get" ? rpc::TaskCode::kGet : rpc::TaskCode::kTtl;
      return rpc::encode_args(wire::blob(key));
    }
    if (what == "multi_get") {
      code = rpc::TaskCode::kMultiGet;
      wire::multi_get_request r;
      r.hash_key = "k";
      return rpc::encode_args(r);
    }
    if (what == "get_scanner") {
      code = rpc::TaskCode::kGetScanner;
      wire::get_scanner_request r;
      static const std::string start("\0\1k", 3);
      r.start_key = wire::blob(start);
      r.stop_key = wire::blob(std::string_view("\xff\xff"));
      r.start_inclusive = true;
      r.batch_size = 1;
      return rpc::encode_args(r);
    }
    if (what == "scan") {
      code = rpc::TaskCode::kScan;
      wire::scan_request r;
      r.context_id = scan_context_;
      return rpc::encode_args(r);
    }
    if (what == "clear_scanner") {
      code = rpc::TaskCode::kClearScanner;
      return rpc::encode_args(int64_t{5});
    }
    if (what == "rubbish") {
      code = rpc::TaskCode::kPut;
      return "rubbish";
    }
    if (what == "duplicate") {
      code = rpc::TaskCode::kDuplicate;
      return duplicate_body(words);
    }
    code = rpc::TaskCode::kPut;
    wire::update_request r;
    r.key = wire::blob(key);
    r.value = wire::blob(value);
    std::string body = rpc::encode_args(r);
    // "body_bytes": the value is what makes the whole body that long.
    if (int64_t bytes = words.number("body_bytes", 0); bytes > 0) {
      value.resize(value.size() + static_cast<size_t>(bytes) - body.size());
      r.value = wire::blob(value);
      body = rpc::encode_args(r);
    }
    return body;
  }

  // A hash key whose rows are partition 0's, or another's.
  static std::string hash_key_of(bool ours) {
    for (int i = 0;; ++i) {
      std::string candidate = fmt::format("d{}", i);
      if ((crc64(candidate) % 4 == 0) == ours) return candidate;
    }
  }

  std::string duplicate_body(const Words& words) {
    auto text = [&](const char* name, const char* otherwise) {
      auto at = words.options.find(name);
      return at == words.options.end() ? std::string(otherwise) : at->second;
    };
    std::string hash_key = hash_key_of(!words.has("elsewhere"));
    std::string key = std::string(1, '\0') + static_cast<char>(hash_key.size()) + hash_key + "s";
    wire::update_request put;
    put.key = wire::blob(key);
    std::string value(static_cast<size_t>(words.number("value_bytes", 1)), 'v');
    put.value = wire::blob(value);
    if (words.has("removal")) put.__set_type(wire::update_type::UT_CHECK_AND_MUTATE_REMOVE);
    std::string raw = words.has("garbled") ? "garbled" : rpc::encode_args(put);
    wire::duplicate_entry entry;
    entry.__set_timestamp(words.number("at", 1000));
    entry.__set_task_code(wire::task_code(text("code", "RPC_RRDB_RRDB_PUT")));
    entry.__set_raw_message(wire::blob(raw));
    entry.__set_cluster_id(static_cast<int8_t>(words.number("cluster", 2)));
    if (words.has("old_form")) return rpc::encode_args(entry);
    wire::duplicate_request request;
    if (!words.has("empty")) request.entries.push_back(entry);
    return rpc::encode_args(request);
  }

  // All at the beginning of one second of the wall clock.
  std::string send(const Words& words) {
    rpc::RequestHeader header;
    std::string body = body_of(words, header.code);
    header.gpid = {words.has("unknown") ? app_id_ + 99 : app_id_, 0};
    header.kind = words.has("native") ? rpc::HeaderKind::kRdsn : rpc::HeaderKind::kThft1;
    header.is_backup_request = words.has("backup");
    header.timeout_ms = static_cast<int32_t>(words.number("timeout_ms", 1000));
    header.partition_hash = static_cast<uint64_t>(words.number("hash", 0));
    int node =
        find(0, words.has("secondary") ? pacifica::Role::kSecondary : pacifica::Role::kPrimary);
    auto& shard = cluster_.server(node).runtime().shard(0);
    auto& world = cluster_.world();
    while (shard.wall_us() % 1000000 > 20000) world.run_for(milliseconds(10));
    auto count = static_cast<size_t>(words.number("times", 1));
    std::vector<Answer> answers(count);
    for (size_t i = 0; i < count; ++i) {
      auto block = std::make_shared<Bytes>(body);
      auto sink = std::make_shared<AnswerSink>(world, answers[i]);
      auto request = std::make_shared<rpc::Request>(header, rpc::task_name(header.code),
                                                    block->text, block, sink);
      request->arrived = shard.now();
      shard.post(
          [this, node, request] { cluster_.dispatcher(node).dispatch(std::move(*request)); });
    }
    world.run_for(kPatience);
    return describe(header.code, answers);
  }

  // Runs of equal answers, one a line.
  std::string describe(rpc::TaskCode code, const std::vector<Answer>& answers) {
    std::vector<std::pair<std::string, int>> runs;
    for (const auto& answer : answers) {
      std::string said = answer.come ? said_of(code, answer) : "silence";
      if (runs.empty() || runs.back().first != said) runs.push_back({said, 0});
      ++runs.back().second;
    }
    std::string out;
    for (const auto& [said, times] : runs) {
      out += (times == 1 ? "" : std::to_string(times) + " x ") + said + "\n";
    }
    return out;
  }

  std::string said_of(rpc::TaskCode code, const Answer& answer) {
    std::string said(errc_name(answer.error));
    if (answer.error == Errc::kOk && code == rpc::TaskCode::kGet) {
      wire::read_response response;
      EXPECT_TRUE(rpc::decode_result(answer.result, response).ok());
      if (response.error == 1) said += ", not found";
    }
    if (answer.error == Errc::kOk && code == rpc::TaskCode::kDuplicate) {
      wire::duplicate_response response;
      EXPECT_TRUE(rpc::decode_result(answer.result, response).ok());
      EXPECT_TRUE(response.__isset.error);
      said += fmt::format(", error {}", response.error);
      if (response.__isset.error_hint) said += ": " + response.error_hint;
    }
    bool scans = code == rpc::TaskCode::kGetScanner || code == rpc::TaskCode::kScan;
    if (answer.error == Errc::kOk && scans) {
      wire::scan_response response;
      EXPECT_TRUE(rpc::decode_result(answer.result, response).ok());
      said += fmt::format(", error {}, {} rows, {}", response.error, response.kvs.size(),
                          response.context_id > 0 ? "more" : "finished");
      if (response.context_id > 0) scan_context_ = response.context_id;
    }
    int64_t rounded = (answer.after_ms + 25) / 50 * 50;
    return rounded == 0 ? said : fmt::format("{} after {} ms", said, rounded);
  }

  SimCluster cluster_;
  int32_t app_id_ = 0;
  int64_t scan_context_ = 0;  // the last one that was handed out
};

std::vector<std::string> scripts() {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(kFolder)) {
    std::string name = file.path().stem();
    if (file.path().extension() == ".txt" && name != "README") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

class AdmissionTest : public testing::TestWithParam<std::string> {};

TEST_P(AdmissionTest, Answers) {
  std::string path = kFolder + "/" + GetParam() + ".txt";
  std::ifstream in(path, std::ios::binary);
  std::ostringstream expected;
  expected << in.rdbuf();
  std::string got = AdmissionScript().run(expected.str());
  if (std::getenv("MARKAB_REWRITE") != nullptr) {
    std::ofstream(path, std::ios::binary) << got;
    return;
  }
  EXPECT_EQ(got, expected.str());
}

INSTANTIATE_TEST_SUITE_P(Data, AdmissionTest, testing::ValuesIn(scripts()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace markab::sim
