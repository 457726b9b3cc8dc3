// Schedules, phases and trackers against fastai (golden schedules.json, scripted trackers of training_trace.json).
#include "worker/train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "worker/nn/golden_testing.h"
#include "worker/train/early_stopping.h"
#include "worker/train/phase.h"

namespace ursa {
namespace {

std::vector<double> Numbers(const Json& json) {
  std::vector<double> values;
  for (const Json& item : json.array()) values.push_back(GoldenNumber(item));
  return values;
}

void ExpectRelative(double actual, double expected, double relative, double scale) {
  EXPECT_NEAR(actual, expected, relative * std::max(std::abs(expected), scale));
}

LearningRate ParseLearningRate(const Json& json) {
  LearningRate rate;
  if (json.is_number()) {
    rate.maximum = json.number();
  } else {
    const Json& slice = json["slice"];
    rate.maximum = slice[1].number();
    if (slice[0].is_null()) {
      rate.tenth_for_others = true;
    } else {
      rate.first = slice[0].number();
    }
  }
  return rate;
}

void ParseParams(const Json& params, Schedule* schedule) {
  for (const auto& [name, value] : params.members()) {
    if (name == "pct_start") {
      schedule->pct_start = value.number();
    } else if (name == "div") {
      schedule->div = value.number();
    } else if (name == "div_final") {
      schedule->div_final = value.number();
    } else {
      ASSERT_EQ(name, "moms");
      for (size_t i = 0; i < 3; ++i) schedule->momenta[i] = value[i].number();
    }
  }
}

// Learning rates and momenta of every batch of a fit. `lr` [batch][group] or [batch]; `mom` may be null.
void ExpectFit(const Schedule& schedule, const std::vector<double>& maxima, int64_t epochs, int64_t steps,
               const Json& positions, const Json& lr, const Json* mom) {
  ASSERT_EQ(lr.size(), static_cast<size_t>(epochs * steps));
  for (int64_t i = 0; i < epochs * steps; ++i) {
    const auto at = static_cast<size_t>(i);
    const double position = SchedulePosition(i / steps, epochs, i % steps, steps);
    EXPECT_EQ(position, positions[at].number()) << i;
    for (size_t g = 0; g < maxima.size(); ++g) {
      ExpectRelative(schedule.LearningRateAt(position, maxima[g]), lr[at][g].number(), 1e-12, 1e-6 * maxima[g]);
    }
    if (mom != nullptr) ExpectRelative(schedule.MomentumAt(position), (*mom)[at].number(), 1e-12, 0);
  }
}

void ExpectOneCase(const Json& item, GoldenScope* scope) {
  const std::string& kind = item["kind"].string();
  if (kind == "annealers") {
    const double start = item["start"].number(), end = item["end"].number(), power = item["power"].number();
    const std::vector<double> at = Numbers(item["pos"]);
    for (size_t i = 0; i < at.size(); ++i) {
      ExpectRelative(AnnealLinear(start, end, at[i]), item["lin"][i].number(), 1e-12, 0);
      ExpectRelative(AnnealCosine(start, end, at[i]), item["cos"][i].number(), 1e-12, 0);
      ExpectRelative(AnnealExponential(start, end, at[i]), item["exp"][i].number(), 1e-12, 0);
      ExpectRelative(AnnealPolynomial(start, end, at[i], power), item["poly"][i].number(), 1e-12, 0);
      EXPECT_EQ(start, item["no"][i].number());
    }
  } else if (kind == "combined_cos") {
    const std::vector<double> at = Numbers(item["pos"]);
    for (size_t i = 0; i < at.size(); ++i) {
      const double value = CombinedCosine(item["pct"].number(), item["start"].number(), item["middle"].number(),
                                          item["end"].number(), at[i]);
      ExpectRelative(value, item["value"][i].number(), 1e-12, 0);
    }
  } else if (kind == "combine_scheds") {
    ASSERT_EQ(item["parts"][0].string(), "lin 0.1->1");
    ASSERT_EQ(item["parts"][1].string(), "cos 1->0.5");
    ASSERT_EQ(item["parts"][2].string(), "exp 0.5->1e-3");
    const std::vector<double> at = Numbers(item["pos"]);
    for (size_t i = 0; i < at.size(); ++i) {
      const PartPosition part = LocateInParts(Numbers(item["pcts"]), at[i]);
      const double value = part.part == 0   ? AnnealLinear(0.1, 1, part.t)
                           : part.part == 1 ? AnnealCosine(1, 0.5, part.t)
                                            : AnnealExponential(0.5, 1e-3, part.t);
      ExpectRelative(value, item["value"][i].number(), 1e-12, 0);
    }
  } else if (kind == "even_mults") {
    const std::vector<double> expected = Numbers(item["value"]);
    const std::vector<double> values =
        GeometricSteps(item["start"].number(), item["stop"].number(), static_cast<int>(item["n"].number()));
    ASSERT_EQ(values.size(), expected.size());
    for (size_t i = 0; i < values.size(); ++i) ExpectRelative(values[i], expected[i], 1e-12, 0);
  } else if (kind == "fit_one_cycle" || kind == "fit_flat_cos") {
    const bool is_flat = kind == "fit_flat_cos";
    Schedule schedule;
    if (is_flat) {
      schedule.kind = Schedule::Kind::kFlatCosine;
      schedule.pct_start = 0.75;
    }
    ParseParams(item["params"], &schedule);
    EXPECT_TRUE(schedule.Validate().ok());
    const Json& lr = item[is_flat ? "lr" : "lr_max"];
    const int groups = static_cast<int>(item["groups"].number());
    const std::vector<double> maxima = lr.is_array() ? Numbers(lr) : ParseLearningRate(lr).PerGroup(groups);
    ExpectFit(schedule, maxima, static_cast<int64_t>(item["epochs"].number()),
              static_cast<int64_t>(item["batches_per_epoch"].number()), item["pos"], item[is_flat ? "lr_seq" : "lr"],
              &item["mom"]);
  } else if (kind == "fit_sgdr") {
    Schedule schedule;
    schedule.kind = Schedule::Kind::kCosineRestarts;
    double length = item["cycle_len"].number();
    for (int i = 0; i < item["n_cycles"].number(); ++i, length *= item["cycle_mult"].number()) {
      schedule.restart_fractions.push_back(length / item["epochs"].number());
    }
    EXPECT_TRUE(schedule.Validate().ok());
    ExpectFit(schedule, {item["lr_max"].number()}, static_cast<int64_t>(item["epochs"].number()),
              static_cast<int64_t>(item["batches_per_epoch"].number()), item["pos"], item["lr_seq"], nullptr);
  } else if (kind == "fine_tune") {
    FineTuneOptions options;
    options.epochs = static_cast<int>(item["epochs"].number());
    options.base_lr = item["base_lr"].number();
    const std::vector<Phase> phases = FineTunePhases(options);
    ASSERT_EQ(phases.size(), item["phases"].size());
    for (size_t i = 0; i < phases.size(); ++i) {
      const Json& golden = item["phases"][i];
      ExpectFit(phases[i].schedule, phases[i].learning_rate.PerGroup(static_cast<int>(item["groups"].number())),
                phases[i].epochs, static_cast<int64_t>(item["batches_per_epoch"].number()), golden["pos"], golden["lr"],
                &golden["mom"]);
    }
  } else {
    return scope->OutOfScope(kind, "unknown kind");
  }
  scope->Checked();
}

TEST(ScheduleTest, Golden) {
  const Json golden = ReadGolden("schedules.json");
  GoldenScope scope("schedules.json");
  for (const Json& item : golden["cases"].array()) {
    SCOPED_TRACE(item["kind"].string());
    ExpectOneCase(item, &scope);
  }
  EXPECT_EQ(scope.num_checked(), static_cast<int>(golden["cases"].size()));
}

TEST(EarlyStoppingTest, GoldenScriptedTrackers) {
  const Json golden = ReadGolden("training_trace.json");
  GoldenScope scope("training_trace.json scripted_trackers");
  for (const Json& item : golden["scripted_trackers"].array()) {
    const std::string& callback = item["callback"].string();
    SCOPED_TRACE(callback + " " + item["monitor"].string());
    EarlyStoppingOptions options;
    options.monitor = item["monitor"].string();
    bool understood = callback == "EarlyStopping" || callback == "SaveModel";
    for (const auto& [name, value] : item["params"].members()) {
      if (name == "patience") {
        options.patience = static_cast<int>(value.number());
      } else if (name == "min_delta") {
        options.min_delta = value.number();
      } else if (name == "comp") {
        options.smaller_is_better = value.string() == "less" || value.string() == "np.less";
      } else {
        understood = false;
      }
    }
    if (!understood) {
      scope.OutOfScope(callback, "a callback of later work, or one of its settings");
      continue;
    }
    EarlyStopping stopping(options);
    const Json& values = item["values"];
    int epochs = 0;
    while (epochs < static_cast<int>(values.size())) {
      const double best_before = stopping.tracker().best;
      const bool stops = stopping.Update(GoldenNumber(values[static_cast<size_t>(epochs)]));
      if (static_cast<size_t>(epochs) < item["rows"].size()) {
        const Json& row = item["rows"][static_cast<size_t>(epochs)][callback + "Callback"];
        if (!row["best"].is_null()) {
          EXPECT_EQ(stopping.tracker().best, GoldenNumber(row["best"])) << epochs;
        }
        EXPECT_EQ(stopping.tracker().best != best_before, row["new_best"].boolean()) << epochs;
        if (row.Find("wait") != nullptr) {
          EXPECT_EQ(stopping.num_without_improvement(), row["wait"].number());
        }
      }
      ++epochs;
      if (stops && callback == "EarlyStopping") break;
    }
    EXPECT_EQ(epochs, item["epochs_run"].number());
    scope.Checked();
  }
  EXPECT_GE(scope.num_checked(), 20);
}

TEST(FineTuneOptionsTest, Validate) {
  FineTuneOptions options;
  EXPECT_TRUE(options.Validate().ok());
  options.epochs = options.freeze_epochs = 0;
  EXPECT_FALSE(options.Validate().ok());
  options = {};
  options.base_lr = 0;
  EXPECT_FALSE(options.Validate().ok());
  options = {};
  options.pct_start = 1;
  EXPECT_FALSE(options.Validate().ok());
  options = {};
  options.freeze_epochs = 0;
  EXPECT_EQ(FineTunePhases(options).size(), 1u);
}

}  // namespace
}  // namespace ursa
