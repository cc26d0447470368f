// Configuration files (spec 07 §9.1): any text is a configuration or an error that names a line.
#include "base/assert.h"
#include "base/config.h"

using namespace markab;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<ConfigKey> keys;
  keys.push_back(
      ConfigKey::integer("replication", "rounds", 3, 1, 10, "rounds").mutable_at_run_time());
  keys.push_back(ConfigKey::boolean("core", "on", true, "on"));
  keys.push_back(ConfigKey::word("core", "sync", "always", {"always", "never"}, "sync"));
  keys.push_back(ConfigKey::text("pegasus.clusters", "", "", "clusters"));
  auto config = Config::parse({reinterpret_cast<const char*>(data), size}, "fuzz.ini",
                              std::move(keys), {}, {{"ignored", "*"}, {"thread_pool.*", "*"}});
  if (!config) {
    MARKAB_ASSERT(config.error().message().starts_with("fuzz.ini"), "an error without its place",
                  config.error());
    return 0;
  }
  int64_t rounds = (*config)->get_int("replication", "rounds");
  MARKAB_ASSERT(rounds >= 1 && rounds <= 10, "a value out of range was taken", rounds);
  (void)(*config)->get_list("core", "sync");
  (void)(*config)->get_open_section("pegasus.clusters");
  return 0;
}
