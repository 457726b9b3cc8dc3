// The coordinator's records in the terms of the invariants: the one place that knows how storage/v1 spells them.
#ifndef URSA_TESTS_SIMULATION_JOBS_H_
#define URSA_TESTS_SIMULATION_JOBS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "ursa/storage/v1/records.pb.h"
#include "ursa/v1/experiments.pb.h"

namespace ursa::sim {

// A trial of an experiment, as its task is named: {17, 2} is "t17.2".
using JobKey = std::pair<int64_t, int64_t>;
std::string ToString(const JobKey& key);
std::optional<JobKey> ParseJob(const std::string& task_id);

bool IsEnd(v1::Experiment::State state);

struct Checkpoint {
  int64_t id = 0;
  int64_t step = 0;
  std::string model_blob;
  std::string optimizer_blob;
};

// Whatever has a place on a worker: (worker, slot).
using Place = std::pair<int64_t, int32_t>;

struct Rank {
  Place place;
  int64_t epoch = 0;  // of its process: older than the gang's where that was re-formed
  bool gone = false;
  bool joining = false;  // it has yet to get the state of the others
  worker::v1::TaskFinished::Outcome outcome = worker::v1::TaskFinished::OUTCOME_UNSPECIFIED;
};

// What was submitted.
struct Experiment {
  v1::Experiment::State state = v1::Experiment::STATE_UNSPECIFIED;
  std::string name;  // the client's
  bool is_pause_wanted = false;
  bool is_search = false;
  int32_t max_restarts = 0;
  int64_t best_trial = 0;  // of a search; 0: none
};

// A trial.
struct Job {
  v1::Experiment::State state = v1::Experiment::STATE_UNSPECIFIED;
  std::string reason;
  bool waits_for_search = false;
  bool keeps_best_only = false;  // its search has closed it: nobody will go on from its latest checkpoint
  int64_t epoch = 0;
  int32_t restarts = 0;
  int64_t slots = 0;                    // that it needs
  std::vector<Checkpoint> checkpoints;  // by step
  // Of its gang; no ranks: none.
  std::vector<Rank> ranks;
  bool is_ending = false;            // the gang is no longer wanted
  bool has_group = false;            // the gang steps, or stops, as far as is known
  bool has_lasting_failure = false;  // a rank said that it would fail again
  std::string from_model_blob;
  std::string from_optimizer_blob;

  bool has_gang() const { return !ranks.empty(); }
  bool has_ended() const { return IsEnd(state); }
  int64_t latest_step() const { return checkpoints.empty() ? -1 : checkpoints.back().step; }
};

// A stored record; one that cannot be parsed ends the process.
template <typename Record>
Record Parse(std::string_view bytes) {
  Record record;
  URSA_CHECK(record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) << "a record cannot be parsed";
  return record;
}

// A record as the checks see it: what it occupies and refers to.
struct Reading {
  std::optional<std::pair<int64_t, Experiment>> experiment;
  std::optional<std::pair<JobKey, Job>> job;
  std::vector<Place> places;       // that it takes
  std::vector<std::string> blobs;  // that must be there
};

// Reads a record of any table; nothing for those that no check looks at.
Reading ReadRecord(std::string_view table, std::string_view bytes);

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_JOBS_H_
