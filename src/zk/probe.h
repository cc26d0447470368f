#pragma once
// One login to one server, to see whether it works and under which names: what the doctor asks.

#include <string>

#include "zk/options.h"
#include "zk/principal.h"

namespace markab::zk {

struct Probe {
  bool connected = false;  // and logged in, and served
  std::string principal;   // that the server was asked to be; empty without Kerberos
  // "sasl:pegasus/h1@REALM": who the server takes us for; empty: no node could be made to see it.
  std::string granted;
  std::string root_acl;  // the access list of the root; empty: it is not there, or not to be seen
  std::string why;       // it did not work
  std::string remedy;    // what helps then
  Duration took{};
};

// Connects to `server` alone, logs in as `options` say, looks at the node `root`, and ends the
// session. Blocks for a few times `limit` at most, and what the Kerberos library takes beyond it.
// Not from a shard's thread.
Probe probe(const Options& options, const Server& server, const NameRules& names,
            const std::string& root, Duration limit);

}  // namespace markab::zk
