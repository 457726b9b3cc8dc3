#include "tests/simulation/jobs.h"

#include "absl/strings/str_cat.h"
#include "coordinator/state/task_name.h"

namespace ursa::sim {
namespace {

using worker::v1::TaskFinished;

void AddBlob(const std::string& hash, std::vector<std::string>* blobs) {
  if (!hash.empty()) blobs->push_back(hash);
}

bool IsLasting(const records::Rank& rank) {
  return rank.outcome() == TaskFinished::OUTCOME_USER_ERROR || rank.cause() == TaskFinished::CAUSE_NOT_FINITE ||
         rank.cause() == TaskFinished::CAUSE_BAD_DATA;
}

void AddGang(const records::Gang& gang, Reading* reading) {
  Job& job = reading->job->second;
  for (const records::Rank& rank : gang.ranks()) {
    const int64_t epoch = rank.epoch() != 0 ? rank.epoch() : gang.epoch();
    job.ranks.push_back({{rank.worker_id(), rank.slot()}, epoch, rank.gone(), rank.joining(), rank.outcome()});
    if (!rank.gone()) reading->places.push_back(job.ranks.back().place);
    job.has_lasting_failure |= IsLasting(rank);
  }
  job.is_ending = gang.phase() == records::Gang::PHASE_ENDING;
  const bool is_parting = gang.phase() == records::Gang::PHASE_STOPPING && !gang.reform_why().empty();
  job.has_group =
      gang.phase() == records::Gang::PHASE_RUNNING || (gang.phase() == records::Gang::PHASE_STOPPING && !is_parting);
  job.from_model_blob = gang.model_blob();
  job.from_optimizer_blob = gang.optimizer_blob();
  AddBlob(job.from_model_blob, &reading->blobs);
  AddBlob(job.from_optimizer_blob, &reading->blobs);
}

Reading ReadTrial(std::string_view bytes) {
  const auto record = Parse<records::TrialRecord>(bytes);
  Reading reading;
  reading.job.emplace(JobKey(record.experiment_id(), record.number()), Job());
  Job& job = reading.job->second;
  job.state = record.state();
  job.reason = record.reason();
  job.waits_for_search = record.waits_for_search();
  job.keeps_best_only = job.has_ended() && !record.closed_why().empty();
  job.epoch = record.epoch();
  job.restarts = record.restarts();
  job.slots = record.demand().slots();
  for (const records::CheckpointRecord& checkpoint : record.checkpoints()) {
    job.checkpoints.push_back(
        {checkpoint.id(), checkpoint.step(), checkpoint.model_blob(), checkpoint.optimizer_blob()});
    AddBlob(checkpoint.model_blob(), &reading.blobs);
    AddBlob(checkpoint.optimizer_blob(), &reading.blobs);
  }
  if (record.has_gang()) AddGang(record.gang(), &reading);
  return reading;
}

Reading ReadExperiment(std::string_view bytes) {
  const auto record = Parse<records::ExperimentRecord>(bytes);
  Experiment experiment;
  experiment.state = record.state();
  experiment.name = record.spec().name();
  experiment.is_pause_wanted = record.wanted() == records::ExperimentRecord::WANTED_PAUSE;
  experiment.is_search = record.spec().has_searcher();
  experiment.max_restarts = record.spec().max_restarts();
  experiment.best_trial = record.best_trial();
  Reading reading;
  reading.experiment.emplace(record.id(), std::move(experiment));
  return reading;
}

}  // namespace

std::string ToString(const JobKey& key) { return absl::StrCat("t", key.first, ".", key.second); }

std::optional<JobKey> ParseJob(const std::string& task_id) { return ParseTaskName(task_id); }

bool IsEnd(v1::Experiment::State state) {
  return state == v1::Experiment::STATE_COMPLETED || state == v1::Experiment::STATE_CANCELED ||
         state == v1::Experiment::STATE_ERROR;
}

Reading ReadRecord(std::string_view table, std::string_view bytes) {
  Reading reading;
  if (table == "experiment") return ReadExperiment(bytes);
  if (table == "trial") return ReadTrial(bytes);
  if (table == "aux") {
    const auto record = Parse<records::AuxTaskRecord>(bytes);
    if (record.worker_id() != 0 && record.slot() >= 0) reading.places.emplace_back(record.worker_id(), record.slot());
    AddBlob(record.assignment().evaluate().examples_hash(), &reading.blobs);
  } else if (table == "model_version") {
    AddBlob(Parse<records::ModelVersionRecord>(bytes).version().weights_hash(), &reading.blobs);
  } else if (table == "dataset") {
    AddBlob(Parse<records::DatasetVersionRecord>(bytes).manifest_blob(), &reading.blobs);
  } else if (table == "import") {
    const auto record = Parse<records::ImportRecord>(bytes);
    if (record.import().state() == v1::Import::STATE_RUNNING) AddBlob(record.candidates_hash(), &reading.blobs);
  }
  return reading;
}

}  // namespace ursa::sim
