// Searches of all kinds with trials that report, fail and end in random order, against rules that are computed anew
// here from what has happened; and what early stopping saves on made-up learning curves.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "experiments/search/search.h"
#include "experiments/search/search_testlib.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string RandomSearcher(Rng* rng) {
  const auto between = [&](uint64_t low, uint64_t high) { return low + rng->Below(high - low + 1); };
  const std::string cap = absl::StrCat("max_concurrent_trials: ", between(1, 9));
  const std::string median =
      rng->Below(2) == 0 ? "" : absl::StrCat(" median_stopping { min_trials: ", between(1, 4), " }");
  const char* const modes[] = {"conservative", "standard", "aggressive"};
  switch (rng->Below(4)) {
    case 0:
      return absl::StrCat("grid { ", cap, median, " }");
    case 1:
      return absl::StrCat("random { max_trials: ", between(1, 20), " ", cap, median, " }");
    default:
      return absl::StrCat("adaptive_asha { max_trials: ", between(1, 40), " max_epochs: ", between(2, 20),
                          " divisor: ", between(2, 4), " max_rungs: ", between(1, 5), " mode: \"", modes[rng->Below(3)],
                          "\" ", cap, " }");
  }
}

// Drives a search, and holds it to its rules.
class World {
 public:
  World(const v1::ExperimentSpec& resolved, int32_t cap, int32_t divisor, uint64_t seed)
      : search_(resolved), cap_(cap), divisor_(divisor), rng_(seed) {}

  void Run() {
    Take(search_.Start());
    CheckWorkConserving();
    while (!finished_ && !::testing::Test::HasFailure()) {
      ASSERT_FALSE(training_.empty()) << "it neither trains nor has it finished";
      const SearchFact fact = NextFact();
      Note(fact);
      Take(search_.Apply(fact));
      CheckWorkConserving();
      facts_.push_back(fact);
    }
    CheckEnd();
  }

  const std::vector<SearchFact>& facts() const { return facts_; }
  const std::vector<std::vector<std::string>>& operations() const { return operations_; }
  const Search& search() const { return search_; }

 private:
  struct TrialView {
    int32_t rung = 0;
    int32_t until_epochs = 0;
    int32_t epochs = 0;
    double value = kInfinity;
    bool ended = false;
    bool closed = false;
  };

  const Bracket& BracketOf(int32_t trial) const {
    return search_.brackets()[static_cast<size_t>(search_.trials()[static_cast<size_t>(trial) - 1].bracket)];
  }
  bool HasLaterRung(int32_t trial) const {
    return static_cast<size_t>(views_.at(trial).rung) + 1 < BracketOf(trial).rung_epochs.size();
  }
  std::pair<int32_t, int32_t> PlaceOf(int32_t trial) const {
    return {search_.trials()[static_cast<size_t>(trial) - 1].bracket, views_.at(trial).rung};
  }

  // One of those that train goes on, fails or ends; now and then a report comes twice, or of a trial that waits.
  SearchFact NextFact() {
    if (!facts_.empty() && rng_.Below(10) == 0) return facts_[rng_.Below(facts_.size())];
    if (rng_.Below(40) == 0) return Failed(1 + static_cast<int32_t>(rng_.Below(views_.size())));
    if (rng_.Below(40) == 0) return Ended(1 + static_cast<int32_t>(rng_.Below(views_.size())));
    auto it = training_.begin();
    std::advance(it, static_cast<int64_t>(rng_.Below(training_.size())));
    const TrialView& view = views_.at(*it);
    if (rng_.Below(30) == 0) return Failed(*it);
    if (rng_.Below(30) == 0) return Ended(*it);
    const double value = rng_.Below(20) == 0 ? std::nan("") : static_cast<double>(rng_.Below(50));
    return Validated(*it, rng_.Below(2) == 0 ? view.epochs + 1 : view.until_epochs, value);
  }

  // What a fact means for the oracle.
  void Note(const SearchFact& fact) {
    TrialView& view = views_.at(fact.trial);
    if (view.closed) return;
    const bool trains = training_.count(fact.trial) != 0;
    if (fact.kind == SearchFact::Kind::kFailed) {
      if (trains) Arrive(fact.trial, kInfinity);
    } else if (fact.kind == SearchFact::Kind::kEnded) {
      view.ended = true;
      if (trains) Arrive(fact.trial, view.value);
    } else if (trains && fact.epochs > view.epochs) {
      view.epochs = fact.epochs;
      view.value = std::isfinite(fact.value) ? fact.value : kInfinity;
      if (view.epochs >= view.until_epochs) Arrive(fact.trial, view.value);
    }
  }

  void Arrive(int32_t trial, double key) {
    training_.erase(trial);
    auto& places = arrivals_[PlaceOf(trial)];
    places.emplace_back(key, trial);
    std::sort(places.begin(), places.end());
  }

  bool IsInTopPart(int32_t trial) const {
    const auto& places = arrivals_.at(PlaceOf(trial));
    const size_t num_best = places.size() / static_cast<size_t>(divisor_);
    return std::any_of(places.begin(), places.begin() + static_cast<int64_t>(num_best),
                       [&](const auto& place) { return place.second == trial && place.first < kInfinity; });
  }

  // A trial that has ended goes up without a word, so its promotions are found where they show.
  void PromoteEnded() {
    for (bool again = true; again;) {
      again = false;
      for (auto& [trial, view] : views_) {
        const int32_t rung = search_.trials()[static_cast<size_t>(trial) - 1].rung;
        if (!view.ended || view.rung == rung) continue;
        ASSERT_EQ(training_.count(trial), 0u);
        ASSERT_TRUE(IsInTopPart(trial)) << trial;
        promoted_.insert({trial, view.rung});
        ++view.rung;
        Arrive(trial, view.value);
        again = true;
      }
    }
  }

  void Take(const std::vector<SearchOperation>& operations) {
    PromoteEnded();
    for (const SearchOperation& operation : operations) {
      ASSERT_FALSE(finished_);
      switch (operation.kind) {
        case SearchOperation::Kind::kCreateTrial:
          ASSERT_EQ(operation.trial, static_cast<int32_t>(views_.size()) + 1);
          views_[operation.trial];
          break;
        case SearchOperation::Kind::kTrainTrial:
          TakeTraining(operation);
          break;
        case SearchOperation::Kind::kCloseTrial:
          ASSERT_FALSE(views_.at(operation.trial).closed);
          views_.at(operation.trial).closed = true;
          training_.erase(operation.trial);  // the median rule ends what still trains
          if (operation.outcome == TrialOutcome::kFailed) failed_.insert(operation.trial);
          break;
        case SearchOperation::Kind::kFinishSearch:
          finished_ = true;
          break;
      }
    }
    operations_.push_back(Texts(operations));
  }

  void TakeTraining(const SearchOperation& operation) {
    TrialView& view = views_.at(operation.trial);
    ASSERT_FALSE(view.closed || view.ended);
    if (view.until_epochs > 0) {
      ASSERT_TRUE(HasLaterRung(operation.trial));
      ASSERT_TRUE(IsInTopPart(operation.trial)) << "trial " << operation.trial << " was promoted";
      ASSERT_TRUE(promoted_.insert({operation.trial, view.rung}).second) << "twice";
      ++view.rung;
    }
    view.until_epochs = operation.until_epochs;
    if (search_.brackets().size() > 1 || BracketOf(operation.trial).rung_epochs.size() > 1) {
      ASSERT_EQ(view.until_epochs, BracketOf(operation.trial).rung_epochs[static_cast<size_t>(view.rung)]);
    }
    training_.insert(operation.trial);
    ASSERT_LE(training_.size(), static_cast<size_t>(cap_));
  }

  // With a place free, nobody is left who could train.
  void CheckWorkConserving() {
    if (static_cast<int32_t>(training_.size()) >= cap_) return;
    ASSERT_EQ(static_cast<int32_t>(views_.size()), search_.num_trials());
    for (const auto& [trial, view] : views_) {
      if (view.closed || training_.count(trial) != 0 || !HasLaterRung(trial)) continue;
      ASSERT_FALSE(IsInTopPart(trial)) << "trial " << trial << " could be promoted";
    }
  }

  // All trials were made and closed, and whoever belonged to the best in the end was promoted.
  void CheckEnd() {
    ASSERT_TRUE(search_.finished());
    ASSERT_EQ(static_cast<int32_t>(views_.size()), search_.num_trials());
    for (const auto& [trial, view] : views_) ASSERT_TRUE(view.closed) << trial;
    for (const auto& [place, places] : arrivals_) {
      const size_t num_rungs = search_.brackets()[static_cast<size_t>(place.first)].rung_epochs.size();
      if (static_cast<size_t>(place.second) + 1 == num_rungs) continue;
      for (size_t i = 0; i < places.size() / static_cast<size_t>(divisor_); ++i) {
        const int32_t trial = places[i].second;
        if (places[i].first == kInfinity || failed_.count(trial) != 0) continue;
        ASSERT_TRUE(promoted_.count({trial, place.second})) << "trial " << trial << " was closed too early";
      }
    }
  }

  Search search_;
  int32_t cap_;
  int32_t divisor_;
  SeededRng rng_;
  std::map<int32_t, TrialView> views_;
  std::set<int32_t> training_;
  std::set<int32_t> failed_;
  std::set<std::pair<int32_t, int32_t>> promoted_;                                           // trial, from rung
  std::map<std::pair<int32_t, int32_t>, std::vector<std::pair<double, int32_t>>> arrivals_;  // bracket, rung
  std::vector<SearchFact> facts_;
  std::vector<std::vector<std::string>> operations_;
  bool finished_ = false;
};

v1::ExperimentSpec RandomSearchSpec(SeededRng* rng, int32_t* cap, int32_t* divisor) {
  const v1::ExperimentSpec spec =
      ResolvedSearch(RandomSearcher(rng),
                     {absl::StrCat("hyperparameters[0].log.count=", 2 + rng->Below(8)),
                      "hyperparameters[1]={name: \"train.train_bn\" categorical {values: [\"true\", \"false\"]}}"});
  const v1::SearcherSpec& searcher = spec.searcher();
  *divisor = searcher.has_adaptive_asha() ? searcher.adaptive_asha().divisor() : 1;
  *cap = searcher.has_grid()            ? searcher.grid().max_concurrent_trials()
         : searcher.has_adaptive_asha() ? searcher.adaptive_asha().max_concurrent_trials()
                                        : searcher.random().max_concurrent_trials();
  return spec;
}

TEST(SearchPropertyTest, HoldsItsRulesInAnyOrderOfFacts) {
  int64_t num_facts = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SeededRng rng(seed);
    int32_t cap = 0, divisor = 0;
    const v1::ExperimentSpec spec = RandomSearchSpec(&rng, &cap, &divisor);
    SCOPED_TRACE(absl::StrCat("seed ", seed, ": ", spec.searcher().ShortDebugString()));
    World world(spec, cap, divisor, seed);
    world.Run();
    if (HasFailure()) return;
    num_facts += static_cast<int64_t>(world.facts().size());
  }
  EXPECT_GT(num_facts, 10'000);
}

// After a restart at any point the stored facts lead to the same decisions, then and ever after.
TEST(SearchPropertyTest, ReplayedAtEachPrefixItDecidesTheSame) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SeededRng rng(1000 + seed);
    int32_t cap = 0, divisor = 0;
    const v1::ExperimentSpec spec = RandomSearchSpec(&rng, &cap, &divisor);
    World world(spec, cap, divisor, seed);
    world.Run();
    const std::vector<SearchFact>& facts = world.facts();
    for (size_t i = 0; i < facts.size(); ++i) {
      Search search = Search::Replay(spec, {facts.begin(), facts.begin() + static_cast<int64_t>(i)});
      for (size_t j = i; j < std::min(facts.size(), i + 3); ++j) {
        ASSERT_EQ(Texts(search.Apply(facts[j])), world.operations()[j + 1]) << "seed " << seed << " restart at " << i;
      }
    }
    const Search search = Search::Replay(spec, facts);
    ASSERT_TRUE(search.finished());
    ASSERT_EQ(search.best_trial(), world.search().best_trial());
    for (size_t i = 0; i < search.trials().size(); ++i) {
      ASSERT_EQ(search.trials()[i].hyperparameters, world.search().trials()[i].hyperparameters);
      ASSERT_EQ(search.trials()[i].outcome, world.search().trials()[i].outcome);
    }
  }
}

// ---- what early stopping saves

// A made-up training: the loss falls towards a floor that the learning rate decides, with noise. Fast learners start
// higher, so that curves cross after some 8 epochs: the first rungs favour the wrong ones. Of a trial's number and
// learning rate alone.
class LearningCurves {
 public:
  explicit LearningCurves(uint64_t seed) : seed_(seed) { best_log_lr_ = -3.5 + 2 * Draw(0, 0); }

  double Loss(int32_t trial, double base_lr, int32_t epochs) const {
    const double distance = std::log10(base_lr) - best_log_lr_;
    const double floor = 0.1 + 0.2 * distance * distance;
    const double quickness = Draw(trial, 0);
    const double excess = (0.3 + 0.4 * quickness) * std::pow(epochs, -0.5 - 0.5 * quickness);
    const double noise = 0.02 * (Draw(trial, static_cast<uint32_t>(epochs)) - 0.5);
    return floor + excess + noise;
  }

 private:
  double Draw(int32_t trial, uint32_t stream) const {
    return CounterRng(seed_, static_cast<uint64_t>(trial), stream).Uniform();
  }

  uint64_t seed_;
  double best_log_lr_ = 0;
};

struct Result {
  int64_t epochs = 0;       // of all trials
  double loss = kInfinity;  // the least that a trial has at the full number of epochs
};

// Trains all trials at one speed.
Result RunOn(const LearningCurves& curves, const v1::ExperimentSpec& spec, int32_t max_epochs) {
  Search search(spec);
  Result result;
  std::set<std::tuple<int64_t, int32_t, int32_t>> arrivals;  // time, trial, epochs
  const auto take = [&](int64_t now, const std::vector<SearchOperation>& operations) {
    for (const SearchOperation& operation : operations) {
      if (operation.kind != SearchOperation::Kind::kTrainTrial) continue;
      const int32_t done = search.trials()[static_cast<size_t>(operation.trial) - 1].epochs;
      result.epochs += operation.until_epochs - done;
      arrivals.emplace(now + operation.until_epochs - done, operation.trial, operation.until_epochs);
    }
  };
  take(0, search.Start());
  while (!arrivals.empty()) {
    const auto [now, trial, epochs] = *arrivals.begin();
    arrivals.erase(arrivals.begin());
    const std::string& base_lr =
        search.trials()[static_cast<size_t>(trial) - 1].hyperparameters.at("train.fine_tune.base_lr");
    const double loss = curves.Loss(trial, std::stod(base_lr), epochs);
    if (epochs == max_epochs) result.loss = std::min(result.loss, loss);
    take(now, search.Apply(Validated(trial, epochs, loss)));
  }
  return result;
}

// 64 trials of up to 64 epochs, on 50 families of curves. Random search trains all of them to the end; ASHA picks from
// the same 64. "As good" is within 0.02, the noise of one validation, of the best of all 64. Counted when written:
//                 share of random search's epochs   as good   no worse than random search with as many epochs
//   aggressive    6.1 %                             34        38
//   standard      25.6 %                            50        49
//   conservative  33.9 %                            50        49
TEST(SearchQualityTest, AshaFindsWhatRandomSearchFindsWithAFractionOfTheEpochs) {
  constexpr int32_t kEpochs = 64;
  constexpr int kFamilies = 50;
  const std::string common = "max_trials: 64 max_concurrent_trials: 8";
  const struct {
    const char* mode;
    double share_max;
    int as_good_min, no_worse_min;
  } cases[] = {{"aggressive", 0.07, 30, 35}, {"standard", 0.27, 48, 46}, {"conservative", 0.36, 48, 46}};
  for (const auto& test : cases) {
    int64_t random_epochs = 0, asha_epochs = 0;
    int as_good = 0, no_worse = 0;
    for (int family = 1; family <= kFamilies; ++family) {
      const LearningCurves curves(static_cast<uint64_t>(family));
      const std::vector<std::string> overrides = {absl::StrCat("seed=", family), "train.fine_tune.epochs=63"};
      const Result random = RunOn(curves, ResolvedSearch(absl::StrCat("random { ", common, " }"), overrides), kEpochs);
      const Result asha = RunOn(
          curves, ResolvedSearch(absl::StrCat("adaptive_asha { ", common, " mode: \"", test.mode, "\" }"), overrides),
          kEpochs);
      const Result equal = RunOn(
          curves, ResolvedSearch(absl::StrCat("random { max_trials: ", asha.epochs / kEpochs + 1, " }"), overrides),
          kEpochs);
      random_epochs += random.epochs;
      asha_epochs += asha.epochs;
      as_good += asha.loss <= random.loss + 0.02;
      no_worse += asha.loss <= equal.loss;
    }
    EXPECT_EQ(random_epochs, int64_t{64} * kEpochs * kFamilies);
    EXPECT_LE(static_cast<double>(asha_epochs) / static_cast<double>(random_epochs), test.share_max) << test.mode;
    EXPECT_GE(as_good, test.as_good_min) << test.mode;
    EXPECT_GE(no_worse, test.no_worse_min) << test.mode;
  }
}

}  // namespace
}  // namespace ursa
