#include "experiments/search/search.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "experiments/search/searcher_checks.h"
#include "experiments/spec.h"

namespace ursa {
namespace {

constexpr double kWorst = std::numeric_limits<double>::infinity();

// Whether all trials train as long, with batches of one size: no hyperparameter is about that.
bool HaveOneLength(const v1::ExperimentSpec& spec) {
  return std::none_of(spec.hyperparameters().begin(), spec.hyperparameters().end(), [](const auto& hyperparameter) {
    return absl::EndsWith(hyperparameter.name(), "batch_size") || absl::EndsWith(hyperparameter.name(), "epochs");
  });
}

SearchOperation CreateOperation(int32_t trial, Hyperparameters hyperparameters, const TrialLength& length) {
  SearchOperation operation;
  operation.kind = SearchOperation::Kind::kCreateTrial;
  operation.trial = trial;
  operation.hyperparameters = std::move(hyperparameters);
  operation.batch_size = length.batch_size;
  operation.total_epochs = length.total_epochs;
  return operation;
}

SearchOperation TrainOperation(int32_t trial, int32_t until_epochs) {
  SearchOperation operation;
  operation.kind = SearchOperation::Kind::kTrainTrial;
  operation.trial = trial;
  operation.until_epochs = until_epochs;
  return operation;
}

SearchOperation CloseOperation(int32_t trial, TrialOutcome outcome, std::string reason) {
  SearchOperation operation;
  operation.kind = SearchOperation::Kind::kCloseTrial;
  operation.trial = trial;
  operation.outcome = outcome;
  operation.reason = std::move(reason);
  return operation;
}

const char* Word(TrialOutcome outcome) {
  switch (outcome) {
    case TrialOutcome::kCompleted:
      return "COMPLETED";
    case TrialOutcome::kStopped:
      return "STOPPED";
    case TrialOutcome::kFailed:
      return "FAILED";
  }
  return "";
}

}  // namespace

std::string SearchOperation::ToString() const {
  switch (kind) {
    case Kind::kCreateTrial:
      return absl::StrCat("create ", trial, " (", HyperparametersText(hyperparameters), ")");
    case Kind::kTrainTrial:
      return absl::StrCat("train ", trial, " until ", until_epochs);
    case Kind::kCloseTrial:
      return absl::StrCat("close ", trial, " ", Word(outcome), reason.empty() ? "" : ": ", reason);
    case Kind::kFinishSearch:
      break;
  }
  return "finish";
}

template <typename Method>
void Search::TakeSettings(const Method& method) {
  metric_ = method.metric();
  smaller_is_better_ = method.smaller_is_better();
  max_concurrent_trials_ = method.max_concurrent_trials();
}

template <typename Method>
void Search::TakeMedianRule(const Method& method) {
  if (!method.has_median_stopping()) return;
  median_rule_.emplace(method.median_stopping().min_epochs(), method.median_stopping().min_trials());
}

Search::Search(const v1::ExperimentSpec& resolved)
    : spec_(resolved), recipes_(resolved), have_one_length_(HaveOneLength(resolved)), num_trials_(NumTrials(resolved)) {
  brackets_ = {{num_trials_, {NumEpochs(resolved)}}};
  if (!resolved.has_searcher()) one_length_ = {resolved.data().batch_size(), NumEpochs(resolved)};
  const v1::SearcherSpec& searcher = resolved.searcher();
  switch (searcher.method_case()) {
    case v1::SearcherSpec::kGrid:
      TakeSettings(searcher.grid());
      TakeMedianRule(searcher.grid());
      break;
    case v1::SearcherSpec::kRandom:
      TakeSettings(searcher.random());
      TakeMedianRule(searcher.random());
      break;
    case v1::SearcherSpec::kAdaptiveAsha:
      TakeSettings(searcher.adaptive_asha());
      divisor_ = searcher.adaptive_asha().divisor();
      brackets_ = AshaBrackets(searcher.adaptive_asha());
      break;
    case v1::SearcherSpec::METHOD_NOT_SET:
      metric_ = resolved.checkpoint().best_metric();
      smaller_is_better_ = LowerIsBetter(metric_);
      break;
  }
  URSA_CHECK(max_concurrent_trials_ >= 1) << "the search is not resolved";
  for (const Bracket& bracket : brackets_) {
    BracketState state;
    state.rungs.resize(bracket.rung_epochs.size());
    state.num_training.resize(bracket.rung_epochs.size());
    state.num_waiting.resize(bracket.rung_epochs.size());
    states_.push_back(std::move(state));
  }
}

Search Search::Replay(const v1::ExperimentSpec& resolved, const std::vector<SearchFact>& facts) {
  Search search(resolved);
  search.Start();
  for (const SearchFact& fact : facts) search.Apply(fact);
  return search;
}

std::vector<SearchOperation> Search::Start() {
  URSA_CHECK(trials_.empty()) << "the search has started";
  Operations operations;
  Fill(&operations);
  return operations;
}

std::vector<SearchOperation> Search::Apply(const SearchFact& fact) {
  URSA_CHECK(fact.trial >= 1 && fact.trial <= static_cast<int32_t>(trials_.size())) << "no trial " << fact.trial;
  SearchTrial& trial = At(fact.trial);
  Operations operations;
  if (trial.state == SearchTrial::State::kClosed) return operations;
  switch (fact.kind) {
    case SearchFact::Kind::kValidated:
      Validated(fact, &operations);
      break;
    case SearchFact::Kind::kEnded:
      trial.has_ended = true;
      if (trial.state == SearchTrial::State::kTraining) Arrive(fact.trial, &operations);
      break;
    case SearchFact::Kind::kFailed:
      Fail(fact.trial, "", &operations);
      break;
  }
  Fill(&operations);
  return operations;
}

std::optional<int32_t> Search::best_trial(const std::function<bool(int32_t)>& may_be) const {
  std::optional<int32_t> best;
  double best_key = kWorst;
  for (size_t i = 0; i < trials_.size(); ++i) {
    const SearchTrial& trial = trials_[i];
    if (trial.state == SearchTrial::State::kClosed && trial.outcome == TrialOutcome::kFailed) continue;
    if (Key(trial.best_value) >= best_key || !may_be(static_cast<int32_t>(i) + 1)) continue;
    best = static_cast<int32_t>(i) + 1;
    best_key = Key(trial.best_value);
  }
  return best;
}

double Search::Key(double value) const {
  if (!std::isfinite(value)) return kWorst;
  return smaller_is_better_ ? value : -value;
}

void Search::Validated(const SearchFact& fact, Operations* operations) {
  SearchTrial& trial = At(fact.trial);
  if (trial.state != SearchTrial::State::kTraining || fact.epochs <= trial.epochs) return;
  trial.epochs = fact.epochs;
  trial.value = fact.value;
  if (Key(fact.value) < Key(trial.best_value)) trial.best_value = fact.value;
  trial.sum_of_keys += Key(fact.value);
  ++trial.num_validations;
  std::optional<double> missed;
  if (median_rule_) {
    missed = median_rule_->Judge(fact.epochs, Key(trial.best_value), trial.sum_of_keys / trial.num_validations);
  }
  if (trial.epochs >= trial.until_epochs) {
    Arrive(fact.trial, operations);
  } else if (missed) {
    Close(fact.trial, TrialOutcome::kStopped,
          absl::StrFormat("its best %s up to epoch %d, %g, is worse than %g, the median of the other trials' means",
                          metric_, trial.epochs, trial.best_value, smaller_is_better_ ? *missed : -*missed),
          operations);
  }
}

void Search::Fill(Operations* operations) {
  while (num_training_ < max_concurrent_trials_) {
    if (PromoteNext(operations)) continue;
    if (static_cast<int32_t>(trials_.size()) == num_trials_) break;
    CreateNext(operations);
  }
  if (num_open_ > 0 || static_cast<int32_t>(trials_.size()) < num_trials_ || finished_) return;
  finished_ = true;
  operations->emplace_back();
}

bool Search::PromoteNext(Operations* operations) {
  // The first bracket has the most rungs. `from_end`: 1 is the rung before the last.
  for (size_t from_end = 1; from_end < states_.front().rungs.size(); ++from_end) {
    for (BracketState& state : states_) {
      if (state.rungs.size() <= from_end) continue;
      const size_t rung = state.rungs.size() - 1 - from_end;
      const std::optional<int32_t> trial = state.rungs[rung].BestPromotable(divisor_);
      if (!trial) continue;
      state.rungs[rung].Leave(*trial);
      --state.num_waiting[rung];
      Promote(*trial, operations);
      return true;
    }
  }
  return false;
}

absl::StatusOr<TrialLength> Search::LengthOf(int32_t number, const Hyperparameters& values) {
  if (one_length_ && number <= kTrialsCheckedMax) return *one_length_;
  URSA_ASSIGN_OR_RETURN(const v1::ExperimentSpec* recipe, recipes_.Make(values));
  const TrialLength length{recipe->data().batch_size(), NumEpochs(*recipe)};
  if (have_one_length_) one_length_ = length;
  return length;
}

void Search::CreateNext(Operations* operations) {
  const int32_t number = static_cast<int32_t>(trials_.size()) + 1;
  SearchTrial trial;
  while (StateOf(trial).num_created == BracketOf(trial).num_trials) ++trial.bracket;
  trial.hyperparameters = TrialHyperparameters(spec_, number);
  const absl::StatusOr<TrialLength> found = LengthOf(number, trial.hyperparameters);
  const TrialLength length = found.ok() ? *found : TrialLength{spec_.data().batch_size(), NumEpochs(spec_)};
  trial.total_epochs = length.total_epochs;
  operations->push_back(CreateOperation(number, trial.hyperparameters, length));
  ++StateOf(trial).num_created;
  ++num_open_;
  trials_.push_back(std::move(trial));
  BeginTraining(number, 0);
  if (found.ok()) {
    operations->push_back(TrainOperation(number, At(number).until_epochs));
  } else {
    Fail(number, std::string(found.status().message()), operations);
  }
}

// To the next rung; at once if it has ended by itself.
void Search::Promote(int32_t number, Operations* operations) {
  BeginTraining(number, At(number).rung + 1);
  if (At(number).has_ended) {
    Arrive(number, operations);
  } else {
    operations->push_back(TrainOperation(number, At(number).until_epochs));
  }
}

void Search::BeginTraining(int32_t number, int32_t rung) {
  SearchTrial& trial = At(number);
  trial.state = SearchTrial::State::kTraining;
  trial.rung = rung;
  trial.until_epochs =
      IsAtLastRung(trial) ? trial.total_epochs : BracketOf(trial).rung_epochs[static_cast<size_t>(rung)];
  ++StateOf(trial).num_training[static_cast<size_t>(rung)];
  ++num_training_;
}

// From training to waiting.
void Search::EnterRung(int32_t number, double key) {
  SearchTrial& trial = At(number);
  BracketState& state = StateOf(trial);
  const size_t rung = static_cast<size_t>(trial.rung);
  --state.num_training[rung];
  --num_training_;
  state.rungs[rung].Arrive(number, key);
  trial.state = SearchTrial::State::kWaiting;
  ++state.num_waiting[rung];
}

void Search::Arrive(int32_t number, Operations* operations) {
  SearchTrial& trial = At(number);
  EnterRung(number, Key(trial.value));
  if (IsAtLastRung(trial)) {
    Close(number, TrialOutcome::kCompleted, "", operations);
  } else if (Key(trial.value) == kWorst) {
    Close(number, TrialOutcome::kStopped, absl::StrFormat("its %s at epoch %d is not finite", metric_, trial.epochs),
          operations);
  }
  CloseHopeless(trial.bracket, operations);
}

void Search::Fail(int32_t number, const std::string& reason, Operations* operations) {
  if (At(number).state == SearchTrial::State::kTraining) EnterRung(number, kWorst);
  Close(number, TrialOutcome::kFailed, reason, operations);
  CloseHopeless(At(number).bracket, operations);
}

void Search::Close(int32_t number, TrialOutcome outcome, std::string reason, Operations* operations) {
  SearchTrial& trial = At(number);
  BracketState& state = StateOf(trial);
  const size_t rung = static_cast<size_t>(trial.rung);
  if (trial.state == SearchTrial::State::kTraining) {
    --state.num_training[rung];
    --num_training_;
  } else {
    state.rungs[rung].Leave(number);
    --state.num_waiting[rung];
  }
  // The search did not stop what had ended by itself.
  if (trial.has_ended && outcome == TrialOutcome::kStopped) {
    outcome = TrialOutcome::kCompleted;
    reason.clear();
  }
  trial.state = SearchTrial::State::kClosed;
  trial.outcome = outcome;
  --num_open_;
  operations->push_back(CloseOperation(number, outcome, std::move(reason)));
}

void Search::CloseHopeless(int32_t bracket, Operations* operations) {
  const Bracket& plan = brackets_[static_cast<size_t>(bracket)];
  BracketState& state = states_[static_cast<size_t>(bracket)];
  int64_t num_to_come = plan.num_trials - state.num_created;  // to the rung, at most
  for (size_t rung = 0; rung + 1 < state.rungs.size(); ++rung) {
    num_to_come += state.num_training[rung];
    const int64_t num_arrivals_max = static_cast<int64_t>(state.rungs[rung].size()) + num_to_come;
    for (const int32_t trial : state.rungs[rung].Hopeless(num_arrivals_max, divisor_)) {
      Close(trial, TrialOutcome::kStopped,
            absl::StrFormat("not among the best 1/%d at epoch %d", divisor_, plan.rung_epochs[rung]), operations);
    }
    num_to_come += state.num_waiting[rung];
  }
}

}  // namespace ursa
