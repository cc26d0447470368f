#pragma once
// Lines from a terminal, with editing, history and completion of commands (libedit).
// One per process.

#include <string>
#include <vector>

#include "shell/session.h"

namespace markab::shell {

class Editor {
 public:
  explicit Editor(const std::vector<Command>& commands);
  ~Editor();  // writes the history
  Editor(const Editor&) = delete;
  Editor& operator=(const Editor&) = delete;

  // False at the end of the input.
  bool read(const char* prompt, std::string& line);

 private:
  std::string history_file_;
};

}  // namespace markab::shell
