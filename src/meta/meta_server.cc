#include "meta/meta_server.h"

#include "base/log.h"
#include "idl/partition_types.h"
#include "rpc/process_metrics.h"

namespace markab::meta {

MetaServer::MetaServer(const MetaSeams& seams, MetaOptions options)
    : seams_(seams),
      options_(std::move(options)),
      server_entity_(rpc::process_metrics(seams.registry)),
      metrics_(seams.registry, server_entity_) {}

MetaServer::~MetaServer() { *alive_ = false; }

std::unique_ptr<MetaServer> MetaServer::start(const MetaSeams& seams, MetaOptions options,
                                              rpc::Dispatcher& dispatcher, rpc::HttpRouter& http,
                                              rpc::RemoteCommands& commands) {
  std::unique_ptr<MetaServer> server(new MetaServer(seams, std::move(options)));
  MetaServer& s = *server;
  s.dispatcher_ = &dispatcher;
  s.register_table_services();
  s.register_setting_services();
  s.register_cluster_services();
  s.register_replica_services();
  s.register_inactive_services();
  s.on(rpc::TaskCode::kRelay, [&s](rpc::Request request) { s.on_relayed(std::move(request)); });
  s.register_http(http);
  s.register_commands(commands);
  seams.shard.post([&s, alive = s.alive_] {
    if (!*alive) return;
    s.seams_.election.start([&s, alive](Standing standing) {
      if (*alive) s.stand(standing);
    });
  });
  return server;
}

void MetaServer::stop(Task done) {
  stopped_ = true;
  leadership_.reset();
  standing_ = {};
  waiting_relays_.clear();
  relay_timer_.cancel();
  auto last = std::make_shared<Task>(std::move(done));
  // The store first: who leads next must find it free.
  seams_.store.close([this, last] { seams_.election.stop([last] { (*last)(); }); });
}

void MetaServer::stand(Standing standing) {
  if (stopped_) return;
  standing_ = standing;
  if (standing.leading && leadership_ == nullptr) {
    MARKAB_INFO("this meta server won the election; loading the state");
    leadership_ = std::make_unique<Leadership>(seams_, options_, metrics_);
    leadership_->begin();
  } else if (!standing.leading) {
    if (leadership_ != nullptr) MARKAB_WARN("this meta server leads no longer");
    leadership_.reset();
    if (standing.leader) MARKAB_INFO("meta server {} leads", standing.leader);
  }
  flush_relays();
}

void MetaServer::on(rpc::TaskCode code, Handler handler) {
  auto [it, fresh] = handlers_.emplace(code, std::move(handler));
  MARKAB_ASSERT(fresh, "two handlers for one task code", rpc::task_name(code));
  dispatcher_->on(code, [this, handler = &it->second](rpc::Request request) {
    auto run = [this, handler](rpc::Request r) {
      drop_stale_leadership();
      (*handler)(std::move(r));
    };
    if (seams_.shard.in_thread()) return run(std::move(request));
    seams_.shard.post([run, request = std::move(request)]() mutable { run(std::move(request)); });
  });
}

void MetaServer::drop_stale_leadership() {
  if (leadership_ != nullptr && !seams_.election.holds()) stand({});
}

void MetaServer::name_leader(wire::query_cfg_response& response) {
  if (!standing_.leader)
    return;  // an element without a primary would be taken as a meta server 0.0.0.0:0
  wire::partition_configuration element;
  element.primary = standing_.leader;
  response.partitions.push_back(std::move(element));
}

void MetaServer::audit(const std::string& user, HostPort peer, const std::string& what, Errc err,
                       const std::string& hint) {
  MARKAB_AUDIT(log::Level::kInfo, "{}@{}: {}: {}{}{}", user.empty() ? "anonymous" : user, peer,
               what, err, hint.empty() ? "" : ": ", hint);
}

}  // namespace markab::meta
