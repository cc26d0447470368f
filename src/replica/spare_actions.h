#pragma once
// The buffer that the core's actions are gathered in, one for all replicas of a thread. Kept by
// each replica it would be cold memory whenever hundreds of them take turns: a dozen cache lines
// for every event.

#include "pacifica/replica_core.h"

namespace markab::replica {

inline thread_local pacifica::Actions spare_actions;

// Before an event: room without an allocation, when nobody else has it.
inline void borrow_room(pacifica::Actions& actions) {
  if (actions.capacity() == 0) actions.swap(spare_actions);
}
// After it; `actions` is empty.
inline void return_room(pacifica::Actions& actions) {
  if (actions.capacity() > spare_actions.capacity()) actions.swap(spare_actions);
}

}  // namespace markab::replica
