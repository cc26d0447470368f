#pragma once
// A move-only std::function: callbacks that own what they capture. Call it at most as often as its
// maker says; calling an empty one is a bug. Small closures (48 bytes) live inside, so that posting
// one does not allocate.

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "base/assert.h"

namespace markab {

template <typename Signature>
class Function;

template <typename R, typename... Args>
class Function<R(Args...)> {
 public:
  Function() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Function(std::nullptr_t) {}

  template <typename F,
            typename = std::enable_if_t<!std::is_same_v<std::decay_t<F>, Function> &&
                                        std::is_invocable_r_v<R, std::decay_t<F>&, Args...>>>
  // NOLINTNEXTLINE(google-explicit-constructor)
  Function(F&& f) {
    using Closure = std::decay_t<F>;
    if constexpr (sizeof(Closure) <= kInline && alignof(Closure) <= alignof(std::max_align_t) &&
                  std::is_nothrow_move_constructible_v<Closure>) {
      new (&storage_) Closure(std::forward<F>(f));
      ops_ = &kInlineOps<Closure>;
    } else {
      *reinterpret_cast<Closure**>(&storage_) = new Closure(std::forward<F>(f));
      ops_ = &kHeapOps<Closure>;
    }
  }
  Function(Function&& other) noexcept { take(other); }
  Function& operator=(Function&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;
  ~Function() { reset(); }

  explicit operator bool() const { return ops_ != nullptr; }
  R operator()(Args... args) const {
    MARKAB_ASSERT(ops_ != nullptr, "an empty Function was called");
    return ops_->call(&storage_, std::forward<Args>(args)...);
  }

 private:
  static constexpr size_t kInline = 48;
  struct Ops {
    R (*call)(void*, Args&&...);
    void (*move)(void* from, void* to);
    void (*destroy)(void*);
  };
  template <typename C>
  static constexpr Ops kInlineOps = {[](void* s, Args&&... args) -> R {
                                       return (*static_cast<C*>(s))(std::forward<Args>(args)...);
                                     },
                                     [](void* from, void* to) {
                                       new (to) C(std::move(*static_cast<C*>(from)));
                                       static_cast<C*>(from)->~C();
                                     },
                                     [](void* s) { static_cast<C*>(s)->~C(); }};
  template <typename C>
  static constexpr Ops kHeapOps = {
      [](void* s, Args&&... args) -> R {
        return (**static_cast<C**>(s))(std::forward<Args>(args)...);
      },
      [](void* from, void* to) { *static_cast<C**>(to) = *static_cast<C**>(from); },
      [](void* s) { delete *static_cast<C**>(s); }};

  void take(Function& other) {
    ops_ = other.ops_;
    if (ops_ != nullptr) ops_->move(&other.storage_, &storage_);
    other.ops_ = nullptr;
  }
  void reset() {
    if (ops_ != nullptr) ops_->destroy(&storage_);
    ops_ = nullptr;
  }

  alignas(std::max_align_t) mutable std::byte storage_[kInline];
  const Ops* ops_ = nullptr;
};

using Task = Function<void()>;
template <typename... Args>
using Callback = Function<void(Args...)>;

}  // namespace markab
