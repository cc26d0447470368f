#include "client/routing.h"

#include "base/crc64.h"
#include "idl/partition_types.h"
#include "idl/partition_types.tcc"
#include "rpc/codec.h"

namespace markab::client {

// More partitions than that are not believed.
constexpr int32_t kMaxPartitions = 1 << 20;

struct Routing::Life {
  Routing* routing;
};

Routing::Routing(std::string name, io::Shard& shard, MetaGroup& metas, Limits limits,
                 Function<bool(Routing&)> answered)
    : name_(std::move(name)),
      shard_(shard),
      metas_(metas),
      limits_(limits),
      answered_(std::move(answered)),
      random_(crc64(name_) ^ static_cast<uint64_t>(shard.wall_us())),
      next_poll_(limits.first_poll),
      life_(std::make_shared<Life>(Life{this})) {}

Routing::~Routing() { life_->routing = nullptr; }

int32_t Routing::index_of(uint64_t hash) const {
  auto count = static_cast<uint64_t>(partitions_.size());
  auto index = static_cast<int32_t>(hash % count);
  if (at(index).ballot < 0 && index >= partition_count() / 2) index -= partition_count() / 2;
  return index;
}

void Routing::refresh() {
  if (asking_) return;
  asking_ = true;
  poll_.cancel();
  wire::query_cfg_request request;
  request.app_name = name_;
  MetaRequest question;
  question.code = rpc::TaskCode::kQueryPartitionConfigByIndex;
  question.args = rpc::encode_args(request);
  question.deadline = shard_.now() + limits_.question_timeout;
  metas_.call(std::move(question), [life = life_](Answer answer) {
    if (life->routing != nullptr) life->routing->on_answer(std::move(answer));
  });
}

void Routing::on_answer(Answer answer) {
  asking_ = false;
  ++answers_;
  last_error_ = take(answer);
  if (last_error_.code == ErrorCode::kTableNotFound) {
    partitions_.clear();
    app_id_ = 0;
  }
  if (last_error_.code == ErrorCode::kClosed) return;
  if (!answered_(*this)) {
    next_poll_ = limits_.first_poll;
    return;
  }
  if (asking_) return;
  auto half = static_cast<uint64_t>(next_poll_.count()) / 2;
  poll_ = shard_.after(Duration(static_cast<int64_t>(half + random_.below(half + 1))),
                       [this] { refresh(); });
  next_poll_ = std::min(next_poll_ * 2, limits_.last_poll);
}

Error Routing::take(const Answer& answer) {
  if (answer.code == Errc::kObjectNotFound) {
    return {ErrorCode::kTableNotFound,
            fmt::format("there is no table {} (meta server {}); `ls` shows what there is", name_,
                        answer.origin.server())};
  }
  if (answer.code == Errc::kBusyCreating || answer.code == Errc::kBusyDropping) {
    return {ErrorCode::kUnavailable,
            fmt::format("table {} is being {}", name_,
                        answer.code == Errc::kBusyCreating ? "created" : "dropped")};
  }
  if (answer.error) return answer.error;
  wire::query_cfg_response response;
  Status status = rpc::decode_result(answer.result, response);
  if (!status.ok()) {
    return {ErrorCode::kCorruption,
            fmt::format("the meta server {} described table {} in a way that cannot be read: {}",
                        answer.origin.server(), name_, status.message())};
  }
  auto count = response.partition_count;
  if (count <= 0 || count > kMaxPartitions ||
      response.partitions.size() != static_cast<size_t>(count)) {
    return {ErrorCode::kCorruption,
            fmt::format("the meta server {} says that table {} has {} partitions and describes {}",
                        answer.origin.server(), name_, count, response.partitions.size())};
  }
  std::vector<Partition> partitions(static_cast<size_t>(count));
  for (const auto& config : response.partitions) {
    int32_t index = Gpid(config.pid).partition_index;
    if (index < 0 || index >= count) continue;
    auto& partition = partitions[static_cast<size_t>(index)];
    partition.ballot = config.ballot;
    partition.primary = config.primary;
    // Either half may be missing (spec 01 §7.3).
    if (!partition.primary && config.__isset.hp_primary)
      partition.primary = config.hp_primary.node();
  }
  partitions_ = std::move(partitions);
  app_id_ = response.app_id;
  return {};
}

}  // namespace markab::client
