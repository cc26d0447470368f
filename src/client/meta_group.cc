#include "client/meta_group.h"

#include <algorithm>

#include "base/assert.h"
#include "client/errors.h"
#include "idl/base_types.h"
#include "rpc/wire_protocol.h"

namespace markab::client {

namespace {

// The server does not serve; another one, or the same one later, does (spec 01 §6.2, §12.2).
bool not_serving(Errc code) {
  return code == Errc::kForwardToOthers || code == Errc::kServiceNotActive ||
         code == Errc::kUnderRecovery;
}

}  // namespace

Errc peek_err(std::string_view result) {
  namespace protocol = apache::thrift::protocol;
  try {
    rpc::WireReader in(result);
    std::string name;
    protocol::TType type;
    int16_t id;
    in.readFieldBegin(name, type, id);
    if (type != protocol::T_STRUCT) return Errc::kInvalidData;
    for (;;) {
      in.readFieldBegin(name, type, id);
      if (type == protocol::T_STOP) return Errc::kInvalidData;
      if (id == 1 && type == protocol::T_STRUCT) break;
      in.skip(type);
    }
    wire::error_code err;
    err.read(&in);
    return err.code;
  } catch (const rpc::DecodeError&) {
    return Errc::kInvalidData;
  } catch (const std::exception&) {  // Thrift's depth limit
    return Errc::kInvalidData;
  }
}

struct MetaGroup::Life {
  MetaGroup* group;
};

struct MetaGroup::Call {
  uint64_t id = 0;
  MetaRequest request;
  AnswerCallback done;
  uint32_t round = 0;
  std::vector<bool> asked;  // in this round
  size_t waiting = 0;       // for answers, in this round
  Duration next_pause{0};
  io::TimerHandle timer;
  std::string last_failure;
  Errc last_code = Errc::kNetworkFailure;
};

MetaGroup::MetaGroup(io::Shard& shard, rpc::Network& network, MetaGroupOptions options)
    : shard_(shard),
      network_(network),
      options_(std::move(options)),
      random_(static_cast<uint64_t>(shard.wall_us()) ^ static_cast<uint64_t>(shard.index()) << 48),
      life_(std::make_shared<Life>(Life{this})) {
  MARKAB_ASSERT(!options_.servers.empty(), "a client without meta servers");
}

MetaGroup::~MetaGroup() { life_->group = nullptr; }

void MetaGroup::call(MetaRequest request, AnswerCallback done) {
  if (closed_ || calls_.size() >= kMaxMetaCalls) {
    Answer refused;
    refused.error =
        closed_ ? *closed_
                : Error{ErrorCode::kBusy,
                        fmt::format("{} calls to the meta servers are under way", kMaxMetaCalls)};
    shard_.post([done = std::move(done), refused = std::move(refused)]() mutable {
      done(std::move(refused));
    });
    return;
  }
  uint64_t id = next_id_++;
  auto call = std::make_unique<Call>();
  call->id = id;
  call->request = std::move(request);
  call->done = std::move(done);
  call->next_pause = options_.first_pause;
  calls_.emplace(id, std::move(call));
  shard_.post([life = life_, id] {
    if (life->group == nullptr) return;
    if (auto it = life->group->calls_.find(id); it != life->group->calls_.end()) {
      life->group->start_round(*it->second);
    }
  });
}

void MetaGroup::close(const Error& error) {
  closed_ = error;
  auto calls = std::move(calls_);
  calls_.clear();
  for (auto& [id, call] : calls) {
    Answer answer;
    answer.error = error;
    call->done(std::move(answer));
  }
}

void MetaGroup::start_round(Call& call) {
  if (shard_.now() >= call.request.deadline) {
    return fail(call, ErrorCode::kTimeout, "");
  }
  ++call.round;
  call.asked.assign(options_.servers.size(), false);
  call.waiting = 0;
  if (call.request.only_asks && options_.servers.size() > 1) {
    call.timer = shard_.after(options_.answer_patience, [this, &call] { ask_others(call); });
  }
  ask(call, leader_);
}

void MetaGroup::ask(Call& call, size_t server) {
  call.asked[server] = true;
  ++call.waiting;
  rpc::CallOptions options;
  options.timeout = call.request.deadline - shard_.now();
  if (call.request.only_asks) options.timeout = std::min(options.timeout, options_.attempt_timeout);
  network_.call(options_.servers[server], call.request.code, options, call.request.args,
                [life = life_, id = call.id, round = call.round,
                 server = static_cast<uint32_t>(server)](rpc::Reply reply) {
                  if (life->group != nullptr) {
                    life->group->on_reply(id, server, round, std::move(reply));
                  }
                });
}

void MetaGroup::ask_others(Call& call) {
  // A reply may come inside of ask() and end the call.
  uint64_t id = call.id;
  uint32_t round = call.round;
  for (size_t i = 0; i < options_.servers.size(); ++i) {
    auto it = calls_.find(id);
    if (it == calls_.end() || it->second->round != round) return;
    if (!it->second->asked[i]) ask(*it->second, i);
  }
}

void MetaGroup::on_reply(uint64_t id, size_t server, uint32_t round, rpc::Reply reply) {
  auto it = calls_.find(id);
  if (it == calls_.end()) return;
  Call& call = *it->second;
  Errc code = reply.status.code();
  Errc body = code == Errc::kOk ? peek_err(reply.result) : code;
  if (code == Errc::kOk && !not_serving(body)) {
    leader_ = server;
    Answer answer;
    answer.code = body;
    answer.result = reply.result;
    answer.block = std::move(reply.block);
    answer.origin.ipv4 = options_.servers[server].ipv4;
    answer.origin.port = options_.servers[server].port;
    if (body != Errc::kOk) {
      answer.error = {code_of(body),
                      fmt::format("the meta server {} answered {} to {}", options_.servers[server],
                                  errc_name(body), rpc::task_name(call.request.code))};
    }
    return finish(call, std::move(answer));
  }
  if (call.round != round) return;  // a failure of an older round is old news
  MARKAB_ASSERT(call.waiting > 0, "more answers than questions", server);
  --call.waiting;
  call.last_code = body;
  call.last_failure =
      fmt::format("meta server {}: {}", options_.servers[server],
                  reply.status.ok() ? std::string(errc_name(body)) : reply.status.to_string());
  bool refused = not_serving(body) || code == Errc::kHandlerNotFound || code == Errc::kAclDeny ||
                 code == Errc::kUnauthenticated;
  on_failure(call, server, reply.never_sent || refused);
}

void MetaGroup::on_failure(Call& call, size_t server, bool surely_undone) {
  if (call.last_code == Errc::kAclDeny || call.last_code == Errc::kUnauthenticated ||
      call.last_code == Errc::kHandlerNotFound || call.last_code == Errc::kInvalidData) {
    return fail(call, code_of(call.last_code), "");
  }
  if (!call.request.only_asks && !surely_undone) {
    return fail(call, ErrorCode::kUnknownOutcome,
                "the answer was lost, and whether it was done is not known");
  }
  if (call.request.only_asks) {
    uint64_t id = call.id;
    ask_others(call);
    auto it = calls_.find(id);
    if (it == calls_.end() || it->second->waiting > 0) return;
  } else {
    for (size_t i = 1; i < options_.servers.size(); ++i) {
      size_t next = (server + i) % options_.servers.size();
      if (!call.asked[next]) return ask(call, next);
    }
  }
  pause(call);
}

void MetaGroup::pause(Call& call) {
  auto jitter = Duration(
      static_cast<int64_t>(random_.below(static_cast<uint64_t>(call.next_pause.count()) / 2 + 1)));
  Duration wait = std::min(call.next_pause / 2 + jitter, call.request.deadline - shard_.now());
  call.next_pause = std::min(call.next_pause * 2, options_.last_pause);
  leader_ = (leader_ + 1) % options_.servers.size();
  call.timer = shard_.after(std::max(wait, Duration(0)), [this, &call] { start_round(call); });
}

void MetaGroup::finish(Call& call, Answer answer) {
  auto node = calls_.extract(call.id);
  node.mapped()->timer.cancel();
  node.mapped()->done(std::move(answer));
}

void MetaGroup::fail(Call& call, ErrorCode code, std::string message) {
  Answer answer;
  answer.code = call.last_code;
  if (code == ErrorCode::kTimeout && call.last_code != Errc::kTimeout)
    code = ErrorCode::kUnavailable;
  std::string text = fmt::format("{}: ", rpc::task_name(call.request.code));
  if (message.empty()) {
    text += fmt::format("no meta server gave an answer in time ({} known); last: ",
                        options_.servers.size());
  } else {
    text += message + "; last: ";
  }
  text += call.last_failure.empty() ? "none answered yet" : call.last_failure;
  answer.error = {code, std::move(text)};
  finish(call, std::move(answer));
}

}  // namespace markab::client
