// A rank of a training: worker/task/training.cc and worker/train/trainer.cc without the arithmetic.
#ifndef URSA_TESTS_SIMULATION_TRAIN_RANK_H_
#define URSA_TESTS_SIMULATION_TRAIN_RANK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/simulation/fabric.h"
#include "tests/simulation/jobs.h"
#include "tests/simulation/sim_process.h"
#include "ursa/v1/experiments.pb.h"
#include "ursa/worker/v1/task.pb.h"

namespace ursa::sim {

//   start --1--> meeting --2--> in a group --3--> finishing
//                  ^  `----4-------.  | 4
//                  5               v  v
//                  `---------- waiting for a newer group
//   1 manifest and checkpoint are fetched; one that takes the place of another fetches none
//   2 all ranks of the group are there                 4 the group is lost: it keeps its state, and says so
//   3 the work is done, was stopped, or it failed      5 it is told of one; or to stop: it finishes, rank 0 checkpoints
// As in production, a rank in a group leaves it only when its collective throws: a newer group may have to wait.
class TrainRank : public SimProcess, public GroupMember {
 public:
  using SimProcess::SimProcess;

  void OnStop(bool keeps_state) override;
  void OnReform(int64_t epoch) override;
  void OnDeath() override { LeaveGroup(); }

  int64_t process_epoch() const override { return key_.epoch; }
  const Standing& standing() const override { return standing_; }
  bool WantsStop() const override { return is_stopping_ && !ignores_stop_; }
  absl::Time PausedUntil() const override { return agent_.PausedUntil(); }
  void TakeState(const Standing& theirs) override;
  void OnStepDone() override { ++standing_.step; }
  void OnEpochDone() override { standing_.epoch = standing_.step / steps_per_epoch_; }
  void OnFormed() override;
  void OnStep(bool stop) override;
  void OnGroupEnd(worker::v1::TaskFinished::Outcome outcome) override;
  void OnPeerLost() override { LoseGroup("collective: a peer has closed the connection"); }
  void OnFault(RankFault fault) override;

 private:
  void Run() override;
  void OnFetchFailed(const absl::Status& status) override;
  void Prepare(const std::string& manifest_bytes);
  // As Gloo does: each rank says where it is, and reads where the others are.
  void Meet();
  void CountIn();
  void WaitForAll();
  void Call(worker::v1::StoreRequest request, std::function<void(const worker::v1::StoreResponse&)> then);
  void Join();
  void LeaveGroup();
  void LoseGroup(const std::string& why);
  // Meets the newest group, if it waits for one that is newer than its own.
  void GoOn();
  void Part();
  void Fail(const std::string& reason,
            worker::v1::TaskFinished::Cause cause = worker::v1::TaskFinished::CAUSE_UNSPECIFIED);
  // What comes after a step, or after meeting at one.
  void Proceed(bool stop);
  // `then` is called when the events are handed over, if the rank is in the same group by then.
  void ReportInGroup(std::vector<worker::v1::TaskEvent> events, std::function<void()> then);

  bool IsEpochEnd() const { return standing_.step > 0 && standing_.step % steps_per_epoch_ == 0; }
  bool IsLast() const { return standing_.step >= num_steps_; }
  std::vector<worker::v1::TaskEvent> Progress();
  worker::v1::TaskEvent Validation() const;
  worker::v1::TaskEvent SaveCheckpoint();

  const worker::v1::TrainAssignment& train() const { return assignment_.train(); }
  const v1::ExperimentSpec& spec() const { return train().spec(); }
  JobKey job() const { return *ParseJob(key_.task_id); }
  Invariants& invariants() { return *agent_.cluster().invariants; }

  int64_t steps_per_epoch_ = 1;
  int64_t num_steps_ = 0;
  Standing standing_;
  bool tells_again_ = false;  // it may know of things that the rank before it has not told
  int64_t reported_step_ = 0;
  absl::Time flushed_at_ = absl::InfinitePast();
  bool is_stopping_ = false;
  bool keeps_state_ = false;
  bool ignores_stop_ = false;
  bool is_hung_ = false;
  bool is_waiting_ = false;  // for a newer group
  std::string lost_why_;
  int64_t group_epoch_ = 0;       // of the group that it meets or is in
  int64_t newest_group_ = 0;      // that it was told of
  std::shared_ptr<Group> group_;  // from the moment on that others know its address
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_TRAIN_RANK_H_
