#include "replica/meta_link.h"

#include <algorithm>

#include "base/log.h"
#include "idl/fd_types.h"
#include "rpc/codec.h"

namespace markab::replica {

using rpc::TaskCode;

struct MetaLink::Attempt {
  TaskCode code;
  std::string args;
  Duration timeout;
  Callback<rpc::Reply> done;
  size_t tried = 0;
};

MetaLink::MetaLink(io::Shard& shard, rpc::Network& network, MetaLinkOptions options,
                   MetricEntity& metrics)
    : shard_(shard),
      network_(network),
      options_(std::move(options)),
      beacon_failed_count_(metrics.counter(
          {"beacon_failed_count", "Beacons", "Beacons without a leader's answer"})) {
  MARKAB_ASSERT(!options_.metas.empty(), "a replica server without meta servers");
}

MetaLink::~MetaLink() { *alive_ = false; }

void MetaLink::start(Task on_connected, Task on_new_leader, Task on_lost) {
  on_connected_ = std::move(on_connected);
  on_new_leader_ = std::move(on_new_leader);
  on_lost_ = std::move(on_lost);
  stopped_ = false;
  send_beacon();
}

void MetaLink::stop() {
  stopped_ = true;
  beacon_timer_.cancel();
  lease_timer_.cancel();
}

void MetaLink::send_beacon() {
  if (stopped_) return;
  beacon_timer_ = shard_.after(options_.beacon_interval, [this] { send_beacon(); });
  wire::beacon_msg beacon;
  beacon.time = shard_.wall_us() / 1000;
  beacon.from_node = network_.self();
  beacon.to_node = leader();
  beacon.__set_start_time(options_.start_time_ms);
  rpc::CallOptions call;
  call.timeout = options_.beacon_interval * 2 / 3;
  auto sent = shard_.now();
  network_.call(leader(), TaskCode::kFdPing, call, rpc::encode_args(beacon),
                [this, alive = alive_, sent, asked = leader()](rpc::Reply reply) {
                  if (*alive && !stopped_) on_beacon_answer(sent, asked, reply);
                });
}

void MetaLink::on_beacon_answer(Instant sent, HostPort asked, const rpc::Reply& reply) {
  wire::beacon_ack ack;
  Status status = reply.status;
  if (status.ok()) status = rpc::decode_result(reply.result, ack);
  if (!status.ok()) {
    beacon_failed_count_.add();
    MARKAB_DEBUG("no beacon answer from {}: {}", leader(), status);
    current_ = (current_ + 1) % options_.metas.size();
    // Another meta server may lead already: ask soon, not only at the next beat.
    beacon_timer_ = shard_.after(options_.beacon_interval / 10, [this] { send_beacon(); });
    return;
  }
  if (!ack.is_master) {
    beacon_failed_count_.add();
    auto before = current_;
    follow(ack.primary_node);
    if (current_ != before) {
      send_beacon();
    } else {
      current_ = (current_ + 1) % options_.metas.size();
      beacon_timer_ = shard_.after(options_.beacon_interval / 10, [this] { send_beacon(); });
    }
    return;
  }
  if (!ack.allowed) {
    MARKAB_WARN("the meta server {} does not admit this node; see [meta_server] replica_white_list",
                leader());
    return;
  }
  auto now = shard_.now();
  auto until = sent + options_.lease;
  if (until <= now || until <= granted_until_) return;  // of no use any more
  // Whatever the timer did: a process that slept may hear of the next lease before it notices that
  // the last one ran out.
  bool lapsed = now >= granted_until_;
  granted_until_ = until;
  lease_timer_ = shard_.after(until - now, [this] {
    connected_ = false;
    MARKAB_WARN(
        "the lease ran out: no meta server answered for {} ms; reads and writes are refused until "
        "one does",
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.lease).count());
    on_lost_();
  });
  std::pair by(asked, ack.__isset.leadership ? ack.leadership : 0);
  bool another = std::exchange(granted_by_, by) != by;
  leaderships_ += another;
  if (lapsed || !connected_) {
    connected_ = true;
    confirmed_ = false;
    ++term_;
    on_connected_();
  } else if (another) {
    on_new_leader_();
  }
  if (confirmed_) lease_until_.store(until.ns, std::memory_order_release);
}

void MetaLink::confirm(uint64_t term) {
  if (stopped_ || term != term_) return;
  confirmed_ = true;
  lease_until_.store(granted_until_.ns, std::memory_order_release);
}

void MetaLink::follow(HostPort leader) {
  auto found = std::find(options_.metas.begin(), options_.metas.end(), leader);
  if (found != options_.metas.end()) current_ = static_cast<size_t>(found - options_.metas.begin());
}

void MetaLink::call(TaskCode code, std::string args, Duration timeout, Callback<rpc::Reply> done) {
  attempt(std::make_shared<Attempt>(Attempt{code, std::move(args), timeout, std::move(done), 0}));
}

void MetaLink::attempt(std::shared_ptr<Attempt> a) {
  rpc::CallOptions call;
  call.timeout = a->timeout;
  auto target = leader();
  network_.call(target, a->code, call, a->args,
                [this, alive = alive_, a, target](rpc::Reply reply) {
                  if (!*alive) return;
                  auto code = reply.status.code();
                  bool elsewhere = code == Errc::kNetworkFailure || code == Errc::kTimeout ||
                                   code == Errc::kServiceNotActive;
                  if (elsewhere && ++a->tried < options_.metas.size()) {
                    if (target == leader()) current_ = (current_ + 1) % options_.metas.size();
                    attempt(a);
                    return;
                  }
                  a->done(std::move(reply));
                });
}

}  // namespace markab::replica
