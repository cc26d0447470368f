#include "client/table_impl.h"

namespace markab {

using client::Core;
using client::on_lane;
using client::wait_for;

namespace {

// On the lane's thread.
void start_batch(const std::shared_ptr<Scanner::Impl>& impl, Core& core, Core::Table& table,
                 Instant deadline, Callback<Outcome<ScanBatch>> done) {
  if (!impl->flow) impl->flow = impl->make(core, table);
  impl->flow->next_batch(deadline, std::move(done));
}

std::optional<ScanRow> take_row(Scanner::Impl& impl) {
  if (impl.rows.empty()) return {};
  ScanRow row = std::move(impl.rows.front());
  impl.rows.pop_front();
  return row;
}

}  // namespace

Scanner::Scanner(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Scanner::~Scanner() {
  auto* lane = impl_->lane;
  lane->shard->post([impl = std::move(impl_)] {
    if (impl->flow) impl->flow->close();
  });
}

void Scanner::async_next_batch(Done<ScanBatch> done) {
  on_lane<ScanBatch>(
      impl_->table, *impl_->lane, impl_->timeout, std::move(done),
      [impl = impl_](Core& core, Core::Table& table, Instant deadline, Done<ScanBatch> done) {
        if (!impl->rows.empty()) {  // left over by next()
          ScanBatch batch;
          batch.rows.assign(std::make_move_iterator(impl->rows.begin()),
                            std::make_move_iterator(impl->rows.end()));
          impl->rows.clear();
          batch.count = static_cast<int64_t>(batch.rows.size());
          batch.finished = impl->finished;
          return done(std::move(batch));
        }
        start_batch(impl, core, table, deadline, std::move(done));
      });
}

Outcome<ScanBatch> Scanner::next_batch() {
  return wait_for<ScanBatch>(*impl_->table->front,
                             [&](Done<ScanBatch> done) { async_next_batch(std::move(done)); });
}

Pending<ScanBatch> Scanner::co_next_batch() {
  return Pending<ScanBatch>([this](Done<ScanBatch> done) { async_next_batch(std::move(done)); });
}

void Scanner::async_next(Done<std::optional<ScanRow>> done) {
  using Row = std::optional<ScanRow>;
  on_lane<Row>(impl_->table, *impl_->lane, impl_->timeout, std::move(done),
               [impl = impl_](Core& core, Core::Table& table, Instant deadline, Done<Row> done) {
                 if (!impl->rows.empty() || impl->finished) return done(take_row(*impl));
                 start_batch(impl, core, table, deadline,
                             [impl, done = std::move(done)](Outcome<ScanBatch> batch) {
                               if (!batch) return done(batch.error());
                               for (auto& row : batch->rows) impl->rows.push_back(std::move(row));
                               impl->finished = batch->finished;
                               done(take_row(*impl));
                             });
               });
}

Outcome<std::optional<ScanRow>> Scanner::next() {
  // No operation is under way, so the rows are this thread's.
  if (!impl_->rows.empty() || impl_->finished) return take_row(*impl_);
  return wait_for<std::optional<ScanRow>>(
      *impl_->table->front,
      [&](Done<std::optional<ScanRow>> done) { async_next(std::move(done)); });
}

Pending<std::optional<ScanRow>> Scanner::co_next() {
  return Pending<std::optional<ScanRow>>(
      [this](Done<std::optional<ScanRow>> done) { async_next(std::move(done)); });
}

}  // namespace markab
