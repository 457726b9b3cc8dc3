#include "tests/simulation/workload.h"

#include <algorithm>

#include "base/digest.h"
#include "base/ids.h"
#include "experiments/resource_names.h"
#include "tests/simulation/blob_calls.h"
#include "ursa/v1/cluster.pb.h"

namespace ursa::sim {
namespace {

constexpr char kDataset[] = "pictures";

v1::CandidateList MakeCandidates(int num_pictures) {
  v1::CandidateList list;
  for (int i = 0; i < num_pictures; ++i) {
    const std::string bytes = absl::StrCat("picture ", i);
    v1::Candidate* candidate = list.add_candidates();
    candidate->set_label(i < num_pictures / 2 ? "black" : "grizzly");
    candidate->set_source(absl::StrCat(candidate->label(), "/", 1000 + i, ".jpg"));
    candidate->set_hash(Sha256Hex(bytes));
    candidate->set_size(static_cast<int64_t>(bytes.size()));
  }
  return list;
}

}  // namespace

// ---- the dataset

void Workload::Start() {
  std::vector<std::string> contents;
  for (int i = 0; i < options_.num_pictures; ++i) contents.push_back(absl::StrCat("picture ", i));
  Upload(std::move(contents), [this] { Import(); });
}

void Workload::Upload(std::vector<std::string> contents, std::function<void()> then) {
  if (contents.empty()) return then();
  const std::string content = contents.back();
  cluster_.network->Call<bool>(
      0, options_.patience,
      [this, content](Done<bool> done) {
        UploadBlob(cluster_.coordinator, Sha256Hex(content), content, std::move(done));
      },
      [this, contents = std::move(contents), then = std::move(then)](const absl::StatusOr<bool>& uploaded) mutable {
        if (uploaded.ok()) contents.pop_back();
        if (uploaded.ok()) return Upload(std::move(contents), std::move(then));
        world_.In(world_.Between(absl::Milliseconds(50), absl::Seconds(1)),
                  [this, contents, then] { Upload(contents, then); });
      });
}

void Workload::Import() {
  const std::string list = MakeCandidates(options_.num_pictures).SerializeAsString();
  Upload({list}, [this, hash = Sha256Hex(list)] {
    v1::ImportDatasetRequest request;
    request.set_dataset(kDataset);
    request.set_split("random:0.5:seed=42");
    request.set_candidates_hash(hash);
    ++num_imports_;
    Ask<v1::ImportDatasetRequest, v1::Import>(
        "DatasetService/ImportDataset", std::move(request),
        [](Coordinator& coordinator, const RequestKey& key, const v1::ImportDatasetRequest& asked,
           Done<v1::Import> done) {
          coordinator.env().executor->Run(
              [&coordinator, key, asked, done] { coordinator.imports().Start(key, asked, done); });
        },
        [this](const absl::StatusOr<v1::Import>& import) {
          if (import.ok()) return WaitForImport(import->name());
          // No worker is there just now, or the list was dropped again as nothing used it in time.
          if (!absl::IsFailedPrecondition(import.status()) && !absl::IsNotFound(import.status())) {
            return cluster_.invariants->Fail(absl::StrCat("import: ", import.status().ToString()));
          }
          world_.In(absl::Seconds(1), [this] { Import(); });
        });
  });
}

void Workload::WaitForImport(const std::string& name) {
  Read<v1::Import>([name](Coordinator& coordinator, const Tx& tx) { return coordinator.imports().Get(tx, name); },
                   [this, name](const absl::StatusOr<v1::Import>& import) {
                     if (!import.ok()) {
                       return cluster_.invariants->Fail(absl::StrCat(name, ": ", import.status().ToString()));
                     }
                     if (import->state() == v1::Import::STATE_COMPLETED) return SubmitAll();
                     // Its task may have died too often.
                     if (import->state() == v1::Import::STATE_ERROR) return Import();
                     world_.In(absl::Seconds(1), [this, name] { WaitForImport(name); });
                   });
}

// ---- jobs

void Workload::SubmitAll() {
  for (int i = 1; i <= options_.num_jobs; ++i) {
    std::string name = absl::StrCat("j", i);
    const int64_t num_steps = 4 * options_.epochs_most;
    if (world_.Chance(options_.doomed_share)) {
      absl::StrAppend(&name, "-fails-", world_.Between(1, num_steps));
    } else if (world_.Chance(options_.wrong_share)) {
      absl::StrAppend(&name, "-wrong-", world_.Between(1, num_steps));
    }
    world_.In(world_.Between(absl::ZeroDuration(), options_.submit_within), [this, name] {
      ++num_submitted_;
      ++num_open_;
      Submit(name);
    });
  }
}

v1::ExperimentSpec Workload::MakeSpec(const std::string& name) {
  v1::ExperimentSpec spec;
  spec.set_name(name);
  spec.set_dataset(kDataset);
  spec.set_max_restarts(options_.max_restarts);
  spec.mutable_model()->set_architecture("resnet18");
  spec.mutable_data()->mutable_item_transforms()->mutable_resize()->set_size(32);
  const auto slots = static_cast<int32_t>(world_.Between(1, options_.slots_most));
  spec.mutable_data()->set_batch_size(2 * slots * static_cast<int32_t>(world_.Between(1, 2)));
  spec.mutable_train()->mutable_fine_tune()->set_epochs(static_cast<int32_t>(world_.Between(1, options_.epochs_most)));
  spec.mutable_resources()->set_slots_per_trial(slots);
  spec.mutable_resources()->set_priority(static_cast<int32_t>(world_.Between(40, 60)));
  if (world_.Chance(0.7)) spec.mutable_checkpoint()->set_every_steps(static_cast<int32_t>(world_.Between(1, 5)));
  spec.mutable_checkpoint()->set_keep_latest(static_cast<int32_t>(world_.Between(1, 3)));
  if (!world_.Chance(options_.search_share)) return spec;
  v1::Hyperparameter* rate = spec.add_hyperparameters();
  rate->set_name("train.fine_tune.base_lr");
  rate->mutable_log()->set_low(1e-4);
  rate->mutable_log()->set_high(1e-2);
  const auto max_trials = static_cast<int32_t>(world_.Between(2, 6));
  if (world_.Chance(0.5)) {
    spec.mutable_searcher()->mutable_random()->set_max_trials(max_trials);
  } else {
    spec.mutable_searcher()->mutable_adaptive_asha()->set_max_trials(max_trials);
    spec.mutable_searcher()->mutable_adaptive_asha()->set_divisor(2);
  }
  return spec;
}

void Workload::Submit(const std::string& name) {
  v1::CreateExperimentRequest request;
  *request.mutable_spec() = MakeSpec(name);
  Ask<v1::CreateExperimentRequest, v1::Experiment>(
      "ExperimentService/CreateExperiment", std::move(request),
      [](Coordinator& coordinator, const RequestKey& key, const v1::CreateExperimentRequest& asked,
         Done<v1::Experiment> done) { coordinator.experiments().Create(key, asked, std::move(done)); },
      [this, name](const absl::StatusOr<v1::Experiment>& experiment) {
        if (experiment.ok()) {
          Watch(experiment->name());
          if (world_.Chance(options_.change_share)) ChangeMind(experiment->name());
          return;
        }
        // More slots than those of the workers that are alive just now.
        if (!absl::IsFailedPrecondition(experiment.status())) {
          return cluster_.invariants->Fail(absl::StrCat(name, ": ", experiment.status().ToString()));
        }
        world_.In(world_.Between(absl::Seconds(1), absl::Seconds(5)), [this, name] { Submit(name); });
      });
}

void Workload::ChangeMind(const std::string& name) {
  ++num_open_;
  const absl::Duration wait = world_.Between(absl::Milliseconds(100), absl::Seconds(20));
  if (world_.Chance(0.4)) {
    return world_.In(wait, [this, name] {
      Cancel(name);
      Close();
    });
  }
  world_.In(wait, [this, name] {
    v1::PauseExperimentRequest request;
    request.set_name(name);
    Change<v1::PauseExperimentRequest, v1::Experiment>(
        "ExperimentService/PauseExperiment", std::move(request),
        [](Coordinator& coordinator, Tx& tx, const Caller& caller, const v1::PauseExperimentRequest& asked) {
          return coordinator.experiments().Pause(tx, caller, asked.name());
        },
        [this, name](const absl::StatusOr<v1::Experiment>& paused) {
          if (!paused.ok()) return Close();
          world_.In(world_.Between(absl::Milliseconds(100), absl::Seconds(20)), [this, name] { Resume(name); });
        });
  });
}

void Workload::Cancel(const std::string& name) {
  ++num_open_;
  v1::CancelExperimentRequest request;
  request.set_name(name);
  Change<v1::CancelExperimentRequest, v1::Experiment>(
      "ExperimentService/CancelExperiment", std::move(request),
      [](Coordinator& coordinator, Tx& tx, const Caller& caller, const v1::CancelExperimentRequest& asked) {
        return coordinator.experiments().Cancel(tx, caller, asked.name());
      },
      [this](const absl::StatusOr<v1::Experiment>&) { Close(); });  // an error: it has ended before
}

// Until it is resumed or has ended: a pause may take its time.
void Workload::Resume(const std::string& name) {
  v1::ResumeExperimentRequest request;
  request.set_name(name);
  Change<v1::ResumeExperimentRequest, v1::Experiment>(
      "ExperimentService/ResumeExperiment", std::move(request),
      [](Coordinator& coordinator, Tx& tx, const Caller& caller, const v1::ResumeExperimentRequest& asked) {
        return coordinator.experiments().Resume(tx, caller, asked.name());
      },
      [this, name](const absl::StatusOr<v1::Experiment>& resumed) {
        if (resumed.ok()) return Close();
        Read<v1::Experiment>(
            [name](Coordinator& coordinator, const Tx& tx) { return coordinator.experiments().Get(tx, name); },
            [this, name](const absl::StatusOr<v1::Experiment>& experiment) {
              if (!experiment.ok() || IsEnd(experiment->state())) return Close();
              world_.In(absl::Seconds(1), [this, name] { Resume(name); });
            });
      });
}

void Workload::Watch(const std::string& name) {
  Read<v1::Experiment>(
      [name](Coordinator& coordinator, const Tx& tx) { return coordinator.experiments().Get(tx, name); },
      [this, name](const absl::StatusOr<v1::Experiment>& experiment) {
        if (!experiment.ok()) {
          return cluster_.invariants->Fail(absl::StrCat(name, ": ", experiment.status().ToString()));
        }
        if (IsEnd(experiment->state())) return OnEnd(*experiment);
        world_.In(world_.Between(absl::Seconds(1), absl::Seconds(4)), [this, name] { Watch(name); });
      });
}

void Workload::OnEnd(const v1::Experiment& experiment) {
  ++num_ended_;
  world_.Trace("job has ended", ExperimentId::Parse(experiment.experiment_id())->number(), experiment.state());
  if (experiment.state() == v1::Experiment::STATE_COMPLETED && world_.Chance(options_.registry_share)) {
    return Register(experiment.name());
  }
  Close();
}

// ---- the operator

void Workload::Drain(int64_t worker_id, absl::Duration time) {
  ++num_open_;
  const std::string worker = IdName("workers", 'w', worker_id);
  v1::DrainWorkerRequest request;
  request.set_name(worker);
  Change<v1::DrainWorkerRequest, v1::Worker>(
      "ClusterService/DrainWorker", std::move(request),
      [](Coordinator& coordinator, Tx& tx, const Caller& caller, const v1::DrainWorkerRequest& asked) {
        return coordinator.workers().Drain(tx, caller, asked);
      },
      [this, worker, time](const absl::StatusOr<v1::Worker>& drained) {
        drained.ok() ? Reopen(worker, time) : Close();
      });
}

void Workload::ReopenLater(int64_t worker_id) {
  ++num_open_;
  Reopen(IdName("workers", 'w', worker_id), world_.Between(absl::Seconds(1), absl::Seconds(20)));
}

void Workload::Reopen(const std::string& worker, absl::Duration wait) {
  world_.In(wait, [this, worker] {
    v1::ResumeWorkerRequest request;
    request.set_name(worker);
    Change<v1::ResumeWorkerRequest, v1::Worker>(
        "ClusterService/ResumeWorker", std::move(request),
        [](Coordinator& coordinator, Tx& tx, const Caller& caller, const v1::ResumeWorkerRequest& asked) {
          return coordinator.workers().Resume(tx, caller, asked);
        },
        [this](const absl::StatusOr<v1::Worker>&) { Close(); });  // an error: somebody else resumed it
  });
}

void Workload::VerifyAudit() {
  ++num_open_;
  cluster_.network->Call<v1::VerifyAuditResponse>(
      0, options_.patience,
      [this](Done<v1::VerifyAuditResponse> done) { cluster_.coordinator->coordinator().VerifyAudit(std::move(done)); },
      [this](const absl::StatusOr<v1::VerifyAuditResponse>& answer) {
        Close();
        if (absl::IsUnavailable(answer.status())) return VerifyAudit();
        if (!answer.ok() || !answer->ok()) {
          cluster_.invariants->Fail(
              absl::StrCat("audit: ", answer.ok() ? answer->reason() : answer.status().ToString()));
        }
      });
}

}  // namespace ursa::sim
