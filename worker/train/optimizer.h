// Adam with decoupled weight decay, as fastai's and as torch's fused operator compute it.
#ifndef URSA_WORKER_TRAIN_OPTIMIZER_H_
#define URSA_WORKER_TRAIN_OPTIMIZER_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/nn/model.h"
#include "worker/nn/tensors.h"

namespace ursa {

struct AdamOptions {
  double squared_momentum = 0.99;  // beta2, in [0, 1)
  double epsilon = 1e-5;           // > 0
  double weight_decay = 0.01;      // >= 0; p *= 1 - lr * weight_decay
  bool decay_norms_and_biases = false;
  absl::Status Validate() const;
};

// Steps the parameters that have a gradient; the others keep their values and get no state. A zero gradient counts as
// a gradient (the parameter decays), as in fastai. Borrows the parameters. Not thread-safe.
class Adam {
 public:
  Adam(const std::vector<Parameter>& parameters, const AdamOptions& options);

  // One step. `learning_rates` per group; `momentum` is beta1 of this step, also in the bias correction.
  void Step(const std::vector<double>& learning_rates, double momentum);

  // Sets gradients to zero, in place; undefined ones stay so.
  void ZeroGradients();

  // Forgets moments and step counts.
  void ClearState();

  // The state under "NAME/moment", "NAME/squared_moment", "NAME/steps", of the parameters that have any; shares memory.
  NamedTensors State() const;

  // Entries for the names of State(), of another rank perhaps, in that order, not set: beside the parameters, or with
  // `has_values` false only their shapes (on torch's device "meta"), which take no memory. INVALID_ARGUMENT: a name
  // that is of no parameter.
  absl::StatusOr<NamedTensors> MakeState(const std::vector<std::string>& names, bool has_values) const;

  // Replaces the state by copies of `tensors`, which State() made. INVALID_ARGUMENT if one belongs to no parameter or
  // has another shape, or if a parameter's state is not complete.
  absl::Status LoadState(const NamedTensors& tensors);

 private:
  struct Slot {
    const Parameter* parameter;
    at::Tensor moment, squared_moment, steps;  // undefined until the first step
  };
  AdamOptions options_;
  int num_groups_ = 1;
  std::vector<Slot> slots_;
};

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_OPTIMIZER_H_
