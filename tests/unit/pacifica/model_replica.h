#pragma once
// A replica for tests: the core, a log that distinguishes written from durable, and a store that
// forgets what was not flushed. It does what replica/replica.h does, in a few lines and without
// time.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pacifica/replica_core.h"

namespace markab::pacifica {

inline HostPort node(int i) { return {0x0A000000u + static_cast<uint32_t>(i), 34801}; }
inline std::string name(HostPort n) { return n ? "r" + std::to_string(n.ipv4 & 0xff) : "-"; }
std::string to_text(const Membership& m);
std::string to_text(const Action& action);
std::string_view to_text(Role role);
std::string to_text(const Prepare& p);
std::string to_text(const PrepareAck& a);

struct LogRecord {
  bool reign = false;
  Mutation mutation;     // of a reign: ballot, and decree = keep_up_to
  Ballot member = 0;     // of a reign
  Decree committed = 0;  // as the writer knew
};

// What one process of a replica leaves on its disk, and the process while it lives.
struct ModelReplica {
  HostPort self;
  CoreOptions options;
  int incarnation = 0;
  std::unique_ptr<ReplicaCore> core;  // none: the process does not run

  // The disk. The store is durable up to `flushed`.
  Ballot base_ballot = 0;  // as the log's header remembers
  Ballot base_member = 0;
  std::vector<LogRecord> log;
  size_t durable = 0;     // records of `log` that a crash leaves
  int64_t uncounted = 0;  // log.size() less the records that this process appended
  std::map<Decree, Mutation> store;
  Decree flushed = 0;
  Decree applied = 0;
  bool trusted = true;
  bool lies_about_durability = false;  // a planted bug: tells of records that are only written
  bool forgets_ballot = false;         // a planted bug: recovers with the ballot 0

  Actions actions;

  void start();
  // Loses what is not durable but for `kept` records, and the store's memory.
  void crash(size_t kept);
  // Does the log's and the store's part of an action.
  void perform(const Action& action);
  // Makes the first `count` records durable and tells the core.
  void sync(size_t count, Instant now);
  void sync_all(Instant now) { sync(log.size(), now); }
  // The store is flushed and the log before it dropped. Precondition: the log is durable.
  void flush_and_trim();
  // A learner's own work: the state of `from` up to its commit point.
  void install(const std::map<Decree, Mutation>& state, Decree up_to);

  struct State {
    Ballot ballot = 0;
    Ballot member = 0;
    Decree committed = 0;
    std::map<Decree, Mutation> prepared;  // above the store's durable part, newest content
  };
  // What a restart would find if the first `records` of the log were left.
  State replay(size_t records) const;
  // The content of a decree in that state; none when it has none.
  std::optional<Mutation> content(const State& state, Decree decree) const;
};

}  // namespace markab::pacifica
