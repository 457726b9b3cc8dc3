// The command line of ursa-worker.
#ifndef URSA_WORKER_AGENT_WORKER_FLAGS_H_
#define URSA_WORKER_AGENT_WORKER_FLAGS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "experiments/labels.h"

namespace ursa {

struct WorkerFlags {
  std::string dir;
  std::string server;           // empty: what DIR/address says
  std::string token_file;       // empty: the worker's own credential, if it has joined
  std::string join_token_file;  // read only while it has not
  std::string ca_file;
  std::optional<int> slots;  // nothing: the machine's GPUs
  std::string kind = "cpu";
  std::string fabric = "lo";
  std::string pool;
  std::string name;
  Labels labels;
};

extern const char kWorkerUsage[];

// `words` without the program's name: "--name VALUE" or "--name=VALUE". Errors: INVALID_ARGUMENT, which names the flag.
absl::StatusOr<WorkerFlags> ParseWorkerFlags(const std::vector<std::string>& words);

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_WORKER_FLAGS_H_
