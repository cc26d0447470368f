// Remote commands (spec 07 §2.1). The answer is a bare string.
namespace cpp markab.wire

struct command {
  1: string cmd
  2: list<string> arguments
}
