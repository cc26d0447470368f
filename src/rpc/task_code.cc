#include "rpc/task_code.h"

#include <array>
#include <cstddef>

#include "base/assert.h"
#include "base/bytes.h"

namespace markab::rpc {

namespace {

struct Entry {
  std::string_view name;
  std::string_view ack;
  TaskKind kind;
};

constexpr Entry kEntries[] = {{"", "_ACK", TaskKind::kBoth},
#define X(name, text, kind) {"RPC_" text, "RPC_" text "_ACK", TaskKind::kind},
                              MARKAB_TASK_CODES(X)
#undef X
};
constexpr size_t kCount = std::size(kEntries);

const Entry& entry(TaskCode code) {
  auto i = static_cast<size_t>(code);
  MARKAB_ASSERT(i < kCount, "a task code out of range", i);
  return kEntries[i];
}

// Open addressing over the last eight bytes and the length; a quarter full, so that nearly every
// look-up is one probe and one comparison.
class NameTable {
 public:
  NameTable() {
    for (size_t i = 1; i < kCount; ++i) {
      size_t slot = start(kEntries[i].name);
      while (slots_[slot] != 0) slot = (slot + 1) % kSlots;
      slots_[slot] = static_cast<uint8_t>(i);
    }
  }
  TaskCode find(std::string_view name) const {
    if (name.size() < kShortest) return TaskCode::kUnknown;
    for (size_t slot = start(name); slots_[slot] != 0; slot = (slot + 1) % kSlots) {
      if (kEntries[slots_[slot]].name == name) return static_cast<TaskCode>(slots_[slot]);
    }
    return TaskCode::kUnknown;
  }

 private:
  static constexpr size_t kShortest = 8;
  static constexpr int kBits = 9;
  static constexpr size_t kSlots = size_t{1} << kBits;
  static_assert(kCount < 256 && kCount * 2 < kSlots);

  static size_t start(std::string_view name) {
    auto tail = load_le<uint64_t>(name.data() + name.size() - 8);
    return static_cast<size_t>((tail + name.size()) * 0x9E3779B97F4A7C15ull >> (64 - kBits));
  }
  std::array<uint8_t, kSlots> slots_{};
};

const NameTable kNames;

}  // namespace

std::string_view task_name(TaskCode code) { return entry(code).name; }

std::string_view task_ack_name(TaskCode code) {
  return code == TaskCode::kUnknown ? "" : entry(code).ack;
}

TaskCode task_from_name(std::string_view name) { return kNames.find(name); }

TaskKind task_kind(TaskCode code) { return entry(code).kind; }

}  // namespace markab::rpc
