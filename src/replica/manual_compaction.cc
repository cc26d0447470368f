#include "replica/manual_compaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/log.h"

namespace markab::replica {

using engine::ManualCompactSettings;

std::optional<ManualCompactSettings::How> compaction_due(const ManualCompactSettings& settings,
                                                         int64_t last_finish_s, int64_t now_s,
                                                         int64_t midnight_s) {
  if (settings.disabled || settings.max_running <= 0) return std::nullopt;
  if (settings.once_trigger_s > last_finish_s && settings.once_trigger_s <= now_s) {
    return settings.once;
  }
  for (int32_t minute : settings.periodic_minutes) {
    int64_t trigger = midnight_s + int64_t{minute} * 60;
    if (last_finish_s < trigger && trigger < now_s) return settings.periodic;
  }
  return std::nullopt;
}

int64_t local_midnight(int64_t now_s) {
  std::time_t seconds = now_s;
  std::tm local{};
  localtime_r(&seconds, &local);
  local.tm_hour = local.tm_min = local.tm_sec = 0;
  local.tm_isdst = -1;
  return std::mktime(&local);
}

int64_t ManualCompaction::last_finish_ms(const engine::Engine& engine) const {
  return std::max(times_.finished_ms, engine.store().last_manual_compact_ms());
}

void ManualCompaction::consider(const ManualCompactSettings& settings,
                                const std::shared_ptr<engine::Engine>& engine,
                                std::shared_ptr<void> alive) {
  once_trigger_s_ = settings.once_trigger_s;
  if (stopped_ || compacting_ != nullptr || engine == nullptr) return;
  times_.finished_ms = last_finish_ms(*engine);
  if (settings.once_trigger_s == 0 && settings.periodic_minutes.empty()) {
    times_.enqueued_ms = 0;
    return;
  }
  const int64_t now_s = wall_ms() / 1000;
  auto how = compaction_due(settings, times_.finished_ms / 1000, now_s, local_midnight(now_s));
  if (!how) {
    times_.enqueued_ms = 0;
    return;
  }
  if (times_.enqueued_ms == 0) times_.enqueued_ms = wall_ms();
  if (!slots_->try_take(settings.max_running)) return;
  run(*how, engine, std::move(alive));
}

void ManualCompaction::run(ManualCompactSettings::How how, std::shared_ptr<engine::Engine> engine,
                           std::shared_ptr<void> alive) {
  compacting_ = engine;
  times_.started_ms = wall_ms();
  MARKAB_INFO("{}: manual compaction begins (target level {}, bottommost level {})", engine->gpid(),
              how.target_level, how.force_bottommost ? "too" : "as needed");
  auto status = std::make_shared<Status>();
  runtime_.background().run(
      shard_,
      [engine, how, status] {
        *status = engine->store().flush();
        if (status->ok()) *status = engine->store().compact(how);
      },
      [this, status, alive = std::move(alive)] {
        slots_->give_back();
        auto engine = std::move(compacting_);
        times_.used_ms = wall_ms() - times_.started_ms;
        // One that failed is not tried again at once: the next rule that comes due tries again.
        times_.finished_ms = wall_ms();
        times_.started_ms = times_.enqueued_ms = 0;
        if (status->ok()) {
          MARKAB_INFO("{}: manual compaction ended after {} ms", engine->gpid(), times_.used_ms);
        } else {
          MARKAB_WARN("{}: manual compaction failed: {}", engine->gpid(), *status);
        }
      });
}

void ManualCompaction::stop() {
  stopped_ = true;
  if (compacting_ != nullptr) compacting_->store().stop_compact();
}

ManualCompaction::State ManualCompaction::state() const {
  if (times_.started_ms > 0) return State::kRunning;
  if (times_.enqueued_ms > 0) return State::kQueuing;
  bool done = once_trigger_s_ > 0 && times_.finished_ms / 1000 >= once_trigger_s_;
  return done ? State::kFinished : State::kIdle;
}

std::string ManualCompaction::describe() const {
  auto time = [](int64_t ms) -> std::string {
    if (ms == 0) return "-";
    std::time_t seconds = ms / 1000;
    std::tm local{};
    localtime_r(&seconds, &local);
    char text[32];
    size_t length = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
    return fmt::format("{}.{:03}", std::string_view(text, length), ms % 1000);
  };
  return fmt::format(
      R"({{"recent_enqueue_at":"{}","recent_start_at":"{}","last_finish":"{}","last_used_ms":"{}"}})",
      time(times_.enqueued_ms), time(times_.started_ms), time(times_.finished_ms),
      times_.used_ms == 0 ? std::string("-") : std::to_string(times_.used_ms));
}

}  // namespace markab::replica
