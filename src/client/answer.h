#pragma once
// What an operation of the core comes back with: an Error, or the encoded result struct and who
// sent it.

#include <memory>
#include <string_view>

#include "base/function.h"
#include "base/status.h"
#include "markab/outcome.h"

namespace markab::client {

struct Answer {
  Error error;
  // The code behind `error`: of the envelope, or of a meta server's answer.
  Errc code = Errc::kOk;
  // Attempts before the last one whose end is not known: an idempotent operation may have taken
  // effect that often besides.
  uint32_t unsure_attempts = 0;
  // Points into `block`; empty on an error, except for a meta server's refusal, whose struct
  // has a hint.
  std::string_view result;
  std::shared_ptr<void> block;
  Origin origin;
};

using AnswerCallback = Callback<Answer>;

}  // namespace markab::client
