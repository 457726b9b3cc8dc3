// Everything of a training run besides the model and the optimizer's moments, and its form on disk.
#ifndef URSA_WORKER_TRAIN_TRAIN_STATE_H_
#define URSA_WORKER_TRAIN_TRAIN_STATE_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "worker/nn/tensors.h"

namespace ursa {

// Where a run is. Between steps all of it is in here: the trainer keeps no other state.
struct TrainState {
  int64_t step = 0;            // optimizer steps done, through all phases
  int64_t epoch = 0;           // epochs completed, through all phases
  int64_t phase = 0;           // index of the phase in progress; number of phases when all is done
  int64_t epoch_in_phase = 0;  // epochs completed of it
  int64_t step_in_epoch = 0;   // steps done of the epoch in progress
  bool stopped_early = false;  // the last phase ended by early stopping

  double smooth_sum = 0;  // SmoothedLoss
  int64_t smooth_count = 0;
  double early_best = 0;  // EarlyStopping
  int64_t early_wait = 0;
  double best = 0;  // best value of the best-metric column so far

  std::map<std::string, double> metrics;  // of the last validation
  int64_t metrics_step = -1;
};

// On disk, version 1: a safetensors file with, as scalars, "counter/NAME" (I64), "value/NAME" (F64), "metric/NAME"
// (F64), and the optimizer's tensors under "optimizer/NAME"; metadata {"format": "ursa.train_state", "version": "1",
// "plan": PLAN}, where PLAN describes the phases that the counters refer to.
struct TrainStateFile {
  TrainState state;
  NamedTensors optimizer;
  std::string plan;
};

NamedTensors TrainStateTensors(const TrainState& state, const NamedTensors& optimizer);
StringMap TrainStateMetadata(const std::string& plan);

// Errors: DATA_LOSS (damaged, entries missing), INVALID_ARGUMENT (another format or version).
absl::StatusOr<TrainStateFile> ParseTrainState(const std::string& bytes);

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_TRAIN_STATE_H_
