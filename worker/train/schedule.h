// Learning-rate and momentum schedules, as fastai 2.8 computes them: pure functions of the position in the phase.
#ifndef URSA_WORKER_TRAIN_SCHEDULE_H_
#define URSA_WORKER_TRAIN_SCHEDULE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"

namespace ursa {

// start + (end - start) * (1 + cos(pi (1 - t))) / 2, t in 0..1.
double AnnealCosine(double start, double end, double t);
double AnnealLinear(double start, double end, double t);
double AnnealExponential(double start, double end, double t);
double AnnealPolynomial(double start, double end, double t, double power);

// `n` values from `start` to `stop` at equal ratios. start, stop > 0.
std::vector<double> GeometricSteps(double start, double stop, int n);

// Which part of consecutive parts a position falls in, and where in it. fastai keeps the boundaries and re-scales in
// float32; so do we, since it decides the eighth digit. `fractions` sum to 1.
struct PartPosition {
  int part = 0;
  double t = 0;
};
PartPosition LocateInParts(const std::vector<double>& fractions, double position);

// Two cosines: start -> middle over the first `fraction`, middle -> end over the rest.
double CombinedCosine(double fraction, double start, double middle, double end, double position);

// One learning rate per parameter group.
struct LearningRate {
  double maximum = 1e-3;                       // of the last group; > 0
  std::optional<double> first = std::nullopt;  // given: geometric from it (first group) to `maximum` (last)
  bool tenth_for_others = false;  // fastai's slice(x): all groups but the last at a tenth. Not together with `first`
  std::vector<double> PerGroup(int num_groups) const;
  absl::Status Validate() const;
};

struct Schedule {
  enum class Kind {
    kConstant,       // fit: learning rate and momentum stay
    kOneCycle,       // fit_one_cycle
    kFlatCosine,     // fit_flat_cos: flat until pct_start, then cosine to max / div_final
    kCosineRestarts  // fit_sgdr: in each of restart_fractions a cosine from max to 0
  };
  Kind kind = Kind::kOneCycle;
  double pct_start = 0.25;  // in (0, 1)
  double div = 25;          // one cycle: starts at max / div
  double div_final = 1e5;   // ends at max / div_final
  double momenta[3] = {0.95, 0.85, 0.95};
  std::vector<double> restart_fractions;  // of the phase; sum to 1
  double constant_momentum = 0.9;         // of the kinds that do not schedule it

  // The learning rate at `position` (0..1) of the phase for a group whose maximum is `maximum`.
  double LearningRateAt(double position, double maximum) const;
  double MomentumAt(double position) const;
  absl::Status Validate() const;
};

// fastai's position of batch `step` of `steps` in epoch `epoch` of `epochs`: epoch / epochs, then 1 / (steps * epochs)
// added once per batch in float64 (hence not (epoch * steps + step) / total to the last bit).
double SchedulePosition(int64_t epoch, int64_t epochs, int64_t step, int64_t steps);

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_SCHEDULE_H_
