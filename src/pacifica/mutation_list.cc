#include "pacifica/mutation_list.h"

#include <utility>

namespace markab::pacifica {

void MutationList::reset(Decree before) {
  while (count_ > 0) pop_front();
  first_ = before + 1;
}

void MutationList::push_back(Mutation mutation, uint64_t record) {
  MARKAB_ASSERT(mutation.decree == last() + 1, "a gap in the list (04 S4)", mutation.decree,
                last());
  if (count_ == slots_.size()) grow();
  bytes_ += size_of(mutation);
  ++count_;
  slots_[index(last())] = {std::move(mutation), record};
}

void MutationList::replace(Mutation mutation, uint64_t record) {
  auto& entry = at(mutation.decree);
  bytes_ = bytes_ - size_of(entry.mutation) + size_of(mutation);
  entry = {std::move(mutation), record};
}

void MutationList::truncate_after(Decree keep) {
  while (count_ > 0 && last() > keep) {
    auto& entry = slots_[index(last())];
    bytes_ -= size_of(entry.mutation);
    entry = {};
    --count_;
  }
}

void MutationList::pop_front() {
  MARKAB_ASSERT(count_ > 0, "nothing to take from the list");
  auto& entry = slots_[head_];
  bytes_ -= size_of(entry.mutation);
  entry = {};
  head_ = (head_ + 1) & (slots_.size() - 1);
  ++first_;
  --count_;
}

void MutationList::grow() {
  std::vector<Entry> bigger(slots_.empty() ? 16 : slots_.size() * 2);
  for (size_t i = 0; i < count_; ++i) {
    bigger[i] = std::move(slots_[(head_ + i) & (slots_.size() - 1)]);
  }
  slots_ = std::move(bigger);
  head_ = 0;
}

}  // namespace markab::pacifica
