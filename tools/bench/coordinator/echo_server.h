// The limit of this machine: gRPC with the same messages, and nothing behind it.
#ifndef URSA_TOOLS_BENCH_COORDINATOR_ECHO_SERVER_H_
#define URSA_TOOLS_BENCH_COORDINATOR_ECHO_SERVER_H_

#include <string>

namespace ursa {

// Answers CreateExperiment with the recipe that it got, and welcomes workers, whose heartbeats it reads and forgets.
// Writes its address to `address_file`, then serves until the process is ended.
[[noreturn]] void ServeEcho(const std::string& address_file);

}  // namespace ursa

#endif  // URSA_TOOLS_BENCH_COORDINATOR_ECHO_SERVER_H_
