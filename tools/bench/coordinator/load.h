// Closed-loop load: so many calls outstanding at any time.
#ifndef URSA_TOOLS_BENCH_COORDINATOR_LOAD_H_
#define URSA_TOOLS_BENCH_COORDINATOR_LOAD_H_

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "ursa/v1/experiments.grpc.pb.h"

namespace ursa {

struct LoadResult {
  int64_t num_calls = 0;  // that ended within the measured time
  double seconds = 0;
  double p50_millis = 0;
  double p99_millis = 0;

  double rate() const { return static_cast<double>(num_calls) / seconds; }
};

// Starts call number `number` (from 0, each once) and says when it has ended; a call that fails ends the bench.
using StartCall = std::function<void(int64_t number, std::function<void(const grpc::Status&)> done)>;

// Keeps `num_outstanding` calls under way for `warm_up`, then measures for `duration`, then waits for the rest.
// `num_started`, if given, gets the number of all calls, warm-up and rest included.
LoadResult RunLoad(int num_outstanding, absl::Duration warm_up, absl::Duration duration, const StartCall& start,
                   int64_t* num_started = nullptr);

// Connections of their own to one server.
std::vector<std::shared_ptr<grpc::Channel>> MakeChannels(const std::string& address, int count);

// Submits experiments over some connections.
class Submitter {
 public:
  // `recipe` is sent with each call, as a request of its own.
  Submitter(const std::string& address, int num_channels, const std::string& token, v1::ExperimentSpec recipe);
  StartCall Start();

 private:
  std::vector<std::unique_ptr<v1::ExperimentService::Stub>> stubs_;
  const std::string token_;
  const std::string run_;  // makes request ids those of this run
  const v1::ExperimentSpec recipe_;
};

// Puts values into etcd (etcdserverpb.KV/Put, coded by hand: a key and a value).
class EtcdPutter {
 public:
  EtcdPutter(const std::string& address, int num_channels, std::string value);
  ~EtcdPutter();
  StartCall Start();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ursa

#endif  // URSA_TOOLS_BENCH_COORDINATOR_LOAD_H_
