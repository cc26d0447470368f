#pragma once
// What a program that is a client takes from a daemon's or a Pegasus client's INI file: the meta
// servers and [security]. Read at start by one thread.

#include <memory>
#include <string>

#include "base/config.h"
#include "markab/client.h"
#include "security/dialler.h"

namespace markab::client {

// The file with the keys of [security] and [meta_server] server_list declared; all others are
// passed over. Errors: those of Config::load().
Result<std::shared_ptr<Config>> load_client_config(const std::string& path);

// Fills in `meta_servers`, where the file names some and `options` has none, and `kerberos`.
Status apply_config_file(const std::string& path, ClientOptions& options);

// The dialling side of what `kerberos` asks for; null when it is off. Errors: those of
// security::Dialler::make().
Result<std::unique_ptr<security::Dialler>> make_dialler(const KerberosOptions& kerberos,
                                                        io::Shard& shard);

}  // namespace markab::client
