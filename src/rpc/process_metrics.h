#pragma once
// The metric entity "server" of a process (spec 07 §4.1): memory, threads, processor time. Everyone
// who has a figure for the process as a whole adds it to this entity.

#include <memory>

#include "base/metrics.h"

namespace markab::rpc {

// The living one of `registry`, or a new one with the process's own figures.
std::shared_ptr<MetricEntity> process_metrics(MetricRegistry& registry);

}  // namespace markab::rpc
