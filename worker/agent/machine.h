// What the agent says of the machine that it runs on.
#ifndef URSA_WORKER_AGENT_MACHINE_H_
#define URSA_WORKER_AGENT_MACHINE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ursa {

std::string HostName();

// CPUs that this process may use, >= 1.
int NumCores();

// The highest instruction set that our code may choose: "x86-64-v2", "avx2" or "avx512".
std::string SimdLevel();

// The IPv4 address, else the IPv6 one, of a network interface such as "lo" or "eth0". NOT_FOUND when there is none.
absl::StatusOr<std::string> AddressOfInterface(const std::string& name);

// Makes this process the only agent on the folder `dir`, until it ends. FAILED_PRECONDITION when another one is there;
// the text names it.
absl::Status LockFolder(const std::string& dir);

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_MACHINE_H_
