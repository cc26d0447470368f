#pragma once
// One accepted connection: reads frames, hands requests to the dispatcher, writes answers. Lives on
// one shard; only reply() and dropped() are called from other threads.
//
// Requests are handled inside the read, and what they answer at once leaves with one send at its
// end. Answers that come later gather until the end of the shard's turn; those from other threads
// in a mailbox that is emptied once per burst.

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "rpc/frame.h"
#include "rpc/http_session.h"
#include "rpc/output_queue.h"
#include "rpc/server_shard.h"

namespace markab::rpc {

class Connection final : public ReplySink,
                         public GuardedSession,
                         public io::Poller::Watcher,
                         public std::enable_shared_from_this<Connection> {
 public:
  // More unanswered requests than this, and reading pauses until half of them are answered.
  static constexpr uint32_t kMaxOutstanding = 64 << 10;

  // Owns `fd`.
  Connection(std::shared_ptr<ServerShard> home, int fd, HostPort peer);
  ~Connection() override;

  bool open();  // false: the kernel refused
  void close();
  void flush();
  // No request waits for its answer and no answer is on its way out.
  bool is_idle() const;
  // Reads no more; settles as requests end.
  void drain();

  void reply(const RequestHeader& header, std::string_view name, Errc error,
             std::string_view result) override;
  HostPort peer() const override { return peer_; }
  const std::string& user() const override { return *user_.load(std::memory_order_acquire); }
  bool wants_host_port() const override { return wants_host_port_; }
  void dropped() override;
  void admit(std::string user) override;
  void serve(Request request) override;
  void refuse(Request request, Errc error) override;
  void end() override;
  void on_ready(uint32_t events) override;

 private:
  enum class State : uint8_t { kOpen, kLingering, kClosed };
  // Reads per wake-up, before other connections get their turn.
  static constexpr int kReads = 4;
  // Sent per turn: a large answer must not hold up the other connections of the shard (a copy into
  // a socket takes 0.1 ms for so much).
  static constexpr size_t kBytesPerTurn = 256u << 10;
  // After a malformed frame: for the answers to what came before it.
  static constexpr Duration kLinger = std::chrono::seconds(2);

  static const std::string& nobody();
  void read_some();
  bool read_into_partial();
  bool read_into_arena();
  // One recv. 0: nothing more now, or the end.
  size_t receive(char* to, size_t size);
  // Handles the whole frames in `in`; returns how many bytes are done with. `wanted_` then says how
  // long the rest must become.
  size_t consume(std::string_view in, const std::shared_ptr<ByteBlock>& block);
  size_t consume_frames(std::string_view in, const std::shared_ptr<ByteBlock>& block);
  void consume_http(std::string_view in);
  void http_step(HttpSession::Next next);
  void http_answer(HttpResponse response);
  void malformed(std::string_view reason, std::string_view in);
  // Takes no more requests, sends what is due, waits for answers under way, then closes.
  void linger(Duration at_most);
  // What to do once answers have left or requests have ended: go on reading, or close.
  void settle();
  bool must_pause() const;
  void request_done();
  void take_mail();
  void schedule_flush();
  void watch_for_stuck_output();
  void update_interest();

  const std::shared_ptr<ServerShard> home_;
  const int fd_;
  const HostPort peer_;
  // Set at most twice, on this shard; requests on other threads may still look at the former one.
  std::string names_[2];
  int named_ = 0;
  std::atomic<const std::string*> user_{&nobody()};
  std::unique_ptr<SessionGuard> guard_;
  bool admitted_ = false;  // the guard lets all pass but negotiation
  State state_ = State::kOpen;
  Family family_ = Family::kUnknown;
  bool opened_ = false;
  bool served_ = false;  // something was handed to a handler
  bool wants_host_port_ = false;
  bool in_read_ = false;         // answers leave at its end, without a flush of their own
  bool is_dirty_ = false;        // in the shard's list of connections to flush
  bool read_paused_ = false;     // too much is outstanding or unsent
  bool input_held_ = false;      // partial_ may hold whole frames, from before the pause
  bool output_blocked_ = false;  // the socket is full
  bool flush_posted_ = false;    // more goes out in a later turn
  bool end_of_input_ = false;
  bool shut_ = false;  // our half, while lingering
  uint32_t interest_ = 0;
  PartialFrame partial_;
  size_t wanted_ = kSignatureBytes;
  Instant now_;  // of this read
  std::unique_ptr<HttpSession> http_;

  OutputQueue output_;
  Instant progress_;
  io::TimerHandle stuck_timer_;
  io::TimerHandle linger_timer_;

  std::atomic<uint32_t> outstanding_{0};
  std::atomic<bool> wake_{false};  // settle() wants to run when outstanding_ has fallen
  mutable std::mutex mail_mutex_;
  OutputQueue mail_;
  bool mail_posted_ = false;
};

}  // namespace markab::rpc
