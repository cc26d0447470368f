#pragma once
// Cutting a line into words, and a command's words into options and operands (docs/formats.md,
// "Escape syntax"; 07 §8.1). Pure.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace markab::shell {

// Splits at blanks. "..." understands \xHH \n \r \t \b \a, and any other \c is c; '...' only \';
// outside of quotes a backslash is itself. A closing quote is followed by a blank or the end.
// kInvalidParameters says where it went wrong.
Result<std::vector<std::string>> split_words(std::string_view line);
// Splits at semicolons outside of quotes, for -c "cmd; cmd".
std::vector<std::string> split_commands(std::string_view text);

struct Option {
  char letter = 0;
  std::string_view name;     // long form, without the dashes
  std::string_view operand;  // what its operand is called; "": it has none
  std::string_view help;
};

// The words after a command's name, sorted out.
class Arguments {
 public:
  // A word that begins with a dash is an option only if the command has options; a number is none,
  // and what follows
  // `--` neither. With `command_follows`, what follows the first operand neither: it belongs to
  // somebody else.
  static Result<Arguments> parse(const std::vector<std::string>& words,
                                 const std::vector<Option>& options, bool command_follows);

  const std::vector<std::string>& words() const { return words_; }
  const std::string& word(size_t i) const { return words_.at(i); }
  size_t count() const { return words_.size(); }

  bool has(char letter) const { return options_.count(letter) > 0; }
  std::string text(char letter, std::string_view otherwise = "") const;
  // kInvalidParameters names the option and the allowed range.
  Result<int64_t> number(char letter, int64_t otherwise, int64_t least, int64_t most) const;
  Result<bool> truth(char letter, bool otherwise) const;

 private:
  std::vector<std::string> words_;
  std::map<char, std::string> options_;
};

// A whole word as a number within bounds; `what` names it in the error.
Result<int64_t> parse_number(std::string_view what, std::string_view text, int64_t least,
                             int64_t most);

}  // namespace markab::shell
