#include "shell/words.h"

#include <charconv>

#include "base/escape.h"

namespace markab::shell {

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// The end of the quoted word that begins at `at`: the index of the closing quote, or npos.
size_t closing_quote(std::string_view line, size_t at) {
  char quote = line[at];
  for (size_t i = at + 1; i < line.size(); ++i) {
    if (line[i] == '\\' && (quote == '"' || (i + 1 < line.size() && line[i + 1] == '\''))) {
      ++i;
    } else if (line[i] == quote) {
      return i;
    }
  }
  return std::string_view::npos;
}

std::string unescape_single(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '\'') ++i;
    out += text[i];
  }
  return out;
}

}  // namespace

Result<std::vector<std::string>> split_words(std::string_view line) {
  std::vector<std::string> words;
  size_t i = 0;
  while (i < line.size()) {
    if (is_blank(line[i])) {
      ++i;
      continue;
    }
    if (line[i] != '"' && line[i] != '\'') {
      size_t begin = i;
      while (i < line.size() && !is_blank(line[i])) ++i;
      words.emplace_back(line.substr(begin, i - begin));
      continue;
    }
    size_t end = closing_quote(line, i);
    if (end == std::string_view::npos) {
      return Status(Errc::kInvalidParameters,
                    fmt::format("the quote at column {} is not closed", i + 1));
    }
    if (end + 1 < line.size() && !is_blank(line[end + 1])) {
      return Status(Errc::kInvalidParameters,
                    fmt::format("a blank must follow the closing quote at column {}", end + 1));
    }
    std::string_view inside = line.substr(i + 1, end - i - 1);
    if (line[i] == '"') {
      auto raw = unescape(inside);
      if (!raw) return raw.error();
      words.push_back(std::move(*raw));
    } else {
      words.push_back(unescape_single(inside));
    }
    i = end + 1;
  }
  return words;
}

std::vector<std::string> split_commands(std::string_view text) {
  std::vector<std::string> commands;
  size_t begin = 0;
  bool at_word = true;  // a quote opens only at the beginning of a word
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || text[i] == ';' || text[i] == '\n') {
      commands.emplace_back(text.substr(begin, i - begin));
      begin = i + 1;
      at_word = true;
    } else if (at_word && (text[i] == '"' || text[i] == '\'')) {
      size_t end = closing_quote(text, i);
      if (end == std::string_view::npos) end = text.size() - 1;
      i = end;
      at_word = false;
    } else {
      at_word = is_blank(text[i]);
    }
  }
  return commands;
}

Result<Arguments> Arguments::parse(const std::vector<std::string>& words,
                                   const std::vector<Option>& options, bool command_follows) {
  Arguments out;
  bool only_words = options.empty();
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    bool looks_like_option =
        word.size() > 1 && word[0] == '-' && !(word[1] >= '0' && word[1] <= '9');
    if (only_words || !looks_like_option) {
      out.words_.push_back(word);
      only_words = only_words || command_follows;
      continue;
    }
    if (word == "--") {
      only_words = true;
      continue;
    }
    const Option* found = nullptr;
    std::string_view attached;
    bool has_attached = false;
    if (word.starts_with("--")) {
      std::string_view name = std::string_view(word).substr(2);
      if (auto equals = name.find('='); equals != std::string_view::npos) {
        attached = name.substr(equals + 1);
        name = name.substr(0, equals);
        has_attached = true;
      }
      for (const auto& option : options) {
        if (option.name == name) found = &option;
      }
    } else if (word.size() == 2) {
      for (const auto& option : options) {
        if (option.letter == word[1]) found = &option;
      }
    }
    if (found == nullptr) {
      return Status(
          Errc::kInvalidParameters,
          fmt::format("there is no option '{}' (a word that begins with a dash goes after `--`)",
                      word));
    }
    if (found->operand.empty()) {
      if (has_attached) {
        return Status(Errc::kInvalidParameters,
                      fmt::format("option --{} takes no operand", found->name));
      }
      out.options_[found->letter] = "";
    } else if (has_attached) {
      out.options_[found->letter] = attached;
    } else if (++i < words.size()) {
      out.options_[found->letter] = words[i];
    } else {
      return Status(Errc::kInvalidParameters,
                    fmt::format("option '{}' needs <{}>", word, found->operand));
    }
  }
  return out;
}

std::string Arguments::text(char letter, std::string_view otherwise) const {
  auto it = options_.find(letter);
  return it == options_.end() ? std::string(otherwise) : it->second;
}

Result<int64_t> Arguments::number(char letter, int64_t otherwise, int64_t least,
                                  int64_t most) const {
  auto it = options_.find(letter);
  if (it == options_.end()) return otherwise;
  return parse_number(fmt::format("option -{}", letter), it->second, least, most);
}

Result<bool> Arguments::truth(char letter, bool otherwise) const {
  auto it = options_.find(letter);
  if (it == options_.end()) return otherwise;
  if (it->second == "true" || it->second == "1" || it->second == "yes") return true;
  if (it->second == "false" || it->second == "0" || it->second == "no") return false;
  return Status(Errc::kInvalidParameters,
                fmt::format("option -{} is '{}'; allowed are true and false", letter, it->second));
}

Result<int64_t> parse_number(std::string_view what, std::string_view text, int64_t least,
                             int64_t most) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) {
    return Status(Errc::kInvalidParameters,
                  fmt::format("{}: '{}' is not a whole number", what, text));
  }
  if (value < least || value > most) {
    return Status(
        Errc::kInvalidParameters,
        fmt::format("{} = {} is out of range; allowed are {} to {}", what, value, least, most));
  }
  return value;
}

}  // namespace markab::shell
