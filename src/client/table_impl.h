#pragma once
// What the public classes hold, and how a prepared operation gets to a lane.

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "client/front.h"
#include "client/scan_flow.h"
#include "markab/client.h"

namespace markab {

struct Client::Impl {
  std::shared_ptr<client::Front> front;
};

struct Table::Impl {
  Impl(std::shared_ptr<client::Front> front, std::string name, Timeout timeout)
      : front(std::move(front)), name(std::move(name)), timeout(timeout) {
    tables.resize(static_cast<size_t>(this->front->lane_count()));
  }
  // On the lane's thread.
  client::Core::Table* on(client::Front::Lane& lane) {
    auto& table = tables[static_cast<size_t>(front->lane_index(lane))];
    if (table == nullptr) table = lane.core->table(name);
    return table;
  }
  static Error too_many_tables() {
    return {ErrorCode::kBusy,
            fmt::format("the client holds {} tables, as many as it may", client::kMaxTables)};
  }

  const std::shared_ptr<client::Front> front;
  const std::string name;
  const Timeout timeout;
  std::vector<client::Core::Table*> tables;  // by lane; each touched on its lane's thread only
};

struct Scanner::Impl {
  std::shared_ptr<Table::Impl> table;
  client::Front::Lane* lane = nullptr;
  Timeout timeout{0};
  std::function<std::shared_ptr<client::ScanFlow>(client::Core&, client::Core::Table&)> make;
  // On the lane's thread, except while no operation is under way.
  std::shared_ptr<client::ScanFlow> flow;
  std::deque<ScanRow> rows;
  bool finished = false;

  static std::unique_ptr<Scanner> wrap(std::shared_ptr<Impl> impl) {
    return std::unique_ptr<Scanner>(new Scanner(std::move(impl)));
  }
};

namespace client {

// Runs `body(core, table, deadline)` on a lane, or tells `done` why not.
template <typename T, typename Body>
void on_lane(const std::shared_ptr<Table::Impl>& table, Front::Lane& lane, Timeout timeout,
             Done<T> done, Body body) {
  Instant deadline = lane.shard->now() + table->front->timeout_or(timeout, table->timeout);
  lane.shard->post(
      [table, &lane, deadline, done = std::move(done), body = std::move(body)]() mutable {
        Core::Table* known = table->on(lane);
        if (known == nullptr) return done(Table::Impl::too_many_tables());
        body(*lane.core, *known, deadline, std::move(done));
      });
}

template <typename T>
void submit(const std::shared_ptr<Table::Impl>& table, Prepared<T> prepared, Timeout timeout,
            Done<T> done) {
  on_lane<T>(table, table->front->lane(), timeout, std::move(done),
             [prepared = std::move(prepared)](Core& core, Core::Table& known, Instant deadline,
                                              Done<T> done) mutable {
               if (prepared.error) return done(std::move(prepared.error));
               core.call(known, std::move(prepared.request), deadline,
                         [read = prepared.read, done = std::move(done)](Answer answer) {
                           done(read(std::move(answer)));
                         });
             });
}

}  // namespace client
}  // namespace markab
