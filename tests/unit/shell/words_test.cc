// Words, commands, options (07 §8.1).

#include "shell/words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/escape.h"
#include "base/random.h"

namespace markab::shell {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> words(std::string_view line) {
  auto split = split_words(line);
  EXPECT_TRUE(split.has_value()) << line;
  return split ? *split : std::vector<std::string>{"(error)"};
}
std::string why_not(std::string_view line) {
  auto split = split_words(line);
  return split ? "(no error)" : split.error().message();
}

TEST(Words, AreSplitAtBlanks) {
  EXPECT_THAT(words(""), ElementsAre());
  EXPECT_THAT(words("  set a\t b\r\n"), ElementsAre("set", "a", "b"));
}

TEST(Words, DoubleQuotesUnescape) {
  EXPECT_THAT(words(R"(set "a b" "")"), ElementsAre("set", "a b", ""));
  EXPECT_THAT(words(R"("\x00\xfF" "\n\r\t\b\a" "\"\\\'\q")"),
              ElementsAre("\x00\xff"s, "\n\r\t\b\a", "\"\\'q"));
}

TEST(Words, SingleQuotesKnowOnlyTheirQuote) {
  EXPECT_THAT(words(R"('a "b" \n' 'it\'s')"), ElementsAre(R"(a "b" \n)", "it's"));
}

TEST(Words, OutsideOfQuotesABackslashIsItself) {
  EXPECT_THAT(words(R"(a\x41 \n it's a"b)"), ElementsAre(R"(a\x41)", R"(\n)", "it's", R"(a"b)"));
}

TEST(Words, MistakesNameTheColumn) {
  EXPECT_THAT(why_not(R"(set "a)"), HasSubstr("column 5"));
  EXPECT_THAT(why_not(R"(set "a\")"), HasSubstr("column 5"));
  EXPECT_THAT(why_not(R"(set "a"b)"), HasSubstr("blank"));
  EXPECT_THAT(why_not(R"("\xZZ")"), HasSubstr("hex"));
}

TEST(Words, WhatIsShownCanBeTypedBack) {
  Random random(1);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes(random.below(20), '\0');
    for (char& c : bytes) {
      // Half of them those that mean something.
      c = random.chance(0.5) ? "\"'\\;#n x\n"[random.below(9)]
                             : static_cast<char>(random.below(256));
    }
    for (bool all : {false, true}) {
      std::string line = "set \"" + escape(bytes, all) + "\" end";
      EXPECT_THAT(words(line), ElementsAre("set", bytes, "end"));
      EXPECT_THAT(split_commands(line + ";x"), ElementsAre(line, "x"));
    }
  }
}

TEST(Words, AnyBytesAreSplitOrRefused) {
  Random random(2);
  for (int i = 0; i < 20000; ++i) {
    std::string line(random.below(24), '\0');
    for (char& c : line) c = "\"'\\; x\n0aF-"[random.below(11)];
    size_t total = 0;
    for (const auto& command : split_commands(line)) {
      total += command.size() + 1;
      auto split = split_words(command);
      if (split) {
        for (const auto& word : *split) EXPECT_LE(word.size(), command.size());
      }
    }
    EXPECT_EQ(total, line.size() + 1) << "nothing is lost between the commands";
  }
}

TEST(Commands, AreSplitAtSemicolonsOutsideOfQuotes) {
  EXPECT_THAT(split_commands("use t; set a b c"), ElementsAre("use t", " set a b c"));
  EXPECT_THAT(split_commands(R"(set "a;b" 'c;d' e;f)"), ElementsAre(R"(set "a;b" 'c;d' e)", "f"));
  EXPECT_THAT(split_commands("set it's; get x"), ElementsAre("set it's", " get x"))
      << "a quote opens a word only";
  EXPECT_THAT(split_commands("a\nb"), ElementsAre("a", "b"));
  EXPECT_THAT(split_commands(R"(set "open; x)"), ElementsAre(R"(set "open; x)"))
      << "left to split_words to refuse";
}

const std::vector<Option> kOptions{{'p', "partition_count", "n", ""}, {'f', "force", "", ""}};

Arguments parsed(const std::vector<std::string>& input,
                 const std::vector<Option>& options = kOptions, bool command_follows = false) {
  auto arguments = Arguments::parse(input, options, command_follows);
  EXPECT_TRUE(arguments.has_value()) << (arguments ? "" : arguments.error().message());
  return arguments ? *arguments : Arguments();
}

TEST(Options, HaveAShortAndALongForm) {
  for (const auto& input : {std::vector<std::string>{"t", "-p", "8", "-f"},
                            {"--partition_count", "8", "--force", "t"},
                            {"t", "--partition_count=8", "-f"}}) {
    Arguments arguments = parsed(input);
    EXPECT_THAT(arguments.words(), ElementsAre("t"));
    EXPECT_EQ(arguments.text('p'), "8");
    EXPECT_TRUE(arguments.has('f'));
  }
}

TEST(Options, NumbersAndWhatFollowsTwoDashesAreWords) {
  EXPECT_THAT(parsed({"-5", "-"}).words(), ElementsAre("-5", "-"));
  EXPECT_THAT(parsed({"--", "-p"}).words(), ElementsAre("-p"));
  EXPECT_THAT(parsed({"-k", "--x"}, {}).words(), ElementsAre("-k", "--x"))
      << "a command without options";
  EXPECT_THAT(parsed({"-f", "cmd", "-x"}, kOptions, true).words(), ElementsAre("cmd", "-x"));
}

TEST(Options, MistakesAreNamed) {
  auto why = [](const std::vector<std::string>& input) {
    auto arguments = Arguments::parse(input, kOptions, false);
    return arguments ? "(no error)" : arguments.error().message();
  };
  EXPECT_THAT(why({"-x"}), HasSubstr("'-x'"));
  EXPECT_THAT(why({"--nothing"}), HasSubstr("'--nothing'"));
  EXPECT_THAT(why({"-p"}), HasSubstr("<n>"));
  EXPECT_THAT(why({"--force=1"}), HasSubstr("no operand"));
  EXPECT_THAT(parsed({"-p", "x"}).number('p', 1, 1, 9).error().message(),
              HasSubstr("not a whole number"));
  EXPECT_THAT(parsed({"-p", "10"}).number('p', 1, 1, 9).error().message(),
              HasSubstr("allowed are 1 to 9"));
  EXPECT_EQ(parsed({}).number('p', 4, 1, 9).value(), 4);
}

}  // namespace
}  // namespace markab::shell
