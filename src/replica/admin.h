#pragma once
// The operator's side of a replica server: remote commands, disk and replica queries, HTTP below
// /replica (spec 04 §4.4, §6). Registered before the server listens.

#include "replica/server.h"
#include "rpc/http.h"
#include "rpc/remote_command.h"

namespace markab::replica {

class AdminService {
 public:
  explicit AdminService(ReplicaServer& server) : server_(server) {}

  void register_handlers(rpc::Dispatcher& dispatcher, rpc::RemoteCommands& commands,
                         rpc::HttpRouter& http);

 private:
  // Runs `text` for every open primary or secondary that `ids` names (all when empty), on its
  // shard, and answers in the form that scripts parse (spec 07 §2.5).
  using PerReplica = std::function<std::string(Replica&)>;
  void for_replicas(const rpc::RemoteCommands::Arguments& ids, PerReplica text,
                    rpc::RemoteCommands::Answer answer);
  void query_disk_info(rpc::Request request);
  void migrate_replica(rpc::Request request);
  void add_disk(rpc::Request request);
  void set_rate(RateLimit& limit, const rpc::RemoteCommands::Arguments& arguments,
                const rpc::RemoteCommands::Answer& answer);
  void query_app_info(rpc::Request request);
  void query_replica_info(rpc::Request request);

  ReplicaServer& server_;
};

}  // namespace markab::replica
