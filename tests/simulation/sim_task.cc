#include "tests/simulation/sim_task.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "tests/simulation/sim_process.h"
#include "tests/simulation/train_rank.h"
#include "ursa/v1/datasets.pb.h"

namespace ursa::sim {

using worker::v1::TaskAssignment;
using worker::v1::TaskEvent;
using worker::v1::TaskFinished;

// ---- what is common to all

namespace {

constexpr absl::Duration kStartLeast = absl::Milliseconds(100);  // until a process has loaded its libraries
constexpr absl::Duration kStartMost = absl::Seconds(2);
constexpr int kVerdictsPerReport = 10;

}  // namespace

SimProcess::SimProcess(SimAgent* agent, int64_t process_id, const ProcessKey& key, const TaskAssignment& assignment)
    : agent_(*agent), world_(*agent->cluster().world), process_id_(process_id), key_(key), assignment_(assignment) {}

void SimProcess::Start() {
  agent_.In(process_id_, world_.Between(kStartLeast, kStartMost), [this] { Run(); });
}

void SimProcess::Fetch(const std::vector<std::string>& hashes, std::function<void(std::vector<std::string>)> then) {
  agent_.Fetch(process_id_, hashes, [this, then = std::move(then)](absl::StatusOr<std::vector<std::string>> contents) {
    if (contents.ok()) return then(*std::move(contents));
    OnFetchFailed(contents.status());
    Finish(TaskFinished::OUTCOME_FAILED, std::string(contents.status().message()));
  });
}

void SimProcess::Report(std::vector<TaskEvent> events, std::function<void()> then) {
  agent_.Report(process_id_, std::move(events), [this, then = std::move(then)](const absl::Status& status) {
    if (status.ok()) return then();
    // Its last word would meet the same.
    agent_.Exit(process_id_, 1, 0);
  });
}

void SimProcess::Finish(TaskFinished::Outcome outcome, const std::string& reason, TaskFinished::Cause cause) {
  if (std::exchange(is_finishing_, true)) return;
  TaskEvent event;
  event.mutable_finished()->set_cause(cause);
  event.mutable_finished()->set_outcome(outcome);
  event.mutable_finished()->set_reason(reason);
  Report({std::move(event)},
         [this, outcome] { agent_.Exit(process_id_, outcome == TaskFinished::OUTCOME_FAILED ? 1 : 0, 0); });
}

namespace {

// Checks files: every tenth is refused.
class Ingest : public SimProcess {
 public:
  using SimProcess::SimProcess;

 private:
  void Run() override {
    Fetch({assignment_.ingest().candidates_hash()}, [this](std::vector<std::string> contents) {
      v1::CandidateList list;
      if (!list.ParseFromString(contents[0])) agent_.cluster().invariants->Fail("a list cannot be parsed");
      num_files_ = list.candidates_size();
      Next(0);
    });
  }

  void Next(int first) {
    if (first >= num_files_) return Finish(TaskFinished::OUTCOME_COMPLETED, "");
    std::vector<TaskEvent> events(2);
    events[0].mutable_ingest()->set_first(first);
    for (int i = first; i < std::min(num_files_, first + kVerdictsPerReport); ++i) {
      worker::v1::FileVerdict* verdict = events[0].mutable_ingest()->add_verdicts();
      if (i % 10 == 9) verdict->set_refused("no picture");
    }
    events[1].mutable_progress()->set_num_done(std::min(num_files_, first + kVerdictsPerReport));
    Report(std::move(events), [this, first] {
      agent_.In(process_id_, world_.Between(absl::Milliseconds(10), absl::Milliseconds(200)),
                [this, first] { Next(first + kVerdictsPerReport); });
    });
  }

  int num_files_ = 0;
};

// Predicts what the ledger lacks.
class Evaluation : public SimProcess {
 public:
  using SimProcess::SimProcess;

 private:
  void Run() override {
    const auto& evaluate = assignment_.evaluate();
    Fetch({evaluate.model().weights_hash(), evaluate.examples_hash()}, [this](std::vector<std::string> contents) {
      worker::v1::ExampleIds ids;
      if (!ids.ParseFromString(contents[1])) agent_.cluster().invariants->Fail("a list of ids cannot be parsed");
      std::vector<TaskEvent> events(1);
      worker::v1::LedgerEntries* entries = events[0].mutable_predictions();
      entries->set_artifact_hash(assignment_.evaluate().artifact_hash());
      entries->set_transform_hash(assignment_.evaluate().transform_hash());
      for (const std::string& id : ids.ids()) {
        auto* entry = entries->add_entries();
        entry->set_example_id(id);
        for (int c = 0; c < assignment_.evaluate().model().classes_size(); ++c) {
          entry->add_logits(static_cast<float>((id[0] + c) % 3));
        }
      }
      Report(std::move(events), [this] { Finish(TaskFinished::OUTCOME_COMPLETED, ""); });
    });
  }
};

}  // namespace

std::unique_ptr<SimTask> MakeTask(SimAgent* agent, int64_t process_id, const ProcessKey& key,
                                  const TaskAssignment& assignment) {
  switch (assignment.kind_case()) {
    case TaskAssignment::kTrain:
      return std::make_unique<TrainRank>(agent, process_id, key, assignment);
    case TaskAssignment::kIngest:
      return std::make_unique<Ingest>(agent, process_id, key, assignment);
    case TaskAssignment::kEvaluate:
      return std::make_unique<Evaluation>(agent, process_id, key, assignment);
    default:
      URSA_CHECK(false) << key.ToString() << ": no task of that kind is simulated";
      return nullptr;
  }
}

}  // namespace ursa::sim
