// A hyperparameter search as a state machine: facts about trials in, operations out.
#ifndef URSA_EXPERIMENTS_SEARCH_SEARCH_H_
#define URSA_EXPERIMENTS_SEARCH_SEARCH_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "experiments/search/asha.h"
#include "experiments/search/median_rule.h"
#include "experiments/search/search_space.h"
#include "experiments/spec.h"
#include "ursa/v1/recipe.pb.h"

namespace ursa {

// Something that has happened to a trial.
struct SearchFact {
  enum class Kind {
    kValidated,  // it has done `epochs` epochs, and the searcher's metric is `value` (may be NaN)
    kEnded,      // it trains no further by itself: its early stopping
    kFailed,     // it trains no further: out of restarts, a mistake that only training shows, cancelled by hand
  };
  Kind kind = Kind::kValidated;
  int32_t trial = 0;   // from 1
  int32_t epochs = 0;  // kValidated: done, through all phases
  double value = 0;    // kValidated
};

enum class TrialOutcome {
  kCompleted,  // it went all the way, or ended by itself
  kStopped,    // the search has no more use for it
  kFailed,
};

// Something to be done.
struct SearchOperation {
  enum class Kind {
    kCreateTrial,   // trial `trial` exists, with these hyperparameters: TrialRecipes makes its recipe
    kTrainTrial,    // train it until it has done `until_epochs` epochs, from its last checkpoint if there is one, and
                    // keep a checkpoint of just then: it may have to go on from it
    kCloseTrial,    // it trains no more; once a checkpoint of what it has is safe, its slots and the checkpoints to go
                    // on from can be given back
    kFinishSearch,  // all trials are closed; best_trial() is the result
  };
  Kind kind = Kind::kFinishSearch;
  int32_t trial = 0;                              // but for kFinishSearch
  Hyperparameters hyperparameters;                // kCreateTrial
  int32_t batch_size = 0;                         // kCreateTrial: of its recipe
  int32_t total_epochs = 0;                       // kCreateTrial: of its recipe, through all phases
  int32_t until_epochs = 0;                       // kTrainTrial
  TrialOutcome outcome = TrialOutcome::kStopped;  // kCloseTrial
  std::string reason;                             // kCloseTrial: why, for people; empty where there is nothing to say

  // "create 2 (seed=3)", "train 2 until 4", "close 2 STOPPED: why", "finish".
  std::string ToString() const;
};

// How much training a trial's recipe asks for.
struct TrialLength {
  int32_t batch_size = 0;
  int32_t total_epochs = 0;  // through all phases
};

// What a search knows of a trial.
struct SearchTrial {
  enum class State {
    kTraining,  // wanted: until `until_epochs`
    kWaiting,   // has done them, holds no slots, may be promoted later
    kClosed,
  };
  State state = State::kTraining;
  TrialOutcome outcome = TrialOutcome::kStopped;  // of a closed one
  Hyperparameters hyperparameters;
  int32_t bracket = 0;                                           // index in Search::brackets()
  int32_t rung = 0;                                              // that it trains for, waits at, or was closed at
  int32_t until_epochs = 0;                                      // the epochs of that rung
  int32_t total_epochs = 0;                                      // of the last rung
  int32_t epochs = 0;                                            // done, as last validated
  double value = std::numeric_limits<double>::quiet_NaN();       // as last validated
  double best_value = std::numeric_limits<double>::quiet_NaN();  // of all validations
  bool has_ended = false;  // by itself: promoted, it comes to the next rung with the value that it has
  // Of the keys of all validations, for the median rule.
  double sum_of_keys = 0;
  int32_t num_validations = 0;
};

// What trials there are and how long each trains, for a resolved recipe. Decisions depend on the recipe and the order
// of facts alone: no clock, no generator with a state. Whoever stores the facts in their order, and after a restart
// applies them again to a new Search, has the same Search, and has seen the same operations. So these rules, and the
// draws of search_space.h, belong to the stored format: with others a search that is under way would take another
// course. A value type; not thread-safe.
//
//   create ---> training ---(1)---> waiting ---(2)---> training ... ---(3)---> closed
//                  \---------------(4)----\---------------------------------------^
//   (1) validated at its rung   (2) promoted   (3) at the last rung   (4) no chance left; the median rule; failed
//
// One machine for all methods: grid, random and no searcher are a single bracket with a single rung, the trial's own
// number of epochs (without a searcher it has one trial, without hyperparameters). adaptive_asha: asha.h has brackets
// and rungs. Whenever fewer than max_concurrent_trials train: first the promotable trial of the rung nearest to the end
// (of several brackets the first, within a rung the best), else the next trial, by number: brackets one after the
// other. A trial that is validated at its rung:
//   - is promotable while it is among the best floor(arrived / divisor) of that rung;
//   - is closed once it cannot be any more, however bad all that may still come to the rung turn out;
//   - with a value that is not finite, or by failure on its way, takes the last place there, and is closed.
// A trial that fails while it waits keeps its place. Ties go to the lower number.
//
// "At once" is about decisions: a trial that has just come to its rung may hold its slots until its checkpoint is
// safe, while the next one is already wanted; the scheduler gives slots when there are any.
class Search {
 public:
  // `resolved`: as ValidateAndResolve returns it, so that the recipes of its first kTrialsCheckedMax trials are good.
  explicit Search(const v1::ExperimentSpec& resolved);

  // A search after these facts, in their order.
  static Search Replay(const v1::ExperimentSpec& resolved, const std::vector<SearchFact>& facts);

  // The first operations; to be called once, before any fact.
  std::vector<SearchOperation> Start();

  // What follows from a fact. Nothing follows from one that is known (the same epoch of a trial again, after a restart
  // from an earlier checkpoint) or late (of a closed trial, or of a waiting one that was not stopped in time). The
  // trial must have been created.
  std::vector<SearchOperation> Apply(const SearchFact& fact);

  // All trials so far, trial 1 first.
  const std::vector<SearchTrial>& trials() const { return trials_; }
  const std::vector<Bracket>& brackets() const { return brackets_; }
  const std::string& metric() const { return metric_; }
  int32_t num_trials() const { return num_trials_; }  // in all, made or not
  bool finished() const { return finished_; }

  // The trial with the best value of all validations, of those that did not fail; nothing before there is a finite one.
  std::optional<int32_t> best_trial() const {
    return best_trial([](int32_t) { return true; });
  }
  // The same, of those that `may_be` allows.
  std::optional<int32_t> best_trial(const std::function<bool(int32_t)>& may_be) const;

 private:
  struct BracketState {
    int32_t num_created = 0;
    std::vector<Rung> rungs;
    std::vector<int32_t> num_training;  // by rung
    std::vector<int32_t> num_waiting;
  };
  using Operations = std::vector<SearchOperation>;

  template <typename Method>
  void TakeSettings(const Method& method);
  template <typename Method>
  void TakeMedianRule(const Method& method);

  SearchTrial& At(int32_t trial) { return trials_[static_cast<size_t>(trial) - 1]; }
  BracketState& StateOf(const SearchTrial& trial) { return states_[static_cast<size_t>(trial.bracket)]; }
  const Bracket& BracketOf(const SearchTrial& trial) const { return brackets_[static_cast<size_t>(trial.bracket)]; }
  bool IsAtLastRung(const SearchTrial& trial) const {
    return static_cast<size_t>(trial.rung) + 1 == BracketOf(trial).rung_epochs.size();
  }
  double Key(double value) const;  // smaller is better; not finite: the worst

  void Validated(const SearchFact& fact, Operations* operations);
  void Fill(Operations* operations);
  bool PromoteNext(Operations* operations);
  void CreateNext(Operations* operations);
  // Errors: that of a recipe that cannot be.
  absl::StatusOr<TrialLength> LengthOf(int32_t number, const Hyperparameters& values);
  void Promote(int32_t trial, Operations* operations);
  void BeginTraining(int32_t trial, int32_t rung);
  void EnterRung(int32_t trial, double key);
  void Arrive(int32_t trial, Operations* operations);
  void Fail(int32_t trial, const std::string& reason, Operations* operations);
  void Close(int32_t trial, TrialOutcome outcome, std::string reason, Operations* operations);
  void CloseHopeless(int32_t bracket, Operations* operations);

  v1::ExperimentSpec spec_;
  TrialRecipes recipes_;
  bool have_one_length_;
  std::optional<TrialLength> one_length_;
  std::string metric_;
  bool smaller_is_better_ = true;
  int32_t num_trials_ = 1;
  int32_t max_concurrent_trials_ = 1;
  int32_t divisor_ = 1;
  std::optional<MedianRule> median_rule_;
  std::vector<Bracket> brackets_;

  std::vector<BracketState> states_;  // of each bracket
  std::vector<SearchTrial> trials_;
  int32_t num_training_ = 0;
  int32_t num_open_ = 0;  // not closed
  bool finished_ = false;
};

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_SEARCH_SEARCH_H_
