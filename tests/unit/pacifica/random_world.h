#pragma once
// A whole group under faults, from one seed: replicas that crash and lose unsynced log, messages
// that are lost, doubled and reordered, a meta server that elects, forgets to answer and suspects
// the living. Checkers look from outside: at disks, at what was promised to clients, at what the
// meta server stored; none trusts a core's own word.

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/random.h"
#include "model_replica.h"

namespace markab::pacifica {

// What is wrong on purpose, to see that the checkers see it.
enum class Planted {
  kNothing,
  kAckBeforeDurable,  // the driver tells of records that are only written
  kForgetBallot,      // a restart forgets the ballot of its log
  kClaimCommitted,    // a new primary says that everything inherited was committed
  kInflateAck,        // acknowledgements claim one decree too many
  kRecoverNothing,    // a restart drops what was prepared above the commit point
  kUntrustedTrusted,  // a log that lost acknowledged records is trusted
};

class RandomWorld {
 public:
  RandomWorld(uint64_t seed, Planted planted);
  // What is wrong with this seed; empty when nothing is.
  std::string run();
  // For the test's own sanity: how much happened.
  struct Counters {
    size_t committed = 0;
    size_t reigns = 0;
    size_t continued = 0;
    size_t upgrades = 0;
    size_t crashes = 0;
    size_t learned = 0;
    size_t relearn = 0;
    size_t asks = 0;
    size_t steps_down = 0;
    size_t abandoned = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  struct PrepareMessage {
    HostPort from;
    int from_incarnation;
    HostPort to;
    uint64_t token;
    Prepare prepare;
  };
  struct AckMessage {
    HostPort from;
    HostPort to;
    int to_incarnation;
    uint64_t token;
    PrepareAck ack;
    bool lost = false;  // the sender of the Prepare learns of a failure instead
    bool certain = false;
  };
  struct AskMessage {
    HostPort from;
    int incarnation;
    AskMeta ask;
    bool answered = false;  // the asker was told of a timeout already
  };
  struct AnswerMessage {
    HostPort to;
    int incarnation;
    Errc error;
    Membership current;
  };
  struct ConfigMessage {
    HostPort to;
    Membership membership;
  };
  struct InviteMessage {
    HostPort to;
    int to_incarnation;
    Membership membership;
    uint64_t signature;
  };
  struct LearnMessage {
    HostPort learner;
    int learner_incarnation;
    HostPort primary;
    uint64_t signature;
    Decree position;
  };
  struct LearnReply {
    HostPort learner;
    int learner_incarnation;
    uint64_t signature;
    bool stream;
    std::map<Decree, Mutation> state;  // to install, when !stream
    Decree up_to;
  };
  using Message = std::variant<PrepareMessage, AckMessage, AskMessage, AnswerMessage, ConfigMessage,
                               InviteMessage, LearnMessage, LearnReply>;
  struct Node {
    ModelReplica replica;
    std::map<uint64_t, std::pair<PrepareMessage, bool>> prepares;  // by token here: to be answered
    uint64_t last_token = 0;
    std::map<HostPort, uint64_t> invitations;
    uint64_t last_signature = 0;
    uint64_t learner_signature = 0;  // as learner; 0 once the stream has begun
    uint64_t session = 0;            // of the last invitation taken by this process
    HostPort teacher;
    bool asking = false;
  };

  void step();
  void heal();
  bool settled();
  void deliver(Message message);
  void deliver_some();
  void on(PrepareMessage& m);
  void on(AckMessage& m);
  void on(AskMessage& m);
  void on(AnswerMessage& m);
  void on(ConfigMessage& m);
  void on(InviteMessage& m);
  void on(LearnMessage& m);
  void on(LearnReply& m);

  void propose(Node& n);
  void crash(Node& n);
  void restart(Node& n);
  void maintain(Node& n);
  void finish(Node& n);
  void act(Node& n, const Action& action);
  void send_prepare(Node& n, const SendPrepare& send);
  void send_ack(Node& n, const SendAck& send);

  void meta_step();
  void meta_watch();
  bool apply_change(const AskMeta& ask);
  bool elect(Membership& m);
  void store(Membership m);
  bool is_member(HostPort n) const;

  void trace(const Node& n, const std::string& what);
  void fail(const std::string& what);
  void check_content(const Mutation& m);
  void check_log(const Node& n, size_t from);
  void check_commit(Node& n, const Mutation& m);
  void check_not_revived(const Mutation& m);
  void check_ack(Node& n, const PrepareAck& ack);
  void check_role(Node& n, const RoleChanged& change);
  void check_holds_all(const Node& n, const std::string& when);
  void check_session(const Node& n, const Prepare& prepare);
  void check_reads(const Node& n);
  void check_bounds(const Node& n);
  void check_end();

  bool alive(HostPort n) const { return nodes_.at(n).replica.core != nullptr; }
  Node& random_node();
  bool chance(double p) { return random_.chance(p); }

  const uint64_t seed_;
  const Planted planted_;
  const bool tracing_;  // MARKAB_TRACE is set
  Random random_;
  bool faults_ = true;
  double loss_ = 0, duplicate_ = 0, crash_ = 0, suspect_ = 0, disorder_ = 0, hand_over_ = 0,
         delay_ = 0, slow_meta_ = 0;
  Instant now_{1000000000};
  int step_number_ = 0;
  CoreOptions options_;
  std::map<HostPort, Node> nodes_;
  std::deque<Message> network_;
  std::vector<Message> stuck_;  // delivered much later

  Membership membership_;        // what the meta server stored
  int primary_incarnation_ = 0;  // the process that was made primary
  std::map<HostPort, int> seen_incarnation_;

  int64_t last_content_ = 0;
  std::map<std::pair<Ballot, Decree>, std::string> contents_;  // S2
  std::map<Decree, std::string> committed_;                    // as first committed anywhere
  Decree acknowledged_ = 0;                                    // the highest told to a client
  std::map<Ballot, HostPort> primaries_;
  struct Reign {
    Decree prepared = 0;
    bool committed = false;  // so all members heard of it
  };
  std::map<Ballot, Reign> reigns_;
  std::map<HostPort, Ballot> leading_;         // the reign of each primary
  std::map<std::string, Ballot> proposed_at_;  // content to the ballot of its proposal
  Counters counters_;
  std::string failure_;
};

}  // namespace markab::pacifica
