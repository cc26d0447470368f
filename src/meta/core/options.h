#pragma once
// What the core is told by the configuration. Durations are monotonic; see config_keys.h for names,
// units and ranges.

#include <cstdint>
#include <set>

#include "base/ids.h"
#include "meta/core/model.h"

namespace markab::meta {

struct CoreOptions {
  // Failure detection (03 §8). grace > lease is checked where they are read.
  Duration lease = std::chrono::seconds(5);
  Duration grace = std::chrono::seconds(6);
  bool allow_list_enabled = false;
  std::set<HostPort> allow_list;
  int64_t stable_seconds =
      0;  // a restart sooner than this counts as unstable; 0: flap control is off
  int max_unstable_restarts = 5;

  Level level = Level::kSteady;  // configured at start
  int live_percentage = 50;
  int min_live_nodes = 1;

  int min_replica_count = 1;
  int max_replica_count = 5;
  int32_t max_partition_count = 65536;
  bool any_partition_count = false;
  int64_t hold_dropped_seconds = 604800;
  int32_t mutation_2pc_min_replica_count = 0;

  Duration guardian_interval = std::chrono::seconds(10);
  Duration resend_after = std::chrono::milliseconds(300);  // an unconfirmed proposal
  Duration remind_after = std::chrono::seconds(10);  // a confirmed one whose effect does not show
  int64_t assign_delay_ms = 600000;
  bool flow_control = false;
  int max_adds_per_node = 10;     // per guardian pass; 0 stops all adding
  std::set<HostPort> black_list;  // never get new secondaries
  int max_reserved_dropped = 1;
  // What the balancer will be told; kept so that operators' scripts find their switches.
  bool balancer_in_turn = false;
  bool only_primary_balancer = false;
  bool only_move_primary = false;
  std::set<int32_t> ignored_tables;

  Duration leave_bound = std::chrono::seconds(3);
  Duration step_down_retry = std::chrono::milliseconds(200);
  Duration forget_leaving_after = std::chrono::seconds(60);
  Duration forget_dead_after = std::chrono::hours(24);  // nodes without any replica
};

// The two clocks as an event finds them.
struct Moment {
  Instant now;
  int64_t wall_ms = 0;
  int64_t wall_seconds() const { return wall_ms / 1000; }
};

}  // namespace markab::meta
