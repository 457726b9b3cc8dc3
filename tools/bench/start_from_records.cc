// How long a coordinator takes from an existing folder to a State: RocksDB opened, every record read, parsed and
// applied.
//
//   bazel run //tools/bench:start_from_records -- [EXPERIMENTS=100000] [ROUNDS=5] [FOLDER]
//
// Writes EXPERIMENTS finished experiments of a realistic size (resolved recipe, two checkpoints, progress, five epoch
// rows) into a scratch folder, then opens it ROUNDS times, each time in a process of its own, as after a restart:
// memory that a process has used before costs less. Checks that all are there, and prints the seconds of each opening,
// by the clock and of the processor (all threads): the latter says more on a busy machine. A FOLDER that is named
// stays, and is not written again: for a profiler. Goal: at most 2 s for 100 000.
//
// On two cores of an AMD EPYC, while others built on them and the bench had the highest priority (nice -20): 100 000
// experiments in 1.70 s (median of 16; least 1.38 s, most 1.85 s), of the processor 2.9 s, 787 MiB resident. When one
// thread read and parsed, and records were moved into the State: 2.74 s (median of 7; least 2.30 s), 3.6 s, 931 MiB.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/digest.h"
#include "base/log.h"
#include "coordinator/commit/commit.h"
#include "coordinator/state/entities.h"
#include "storage/keys.h"
#include "storage/record_store.h"
#include "storage/rocks_kv_store.h"

namespace ursa {
namespace {

constexpr int kEpochs = 5;
constexpr int kRecordsAnExperiment = 3 + kEpochs;
constexpr int kExperimentsABatch = 500;

template <typename Record>
void PutRecord(RecordBatch* batch, const Record& record) {
  using Traits = EntityTraits<Record>;
  batch->Put(Traits::kTable, RecordId(Traits::KeyOf(record)), record);
}

void FillMetrics(google::protobuf::Map<std::string, double>* metrics, int64_t number) {
  for (const char* name : {"train_loss", "valid_loss", "error_rate", "seconds"}) (*metrics)[name] = 1.0 / (1 + number);
}

void PutExperiment(RecordBatch* batch, int64_t id) {
  records::ExperimentRecord experiment;
  experiment.set_id(id);
  v1::ExperimentSpec* spec = experiment.mutable_spec();
  spec->set_name("bears");
  spec->set_dataset("bears@1");
  spec->set_seed(id);
  spec->mutable_model()->set_architecture("efficientnet_lite0");
  spec->mutable_model()->set_pretrained("imagenet");
  spec->mutable_data()->mutable_item_transforms()->mutable_random_resized_crop()->set_size(224);
  spec->mutable_data()->set_batch_size(64);
  spec->mutable_train()->mutable_fine_tune()->set_epochs(kEpochs - 1);
  spec->mutable_train()->add_metrics("error_rate");
  experiment.set_state(v1::Experiment::STATE_COMPLETED);
  experiment.set_creator("admin");
  experiment.set_manifest_hash(Sha256Hex("manifest"));
  for (const char* label : {"black", "grizzly", "teddy"}) experiment.add_classes(label);
  experiment.set_num_trials(1);
  PutRecord(batch, experiment);
  records::TrialRecord trial;
  trial.set_experiment_id(id);
  trial.set_number(kFirstTrial);
  trial.set_state(v1::Experiment::STATE_COMPLETED);
  trial.mutable_demand()->set_slots(2);
  trial.mutable_demand()->set_kind("cpu");
  trial.mutable_demand()->set_user("admin");
  FillMetrics(trial.mutable_metrics(), id);
  for (int k = 0; k < 2; ++k) {
    records::CheckpointRecord* checkpoint = trial.add_checkpoints();
    checkpoint->set_id(2 * id + k);
    checkpoint->set_step(20 + k);
    checkpoint->set_model_blob(Sha256Hex(absl::StrCat("model", id, k)));
    checkpoint->set_optimizer_blob(Sha256Hex(absl::StrCat("state", id, k)));
    FillMetrics(checkpoint->mutable_metrics(), id);
  }
  PutRecord(batch, trial);
  records::ProgressRecord progress;
  progress.set_experiment_id(id);
  progress.set_step(21);
  PutRecord(batch, progress);
  for (int e = 0; e < kEpochs; ++e) {
    records::EpochRecord epoch;
    epoch.set_experiment_id(id);
    epoch.mutable_row()->set_epoch(e);
    FillMetrics(epoch.mutable_row()->mutable_metrics(), e);
    PutRecord(batch, epoch);
  }
}

// What an opening cost.
struct Seconds {
  double wall = 0;
  double user = 0;  // of all threads
  double system = 0;
};

Seconds Now() {
  rusage usage;
  URSA_CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
  return {absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()),
          absl::ToDoubleSeconds(absl::DurationFromTimeval(usage.ru_utime)),
          absl::ToDoubleSeconds(absl::DurationFromTimeval(usage.ru_stime))};
}

// Opens the folder as the coordinator does, and returns what it cost until all is in State (not what it costs to close
// it again).
Seconds Open(const std::string& folder, int64_t num_experiments) {
  const Seconds began = Now();
  auto kv = RocksKvStore::Open(folder, {});
  URSA_CHECK_OK(kv.status());
  URSA_CHECK_OK(CheckStoreFormat(kv->get()));
  RecordStore store(kv->get());
  auto commit = Commit::Open(&store, {});
  URSA_CHECK_OK(commit.status());
  const Seconds ended = Now();
  Tx tx(commit->get());
  const auto found = static_cast<int64_t>(tx.state().All<records::ExperimentRecord>().size());
  URSA_CHECK(found == num_experiments) << found << " of " << num_experiments;
  return {ended.wall - began.wall, ended.user - began.user, ended.system - began.system};
}

void WriteExperiments(const std::string& folder, int64_t num_experiments) {
  auto kv = RocksKvStore::Open(folder, {});
  URSA_CHECK_OK(kv.status());
  URSA_CHECK_OK(CheckStoreFormat(kv->get()));
  RecordStore store(kv->get());
  for (int64_t first = 1; first <= num_experiments; first += kExperimentsABatch) {
    RecordBatch batch;
    for (int64_t id = first; id < first + kExperimentsABatch && id <= num_experiments; ++id) PutExperiment(&batch, id);
    URSA_CHECK_OK(store.Commit(batch));
  }
}

// Calls `work` in a child process and returns what it returned. This process never has threads, so that it may fork.
Seconds InChild(const std::function<Seconds()>& work) {
  int ends[2];
  URSA_CHECK(pipe(ends) == 0);
  const pid_t child = fork();
  URSA_CHECK(child >= 0);
  if (child == 0) {
    const Seconds seconds = work();
    const bool is_written = write(ends[1], &seconds, sizeof(seconds)) == sizeof(seconds);
    _exit(is_written ? 0 : 1);
  }
  close(ends[1]);
  Seconds seconds;
  URSA_CHECK(read(ends[0], &seconds, sizeof(seconds)) == sizeof(seconds)) << "the child has failed";
  close(ends[0]);
  int status = 0;
  URSA_CHECK(waitpid(child, &status, 0) == child && status == 0);
  return seconds;
}

int Main(int argc, char** argv) {
  const int64_t num_experiments = argc > 1 ? std::atoll(argv[1]) : 100'000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  const bool stays = argc > 3;
  const std::string folder =
      stays ? argv[3] : absl::StrCat(std::filesystem::temp_directory_path().string(), "/ursa-start-", RandomHex(8));
  if (!std::filesystem::exists(folder)) {
    InChild([&] {
      WriteExperiments(folder, num_experiments);
      return Seconds();
    });
  }
  std::vector<double> walls;
  for (int round = 0; round < rounds; ++round) {
    const Seconds cost = InChild([&] { return Open(folder, num_experiments); });
    walls.push_back(cost.wall);
    std::printf("round %d: %lld experiments, %lld records, %.2f s (processor: user %.2f s, system %.2f s)\n", round,
                static_cast<long long>(num_experiments), static_cast<long long>(num_experiments * kRecordsAnExperiment),
                cost.wall, cost.user, cost.system);
    std::fflush(stdout);
  }
  std::sort(walls.begin(), walls.end());
  std::printf("start from records: median %.2f s, minimum %.2f s, maximum %.2f s (goal: 2 s for 100000)\n",
              walls[walls.size() / 2], walls.front(), walls.back());
  if (!stays) std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) { return ursa::Main(argc, argv); }
