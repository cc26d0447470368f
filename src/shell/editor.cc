#include "shell/editor.h"

#include <editline/readline.h>

#include <cstdlib>
#include <cstring>

namespace markab::shell {

namespace {

constexpr int kHistoryLines = 1000;

const std::vector<Command>* known_commands = nullptr;

// libedit asks for one match after the other.
char* next_match(const char* text, int state) {
  static size_t at;
  if (state == 0) at = 0;
  while (at < known_commands->size()) {
    std::string_view name = (*known_commands)[at++].name;
    if (name.starts_with(text)) return strdup(std::string(name).c_str());
  }
  return nullptr;
}

char** complete(const char* text, int start, int) {
  rl_attempted_completion_over = 1;  // no file names
  return start == 0 ? rl_completion_matches(text, next_match) : nullptr;
}

}  // namespace

Editor::Editor(const std::vector<Command>& commands) {
  known_commands = &commands;
  rl_readline_name = "markab-shell";
  rl_attempted_completion_function = complete;
  using_history();
  stifle_history(kHistoryLines);
  if (const char* home = std::getenv("HOME"); home != nullptr) {
    history_file_ = std::string(home) + "/.markab-shell-history";
    read_history(history_file_.c_str());
  }
}

Editor::~Editor() {
  if (!history_file_.empty()) write_history(history_file_.c_str());
}

bool Editor::read(const char* prompt, std::string& line) {
  char* text = readline(prompt);
  if (text == nullptr) return false;
  line = text;
  if (!line.empty()) add_history(text);
  std::free(text);
  return true;
}

}  // namespace markab::shell
