#include "tests/simulation/jobs.h"

#include "absl/strings/str_cat.h"
#include "base/ids.h"

namespace ursa::sim {
namespace {

namespace records = ::ursa::storage::v1;

void AddBlob(const std::string& hash, std::vector<std::string>* blobs) {
  if (!hash.empty()) blobs->push_back(hash);
}

Job ToJob(const records::ExperimentRecord& record) {
  Job job;
  job.state = record.state();
  job.is_pause_wanted = record.wanted() == records::ExperimentRecord::WANTED_PAUSE;
  job.epoch = record.epoch();
  job.restarts = record.restarts();
  job.max_restarts = record.spec().max_restarts();
  job.num_ranks = record.spec().resources().slots_per_trial();
  job.name = record.spec().name();
  for (const records::CheckpointRecord& checkpoint : record.checkpoints()) {
    job.checkpoints.push_back(
        {checkpoint.id(), checkpoint.step(), checkpoint.model_blob(), checkpoint.optimizer_blob()});
  }
  if (!record.has_gang()) return job;
  const records::Gang& gang = record.gang();
  for (const records::Rank& rank : gang.ranks()) {
    job.ranks.push_back({{rank.worker_id(), rank.slot()}, rank.gone(), rank.outcome()});
  }
  job.is_ending = gang.phase() == records::Gang::PHASE_ENDING;
  job.is_user_error = gang.user_error();
  job.has_failed = !gang.failure().empty() && !gang.uncounted();
  job.from_model_blob = gang.model_blob();
  job.from_optimizer_blob = gang.optimizer_blob();
  return job;
}

Reading ReadExperiment(std::string_view bytes) {
  const auto record = Parse<records::ExperimentRecord>(bytes);
  Reading reading;
  reading.job.emplace(JobKey(record.id(), 1), ToJob(record));
  const Job& job = reading.job->second;
  for (const Checkpoint& checkpoint : job.checkpoints) {
    AddBlob(checkpoint.model_blob, &reading.blobs);
    AddBlob(checkpoint.optimizer_blob, &reading.blobs);
  }
  AddBlob(job.from_model_blob, &reading.blobs);
  AddBlob(job.from_optimizer_blob, &reading.blobs);
  return reading;
}

}  // namespace

std::string ToString(const JobKey& key) { return absl::StrCat("t", key.first, ".", key.second); }

std::optional<JobKey> ParseJob(const std::string& task_id) {
  const size_t dot = task_id.find('.');
  if (dot == std::string::npos || task_id[0] != 't') return std::nullopt;
  return JobKey(std::stoll(task_id.substr(1, dot - 1)), std::stoll(task_id.substr(dot + 1)));
}

bool Job::has_ended() const {
  return state == v1::Experiment::STATE_COMPLETED || state == v1::Experiment::STATE_CANCELED ||
         state == v1::Experiment::STATE_ERROR;
}

Reading ReadRecord(std::string_view table, std::string_view bytes) {
  Reading reading;
  if (table == "experiment") return ReadExperiment(bytes);
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
