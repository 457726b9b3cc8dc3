// What the coordinator tells others, judged by what is durable when it leaves.
#ifndef URSA_TESTS_SIMULATION_PROMISES_H_
#define URSA_TESTS_SIMULATION_PROMISES_H_

#include <google/protobuf/util/message_differencer.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/simulation/invariants.h"
#include "tests/simulation/jobs.h"
#include "tests/simulation/world.h"
#include "ursa/v1/experiments.pb.h"
#include "ursa/worker/v1/worker.pb.h"

namespace ursa::sim {

// One stream: host, life of the agent, number of the stream in it.
struct StreamName {
  int64_t host = 0;
  int64_t agent_incarnation = 0;
  int64_t stream_id = 0;
};

// Nothing that depends on a change may leave before the change is durable: an answer to a request is the one that is
// kept, and what it says holds; an order's epoch is on the disk; what is acknowledged to a worker has had its effect.
// And a worker is not called lost while it is heard of. Borrows world and invariants.
class Promises {
 public:
  Promises(World* world, Invariants* invariants, absl::Duration lease)
      : world_(*world), invariants_(*invariants), lease_(lease) {}

  void OnHeard(const StreamName& stream, const worker::v1::ConnectRequest& message);
  void OnTold(const StreamName& stream, const worker::v1::ConnectResponse& message);

  // An answer leaves for the client who asked with that request id ("" for a call that only reads).
  template <typename Response>
  void OnAnswer(const std::string& actor, const std::string& request_id, const absl::StatusOr<Response>& answer);

  // An answer says that the blob is stored.
  void OnBlobTold(const std::string& hash) { invariants_.OnBlobTold(hash); }

  // The coordinator has died: what it had heard is forgotten.
  void OnDeath();
  // It has started: from now on every lease has a full term.
  void OnStart() { started_at_ = world_.now(); }
  // It has stood still since then, for longer than half a lease: that counts against nobody.
  void OnStoodStill(absl::Time since) { paused_at_ = since, resumed_at_ = world_.now(); }

  // A worker has become lost, durably: it must not have been heard of for a lease.
  void OnLost(int64_t worker_id);

 private:
  // What an event of a rank has to leave behind, if the rank is the present one.
  struct Effect {
    JobKey job;
    int64_t epoch = 0;
    int32_t rank = 0;
    worker::v1::TaskEvent::EventCase kind = worker::v1::TaskEvent::EVENT_NOT_SET;
    int64_t step = 0;         // of a checkpoint
    int64_t group_epoch = 0;  // of a group that is lost
    std::string metric_key;   // of a point
  };
  struct Agent {
    int64_t incarnation = 0;
    int64_t stream_id = 0;        // the one that was welcomed last
    int64_t hello_stream_id = 0;  // the one that said hello last
    int64_t worker_id = 0;
    absl::Time last_heard = absl::InfinitePast();
    absl::Time heard_before_gap = absl::InfinitePast();  // the last one of half a lease
    absl::Time last_silence = absl::InfinitePast();      // end of the last one that was as long as a lease
    absl::Time earlier_silence = absl::InfinitePast();   // end of the one before that
    std::map<int64_t, std::vector<Effect>> effects;      // by sequence; not acknowledged
  };

  void Hear(Agent* agent);
  void OnOrders(const worker::v1::DesiredState& desired);
  void CheckEffect(const Effect& effect);
  void CheckExperiment(const v1::Experiment& experiment);

  World& world_;
  Invariants& invariants_;
  const absl::Duration lease_;
  absl::Time started_at_ = absl::InfinitePast();
  absl::Time paused_at_ = absl::InfinitePast();
  absl::Time resumed_at_ = absl::InfinitePast();
  std::map<int64_t, Agent> agents_;   // by host
  std::map<int64_t, int64_t> hosts_;  // by worker
};

template <typename Response>
void Promises::OnAnswer(const std::string& actor, const std::string& request_id,
                        const absl::StatusOr<Response>& answer) {
  if (absl::IsUnavailable(answer.status())) return;
  if (!request_id.empty()) {
    const Invariants::KeptAnswer* kept = invariants_.FindAnswer(actor + "/" + request_id);
    if (kept == nullptr) return invariants_.Fail("request " + request_id + ": is answered before that is durable");
    Response first;
    const bool is_same = !answer.ok() ? kept->code == static_cast<int32_t>(answer.status().code()) &&
                                            kept->text == answer.status().message()
                                      : kept->code == 0 && first.ParseFromString(kept->text) &&
                                            google::protobuf::util::MessageDifferencer::Equals(first, *answer);
    if (!is_same) invariants_.Fail("request " + request_id + ": gets another answer than the first time");
  } else if constexpr (std::is_same_v<Response, v1::Experiment>) {
    if (answer.ok()) CheckExperiment(*answer);
  }
}

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_PROMISES_H_
