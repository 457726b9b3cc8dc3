// Asynchronous successive halving: how a search divides its trials into brackets, and one rung of a bracket.
//
// Source: Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar, "A System for Massively Parallel
// Hyperparameter Tuning", MLSys 2020 (2018 on arXiv, 1810.05934), algorithm 2. Brackets and their shares as in
// Determined's adaptive_asha.
#ifndef URSA_EXPERIMENTS_SEARCH_ASHA_H_
#define URSA_EXPERIMENTS_SEARCH_ASHA_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "ursa/v1/recipe.pb.h"

namespace ursa {

// Trials that compete with each other alone.
struct Bracket {
  int32_t num_trials = 0;
  std::vector<int32_t> rung_epochs;  // ascending: where trials wait, and at last where they end
};

// The brackets of a resolved search, those with more rungs first. With eta = divisor, M = max_epochs, n = max_trials:
//   rungs of the longest bracket  R = min(max_rungs, floor(log_eta M) + 1, floor(log_eta n) + 1)
//   epochs of rung k = 0 .. R-1   floor(M / eta^(R-1-k)); a bracket with r rungs has the last r of them
//   brackets                      r = R (aggressive); R .. floor((R-1)/2) + 1 (standard); R .. 1 (conservative)
//   trials of a bracket           floor(n w_r / sum of w), at least 1, w_r = eta^(r-1) / r (about equal epochs for
//   each);
//                                 the longest bracket has the rest
// R is lowered until each bracket has eta^(r-1) trials, without which none would come to its last rung.
std::vector<Bracket> AshaBrackets(const v1::AdaptiveAshaSearch& resolved);

// The trials that have come to one rung, best first. A key is a metric's value with its sign changed where larger is
// better; ties go to the trial with the lower number. A value type; not thread-safe.
class Rung {
 public:
  // A trial is there, once. One with a finite key waits for promotion.
  void Arrive(int32_t trial, double key);

  // It waits no more: promoted or closed. Its place stays taken. No effect on a trial that does not wait.
  void Leave(int32_t trial);

  // The best one that waits among the best floor(size / divisor) of all.
  std::optional<int32_t> BestPromotable(int32_t divisor) const;

  // Those that wait in vain: not among the best floor(num_arrivals_max / divisor), when at most as many will ever
  // have come. Places only get worse, so this stays true.
  std::vector<int32_t> Hopeless(int64_t num_arrivals_max, int32_t divisor) const;

  size_t size() const { return places_.size(); }

 private:
  struct Place {
    double key;
    int32_t trial;
    bool waits;
  };
  std::vector<Place> places_;  // sorted by (key, trial)
};

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SEARCH_ASHA_H_
