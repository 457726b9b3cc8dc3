// The servers that are measured, each a process of its own on loopback.
#ifndef URSA_TOOLS_BENCH_COORDINATOR_SERVERS_H_
#define URSA_TOOLS_BENCH_COORDINATOR_SERVERS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "tools/bench/coordinator/child_process.h"
#include "ursa/v1/cluster.pb.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa {

// A folder in the system's temporary one, removed at the end.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

// The production binary over a store of its own, which has one dataset, "bears".
class CoordinatorServer {
 public:
  explicit CoordinatorServer(const std::string& binary);

  const std::string& address() const { return address_; }
  const std::string& admin_token() const { return admin_token_; }
  const std::string& worker_token() const { return worker_token_; }
  ChildProcess& process() { return *process_; }
  v1::Status GetStatus() const;
  // As power failure is to a process: kill -9, then a new one over the same folder.
  void KillAndRestart();

 private:
  void Start();

  const std::string binary_;
  ScratchFolder folder_;
  std::unique_ptr<ChildProcess> process_;
  std::string address_;
  std::string admin_token_;
  std::string worker_token_;
};

// This very program as a bare gRPC server.
class EchoServer {
 public:
  EchoServer();
  const std::string& address() const { return address_; }
  ChildProcess& process() { return *process_; }

 private:
  ScratchFolder folder_;
  std::unique_ptr<ChildProcess> process_;
  std::string address_;
};

// etcd with a store on the same disk, as it is set up by default: each put is synced.
class EtcdServer {
 public:
  explicit EtcdServer(const std::string& binary);
  const std::string& address() const { return address_; }
  ChildProcess& process() { return *process_; }

 private:
  ScratchFolder folder_;
  std::unique_ptr<ChildProcess> process_;
  std::string address_;
};

// A small recipe on "bears" that takes all slots of a worker with `slots`; with `num_trials` > 0 a search, all of whose
// trials are made at once.
v1::ExperimentSpec BenchRecipe(int slots, int num_trials);

}  // namespace ursa

#endif  // URSA_TOOLS_BENCH_COORDINATOR_SERVERS_H_
