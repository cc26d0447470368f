// Answers in blocks: whatever the sizes and however the socket takes them, the bytes leave in order
// and once; a large answer is not copied.

#include "rpc/output_queue.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace markab::rpc {
namespace {

void add(OutputQueue& queue, std::string_view bytes) {
  queue.append([&](std::string& out) { out += bytes; });
}

// Takes all that is in `queue`, in pieces of at most `most` bytes.
std::string drain(OutputQueue& queue, size_t most) {
  std::string out;
  while (!queue.empty()) {
    std::string_view piece = queue.front().substr(0, most);
    EXPECT_FALSE(piece.empty()) << "the front is empty although bytes are left";
    if (piece.empty()) break;
    out += piece;
    queue.sent(piece.size());
  }
  return out;
}

TEST(OutputQueueTest, SmallAnswersLeaveTogether) {
  OutputQueue queue;
  add(queue, "one");
  add(queue, "two");
  EXPECT_EQ(queue.size(), 6u);
  EXPECT_EQ(queue.front(), "onetwo");
  queue.sent(4);
  add(queue, "three");
  EXPECT_EQ(queue.front(), "wothree");
  queue.sent(7);
  EXPECT_TRUE(queue.empty());
  add(queue, "four");
  EXPECT_EQ(queue.front(), "four");
}

TEST(OutputQueueTest, ALargeAnswerStaysWhereItIs) {
  std::string large(OutputQueue::kBlockBytes, 'x');
  const char* at = large.data();
  OutputQueue mail;
  mail.adopt(std::move(large));
  OutputQueue queue;
  add(queue, "before");
  queue.take(mail);
  EXPECT_TRUE(mail.empty());
  EXPECT_EQ(queue.front(), "before");
  queue.sent(6);
  EXPECT_EQ(queue.front().data(), at);
  queue.sent(queue.front().size());
  EXPECT_TRUE(queue.empty());
}

TEST(OutputQueueTest, NothingIsAdoptedAsNothing) {
  OutputQueue queue;
  queue.adopt("");
  EXPECT_TRUE(queue.empty());
  OutputQueue other;
  queue.take(other);
  EXPECT_TRUE(queue.empty());
  add(queue, "");
  EXPECT_TRUE(queue.empty());
}

// Two queues as a connection has them: answers of its own shard go into one, those of other
// threads come through the other.
TEST(OutputQueueTest, AnyMixtureKeepsItsOrder) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    OutputQueue queue;
    OutputQueue mail;
    std::string in_queue;
    std::string in_mail;
    std::string got;
    std::string expected;
    char next = 'a';
    for (int step = 0; step < 60; ++step) {
      const size_t size = random.next() % 4 == 0 ? random.next() % (3 * OutputQueue::kBlockBytes)
                                                 : random.next() % 50;
      next = next == 'z' ? 'a' : static_cast<char>(next + 1);
      const std::string bytes(size, next);
      switch (random.next() % 5) {
        case 0:
          add(queue, bytes);
          expected += bytes;
          break;
        case 1:
          add(mail, bytes);
          in_mail += bytes;
          break;
        case 2:
          mail.adopt(bytes);
          in_mail += bytes;
          break;
        case 3:
          queue.take(mail);
          expected += in_mail;
          in_mail.clear();
          break;
        default:
          if (queue.empty()) break;
          std::string_view piece = queue.front().substr(0, 1 + random.next() % 400000);
          ASSERT_FALSE(piece.empty()) << "seed " << seed;
          got += piece;
          queue.sent(piece.size());
      }
      ASSERT_EQ(queue.size(), expected.size() - got.size()) << "seed " << seed;
      ASSERT_EQ(mail.size(), in_mail.size()) << "seed " << seed;
    }
    queue.take(mail);
    expected += in_mail;
    got += drain(queue, 100000);
    ASSERT_TRUE(got == expected) << "seed " << seed;
  }
}

}  // namespace
}  // namespace markab::rpc
