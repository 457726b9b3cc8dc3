// Phases of a training run: how many epochs, what is frozen, which learning rates when.
#ifndef URSA_WORKER_TRAIN_PHASE_H_
#define URSA_WORKER_TRAIN_PHASE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "worker/train/schedule.h"

namespace ursa {

// A stretch of training with one schedule; optimizer state starts empty in each, as in fastai.
struct Phase {
  int epochs = 1;
  // Parameter groups kept from training, from the input on; negative counts from the end as fastai's freeze_to does:
  // -1 = all but the last. 0 = none.
  int freeze_to = 0;
  bool train_norms = true;            // norm layers of frozen groups train (fastai's train_bn)
  bool hold_norm_statistics = false;  // frozen norm layers that do not train keep their statistics (BnFreeze)
  LearningRate learning_rate;
  Schedule schedule;
};

// fastai's `fine_tune`: `freeze_epochs` epochs of the head, then `epochs` of everything.
struct FineTuneOptions {
  int epochs = 1;          // >= 0
  int freeze_epochs = 1;   // >= 0
  double base_lr = 2e-3;   // > 0; the head's in the frozen phase; half of it afterwards
  double lr_mult = 100;    // the first group's learning rate is the last one's divided by it
  double pct_start = 0.3;  // of the second phase: the part that warms up, in (0, 1)
  double div = 5;          // of the second phase: start at the maximum divided by it
  bool train_bn = true;    // norm layers of the frozen body train
  bool bn_freeze = false;  // with train_bn = false: frozen norm layers keep their statistics
  absl::Status Validate() const;
};

// The two phases (phases of 0 epochs are left out).
std::vector<Phase> FineTunePhases(const FineTuneOptions& options);

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_PHASE_H_
