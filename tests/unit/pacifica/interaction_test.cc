// Runs the stories in testdata/*.txt: commands, "----", what the replicas then do. REWRITE=1 in the
// environment rewrites what is expected; read the difference before it is committed.
//
// The commands (several replicas: r1,r2); behind a ~ they say nothing:
//   option <name> <value>              of replicas started from here on
//   group r1 r2,r3 [max]              starts them as a group at ballot 1, and runs
//   start r1 [untrusted] [ballot=3 committed=5 log=6@3:x,7@3:y]
//   membership r1,r2 <ballot> <primary> <secondaries or -> [max]
//   meta r1 <ok|version|timeout|refused> [<ballot> <primary> <secondaries or ->]
//   propose r1 a b c                   then flush
//   sync r1 [n]                        all records, or n more, are durable
//   deliver [r1>r2] [n]                messages of that way in order; none: all messages, answers
//   too, until quiet lose r1>r2 [n] / fail r1>r2 [certain]   messages vanish / their sender is told
//   swap r1>r2                         the last message of that way becomes the first
//   run                                sync and deliver until quiet
//   tick <ms> [r1]                     time passes; all replicas, or one, see it
//   crash r1 / restart r1 / flushed r1
//   learn r4 <signature> <ballot> <primary> <secondaries or ->    start_learning at r4
//   stream r4                          begin_streaming at r4
//   add-learner r1 r4 <signature> <position>;  drop-learner r1 r4
//   install r4 r1                      r4 gets a checkpoint of r1
//   dead r1 r3 / remove r1 r3 / step-down r1 / break r1 / check-group r1
//   show r1

#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "model_replica.h"

namespace markab::pacifica {
namespace {

using Words = std::vector<std::string>;

Words split(const std::string& text, char by) {
  Words words;
  std::stringstream stream(text);
  for (std::string word; std::getline(stream, word, by);) {
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

int64_t number(const std::string& text) {
  int64_t value = 0;
  auto end = std::from_chars(text.data(), text.data() + text.size(), value).ptr;
  MARKAB_ASSERT(end == text.data() + text.size() && !text.empty(), "not a number", text);
  return value;
}

HostPort node_of(const std::string& text) {
  if (text == "-") return {};
  MARKAB_ASSERT(text.size() == 2 && text[0] == 'r', "not a replica", text);
  return node(text[1] - '0');
}

std::vector<HostPort> nodes_of(const std::string& text) {
  std::vector<HostPort> nodes;
  for (const auto& word : split(text, ',')) {
    if (word != "-") nodes.push_back(node_of(word));
  }
  return nodes;
}

class Story {
 public:
  std::string run(const std::string& command) {
    output_.clear();
    Words words = split(command, ' ');
    execute(words);
    return output_;
  }

 private:
  struct Message {
    uint64_t token = 0;
    std::optional<Prepare> prepare;  // else an acknowledgement
    PrepareAck ack;
  };
  using Way = std::pair<HostPort, HostPort>;

  ModelReplica& replica(const std::string& text) { return replicas_.at(node_of(text)); }
  Membership membership(const Words& words, size_t at) {
    Membership m;
    m.ballot = number(words.at(at));
    m.primary = node_of(words.at(at + 1));
    m.secondaries = nodes_of(words.at(at + 2));
    if (words.size() > at + 3) m.max_replica_count = static_cast<int32_t>(number(words[at + 3]));
    return m;
  }
  void say(const std::string& line) { output_ += line + "\n"; }
  void say(const ModelReplica& r, const std::string& text) { say(name(r.self) + ": " + text); }

  void perform(ModelReplica& r) {
    for (size_t i = 0; i < r.actions.size(); ++i) {
      const auto& action = r.actions[i];
      if (auto* ack = std::get_if<SendAck>(&action)) {
        auto [from, token] = asked_.at({r.self, ack->token});
        say(r, fmt::format("-> {}: {}", name(from), to_text(ack->ack)));
        network_[{r.self, from}].push_back({token, std::nullopt, ack->ack});
        continue;
      }
      say(r, to_text(action));
      r.perform(action);
      if (auto* send = std::get_if<SendPrepare>(&action)) {
        network_[{r.self, send->to}].push_back({send->token, send->prepare, {}});
      }
    }
    r.actions.clear();
  }

  void deliver(Way way) {
    auto& queue = network_[way];
    Message message = std::move(queue.front());
    queue.erase(queue.begin());
    auto found = replicas_.find(way.second);
    if (found == replicas_.end() || found->second.core == nullptr) return;
    auto& r = found->second;
    if (message.prepare) {
      uint64_t token = ++last_token_;
      asked_[{r.self, token}] = {way.first, message.token};
      r.core->on_prepare(way.first, token, *message.prepare, now_, r.actions);
    } else {
      r.core->on_prepare_ack(way.first, message.token, message.ack, now_, r.actions);
      r.core->flush(now_, r.actions);
    }
    perform(r);
  }

  bool deliver_any() {
    for (auto& [way, queue] : network_) {
      if (queue.empty()) continue;
      deliver(Way(way));
      return true;
    }
    return false;
  }

  void lose(const std::string& text, size_t count, bool tell, bool certain) {
    Words ends = split(text, '>');
    auto& queue = network_[{node_of(ends.at(0)), node_of(ends.at(1))}];
    while (count-- > 0 && !queue.empty()) {
      Message message = queue.front();
      queue.erase(queue.begin());
      auto& sender = replica(ends[0]);
      if (!tell || !message.prepare || sender.core == nullptr) continue;
      sender.core->on_prepare_failed(node_of(ends[1]), message.token, certain, now_,
                                     sender.actions);
      perform(sender);
    }
  }

  void option(const std::string& key, int64_t value) {
    if (key == "max_uncommitted")
      options_.max_uncommitted = static_cast<size_t>(value);
    else if (key == "max_uncommitted_bytes")
      options_.max_uncommitted_bytes = static_cast<size_t>(value);
    else if (key == "max_message_bytes")
      options_.max_message_bytes = static_cast<size_t>(value);
    else if (key == "max_messages_in_flight")
      options_.max_messages_in_flight = static_cast<size_t>(value);
    else if (key == "cache_mutations")
      options_.cache_mutations = static_cast<size_t>(value);
    else if (key == "min_replica_count")
      options_.min_replica_count = static_cast<int32_t>(value);
    else
      MARKAB_ASSERT(false, "no such option", key);
  }

  void start(const Words& words) {
    ModelReplica r;
    r.self = node_of(words.at(1));
    r.options = options_;
    r.options.self = r.self;
    for (size_t i = 2; i < words.size(); ++i) {
      Words pair = split(words[i], '=');
      if (words[i] == "untrusted") r.trusted = false;
      if (pair[0] == "ballot") r.base_ballot = r.base_member = number(pair.at(1));
      if (pair[0] == "committed") {
        r.flushed = r.applied = number(pair.at(1));
        for (Decree d = 1; d <= r.flushed; ++d) r.store[d] = content(1, d, "old");
      }
      if (pair[0] == "log") {
        for (const auto& entry : split(pair.at(1), ',')) {
          Words parts = split(entry, ':');
          Words position = split(parts.at(0), '@');
          r.log.push_back(
              {false, content(number(position.at(1)), number(position.at(0)), parts.at(1)), 0, 0});
        }
      }
    }
    r.start();
    replicas_[r.self] = std::move(r);
  }

  static Mutation content(Ballot ballot, Decree decree, std::string text) {
    return {ballot, decree, decree * 100, std::make_shared<const std::string>(std::move(text))};
  }

  void show(const ModelReplica& r) {
    const auto& core = *r.core;
    say(r, fmt::format(
               "{} ballot {} prepared {} committed {}, propose: {}, reads: {}, cached from {}{}",
               to_text(core.role()), core.ballot(), core.last_prepared(), core.last_committed(),
               errc_name(core.can_propose()), core.reads_allowed() ? "yes" : "no",
               core.first_cached(), core.idle() ? ", idle" : ""));
    for (const auto& p : core.peers()) {
      say(fmt::format("  {} {}{} acked {} committed {}", name(p.node),
                      p.learner ? "learner" : "secondary", p.learner && p.gating ? " gating" : "",
                      p.acked, p.committed));
    }
  }

  void meta(const Words& words) {
    static const std::map<std::string, Errc> kAnswers = {{"ok", Errc::kOk},
                                                         {"version", Errc::kInvalidVersion},
                                                         {"timeout", Errc::kTimeout},
                                                         {"refused", Errc::kInvalidState}};
    auto& r = replica(words.at(1));
    Membership current;
    if (words.size() > 3) current = membership(words, 3);
    r.core->on_meta_answer(kAnswers.at(words.at(2)), current, now_, r.actions);
    finish(r);
  }

  void finish(ModelReplica& r) {
    r.core->flush(now_, r.actions);
    perform(r);
  }

  void run_until_quiet() {
    for (int round = 0; round < 1000; ++round) {
      bool moved = false;
      for (auto& [self, r] : replicas_) {
        if (r.core == nullptr || r.durable == r.log.size()) continue;
        r.sync_all(now_);
        finish(r);
        moved = true;
      }
      while (deliver_any()) moved = true;
      if (!moved) return;
    }
    MARKAB_ASSERT(false, "the replicas do not come to rest");
  }

  void execute(const Words& w) {
    const auto& verb = w.at(0);
    if (verb == "option") return option(w.at(1), number(w.at(2)));
    if (verb == "start") return start(w);
    if (verb == "group") {  // all begin together
      Words members = split(w.at(1) + "," + w.at(2), ',');
      for (const auto& member : members) {
        if (member != "-") start({"start", member});
      }
      Words m = {"membership", w[1] + "," + w[2], "1", w[1], w[2]};
      if (w.size() > 3) m.push_back(w[3]);
      execute(m);
      return run_until_quiet();
    }
    if (verb == "run") return run_until_quiet();
    if (verb == "meta") return meta(w);
    if (verb == "membership") {
      for (HostPort n : nodes_of(w.at(1))) {
        auto& r = replicas_.at(n);
        r.core->on_membership(membership(w, 2), now_, r.actions);
        finish(r);
      }
      return;
    }
    if (verb == "deliver") {
      if (w.size() == 1) {
        while (deliver_any()) continue;
        return;
      }
      Words ends = split(w[1], '>');
      Way way(node_of(ends.at(0)), node_of(ends.at(1)));
      auto count = w.size() > 2 ? static_cast<size_t>(number(w[2])) : network_[way].size();
      while (count-- > 0) deliver(way);
      return;
    }
    if (verb == "lose")
      return lose(w.at(1), w.size() > 2 ? static_cast<size_t>(number(w[2])) : 1000, false, false);
    if (verb == "fail") return lose(w.at(1), 1, true, w.size() > 2 && w[2] == "certain");
    if (verb == "swap") {
      Words ends = split(w.at(1), '>');
      auto& queue = network_[{node_of(ends.at(0)), node_of(ends.at(1))}];
      std::rotate(queue.begin(), queue.end() - 1, queue.end());
      return;
    }
    if (verb == "tick") {
      now_ = now_ + std::chrono::milliseconds(number(w.at(1)));
      for (auto& [self, r] : replicas_) {
        if (r.core == nullptr || (w.size() > 2 && w[2] != name(self))) continue;
        r.core->on_tick(now_, r.actions);
        finish(r);
      }
      return;
    }
    execute_at(replica(w.at(1)), w);
  }

  void execute_at(ModelReplica& r, const Words& w) {
    const auto& verb = w[0];
    if (verb == "crash") return r.crash(0);
    if (verb == "restart") return r.start();
    if (verb == "show") return show(r);
    if (verb == "flushed") {
      r.flushed = r.applied;
      return;
    }
    Errc error = Errc::kOk;
    if (verb == "propose") {
      for (size_t i = 2; i < w.size() && error == Errc::kOk; ++i) {
        error = r.core->can_propose();
        if (error == Errc::kOk)
          r.core->propose(std::make_shared<const std::string>(w[i]), ++clock_, now_, r.actions);
      }
    } else if (verb == "sync") {
      r.sync(w.size() > 2 ? r.durable + static_cast<size_t>(number(w[2])) : r.log.size(), now_);
    } else if (verb == "learn") {
      error = r.core->start_learning(membership(w, 3), static_cast<uint64_t>(number(w.at(2))),
                                     r.actions);
    } else if (verb == "stream") {
      r.core->begin_streaming();
    } else if (verb == "add-learner") {
      error = r.core->add_learner(node_of(w.at(2)), static_cast<uint64_t>(number(w.at(3))),
                                  number(w.at(4)), now_, r.actions);
    } else if (verb == "drop-learner") {
      r.core->drop_learner(node_of(w.at(2)), r.actions);
    } else if (verb == "install") {
      r.install(replica(w.at(2)).store, replica(w.at(2)).applied);
    } else if (verb == "dead") {
      r.core->on_node_dead(node_of(w.at(2)), now_, r.actions);
    } else if (verb == "remove") {
      r.core->remove_secondary(node_of(w.at(2)), now_, r.actions);
    } else if (verb == "step-down") {
      r.core->step_down(r.actions);
    } else if (verb == "check-group") {
      r.core->check_group(now_, r.actions);
    } else if (verb == "break") {
      r.core->fail(r.actions);
    } else {
      MARKAB_ASSERT(false, "no such command", verb);
    }
    finish(r);
    if (error != Errc::kOk) say(r, std::string(errc_name(error)));
  }

  CoreOptions options_;
  std::map<HostPort, ModelReplica> replicas_;
  std::map<Way, std::vector<Message>> network_;
  std::map<std::pair<HostPort, uint64_t>, std::pair<HostPort, uint64_t>> asked_;
  uint64_t last_token_ = 0;
  int64_t clock_ = 1000;
  Instant now_{1000000000};
  std::string output_;
};

// A file is blocks of: comments and blank lines; commands; "----"; output up to a blank line.
// Commands of one block are run together.
std::string play(const std::string& file) {
  std::ifstream in(file);
  std::string result, output;
  Story story;
  bool expected = false;
  for (std::string line; std::getline(in, line);) {
    if (expected) {
      if (line.empty()) expected = false;
      continue;  // the old expectation
    }
    if (line == "----") {
      result += "----\n" + (output.empty() ? "(nothing)\n" : output) + "\n";
      output.clear();
      expected = true;
      continue;
    }
    result += line + "\n";
    if (line.empty() || line[0] == '#') continue;
    bool silent = line[0] == '~';
    std::string said = story.run(silent ? line.substr(1) : line);
    if (!silent) output += said;
  }
  EXPECT_TRUE(output.empty()) << file << ": the last commands have no ----, but say\n" << output;
  while (result.size() > 1 && result.ends_with("\n\n")) result.pop_back();
  return result;
}

class InteractionTest : public testing::TestWithParam<std::string> {};

TEST_P(InteractionTest, HappensAsWritten) {
  auto file = std::string(MARKAB_TEST_DATA) + "/unit/pacifica/testdata/" + GetParam() + ".txt";
  std::string played = play(file);
  std::ifstream in(file);
  std::stringstream written;
  written << in.rdbuf();
  ASSERT_FALSE(written.str().empty()) << file;
  if (std::getenv("REWRITE") != nullptr) {
    std::ofstream(file) << played;
    return;
  }
  EXPECT_EQ(played, written.str()) << file;
}

std::vector<std::string> stories() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(MARKAB_TEST_DATA "/unit/pacifica/testdata")) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Stories, InteractionTest, testing::ValuesIn(stories()),
                         [](const auto& info) { return info.param; });

// coverage.md names a story, or a test of the driver, for each invariant of spec 04 §1.3 and each
// change of role of §1.2, and names all stories that there are.
TEST(CoverageTest, NamesEveryInvariantAndEveryStory) {
  std::ifstream in(MARKAB_TEST_DATA "/unit/pacifica/coverage.md");
  std::map<std::string, std::string> rules;  // "S7" to the last cell
  std::string all;
  for (std::string line; std::getline(in, line);) {
    all += line + "\n";
    if (!line.starts_with("| S")) continue;
    auto end = line.find(' ', 2);
    auto cell = line.substr(0, line.rfind(" |"));
    rules[line.substr(2, end - 2)] = cell.substr(cell.rfind("| ") + 2);
  }
  auto names = stories();
  for (int i = 1; i <= 18; ++i) {
    auto shown = rules["S" + std::to_string(i)];
    EXPECT_GT(shown.size(), 3u) << "S" << i;
    if (shown.find('/') != std::string::npos || shown.find('.') != std::string::npos) continue;
    for (const auto& story : split(shown, ',')) {
      auto name = story.substr(story.find_first_not_of(' '));
      EXPECT_TRUE(std::binary_search(names.begin(), names.end(), name)) << "S" << i << ": " << name;
    }
  }
  for (const auto& name : names) EXPECT_NE(all.find(name), std::string::npos) << name;
}

}  // namespace
}  // namespace markab::pacifica
