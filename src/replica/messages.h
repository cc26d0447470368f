#pragma once
// The bytes of the messages between our own replicas (docs/formats.md, "Messages between
// replicas"). They travel as the whole body of a native frame; nothing of Thrift is in them.
// Decoders never trust a length.

#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "pacifica/messages.h"

namespace markab::replica {

void encode(const pacifica::Prepare& prepare, std::string& out);
Result<pacifica::Prepare> decode_prepare(std::string_view bytes);

void encode(const pacifica::PrepareAck& ack, std::string& out);
Result<pacifica::PrepareAck> decode_prepare_ack(std::string_view bytes);

// Primary to a node: become a learner of this partition.
struct AddLearner {
  pacifica::Membership membership;
  uint64_t signature = 0;
  std::string app_name;
  int32_t partition_count = 0;
  std::vector<std::pair<std::string, std::string>> envs;
};
void encode(const AddLearner& message, std::string& out);
Result<AddLearner> decode_add_learner(std::string_view bytes);

// Learner to primary: my store stands at `position`; how do I go on?
struct LearnRequest {
  HostPort learner;
  uint64_t signature = 0;
  Decree position = 0;
};
void encode(const LearnRequest& message, std::string& out);
Result<LearnRequest> decode_learn_request(std::string_view bytes);

struct LearnFile {
  std::string name;  // relative to the checkpoint, no directories
  uint64_t size = 0;
  uint32_t crc = 0;  // crc32c of the content
};
struct LearnReply {
  enum class Mode : uint8_t {
    kRefused = 0,     // see `error`
    kStream = 1,      // prepares follow from position + 1
    kLog = 2,         // fetch the log from position + 1 on
    kCheckpoint = 3,  // fetch these files; their decree is `decree`
    kDiscard = 4,     // the learner's state is ahead of the group's: start from nothing
  };
  Mode mode = Mode::kRefused;
  Errc error = Errc::kOk;
  Decree decree = 0;        // kCheckpoint: its decree; otherwise the primary's commit point
  uint64_t checkpoint = 0;  // names the checkpoint in FetchFile
  std::vector<LearnFile> files;
};
void encode(const LearnReply& message, std::string& out);
Result<LearnReply> decode_learn_reply(std::string_view bytes);

// Learner to primary: committed mutations from `from` on.
struct FetchLog {
  uint64_t signature = 0;  // of the invitation (04 S13)
  Decree from = 0;
  uint32_t max_bytes = 0;
};
void encode(const FetchLog& message, std::string& out);
Result<FetchLog> decode_fetch_log(std::string_view bytes);
struct FetchLogReply {
  Errc error = Errc::kOk;
  Decree committed = 0;
  std::vector<pacifica::Mutation> mutations;
};
void encode(const FetchLogReply& message, std::string& out);
Result<FetchLogReply> decode_fetch_log_reply(std::string_view bytes);

// Learner to primary: a range of a checkpoint's file.
struct FetchFile {
  uint64_t signature = 0;
  uint64_t checkpoint = 0;
  std::string name;
  uint64_t offset = 0;
  uint32_t size = 0;
};
void encode(const FetchFile& message, std::string& out);
Result<FetchFile> decode_fetch_file(std::string_view bytes);
struct FetchFileReply {
  Errc error = Errc::kOk;
  std::string_view bytes;  // into the message
};
void encode(const FetchFileReply& message, std::string& out);
Result<FetchFileReply> decode_fetch_file_reply(std::string_view bytes);

}  // namespace markab::replica
