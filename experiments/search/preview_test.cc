#include "experiments/search/preview.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "experiments/search/search_testlib.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

// "4: 4 to 1, 1 to 4; 2: 2 to 4".
std::string BracketsText(const SearchPreview& preview) {
  std::string text;
  for (const SearchPreview::Bracket& bracket : preview.brackets) {
    absl::StrAppend(&text, text.empty() ? "" : "; ", bracket.num_trials, ":");
    for (const SearchPreview::Rung& rung : bracket.rungs) {
      absl::StrAppend(&text, &rung == &bracket.rungs.front() ? " " : ", ", rung.num_trials, " to ", rung.epochs);
    }
  }
  return text;
}

TEST(PreviewTest, EachMethod) {
  const struct {
    const char* searcher;
    std::vector<std::string> overrides;
    const char* method;
    int32_t num_trials;
    const char* brackets;
    int64_t total_epochs, total_epochs_max;
  } cases[] = {
      {"adaptive_asha { metric: \"error_rate\" smaller_is_better: true max_trials: 6 max_epochs: 4 }",
       {},
       "adaptive_asha",
       6,
       "4: 4 to 1, 1 to 4; 2: 2 to 4",
       15,
       24},
      {"random { max_trials: 7 median_stopping {} }", {}, "random", 7, "7: 7 to 4", 28, 28},
      {"grid {}", {"hyperparameters[0].log.count=5"}, "grid", 5, "5: 5 to 4", 20, 20},
      {"grid {}",
       {"hyperparameters[0]={name: \"train.fine_tune.epochs\" categorical {numbers: [1, 5, 2]}}"},
       "grid",
       3,
       "3: 3 to 6",
       11,
       11},
  };
  for (const auto& test : cases) {
    const auto preview = PreviewSearch(SearchRecipe(test.searcher, test.overrides));
    ASSERT_TRUE(preview.ok()) << preview.status();
    EXPECT_EQ(preview->method, test.method);
    EXPECT_EQ(preview->num_trials, test.num_trials);
    EXPECT_EQ(BracketsText(*preview), test.brackets);
    EXPECT_EQ(preview->total_epochs, test.total_epochs) << test.brackets;
    EXPECT_EQ(preview->total_epochs_max, test.total_epochs_max) << test.brackets;
  }
}

TEST(PreviewTest, WithoutASearcherThereIsOneTrial) {
  v1::ExperimentSpec recipe = SearchRecipe("random {}");
  recipe.clear_searcher();
  recipe.clear_hyperparameters();
  const auto preview = PreviewSearch(recipe);
  ASSERT_TRUE(preview.ok()) << preview.status();
  EXPECT_EQ(preview->method, "single");
  EXPECT_EQ(preview->metric, "valid_loss");
  EXPECT_EQ(preview->num_trials, 1);
  EXPECT_EQ(preview->total_epochs, 4);
  EXPECT_TRUE(preview->samples.empty());
}

TEST(PreviewTest, SamplesAreWhatTheTrialsWillHave) {
  const std::string searcher = "random { max_trials: 30 }";
  const auto preview = PreviewSearch(SearchRecipe(searcher));
  ASSERT_TRUE(preview.ok()) << preview.status();
  ASSERT_EQ(preview->samples.size(), static_cast<size_t>(kPreviewSamplesMax));
  for (const SearchPreview::Sample& sample : preview->samples) {
    EXPECT_EQ(sample.hyperparameters, TrialHyperparameters(ResolvedSearch(searcher), sample.trial));
  }
  // Which values trials 1 and 2 get only the server knows.
  const auto warm = PreviewSearch(SearchRecipe(searcher + " warm_start { experiment: \"e3\" num_trials: 2 }"));
  ASSERT_TRUE(warm.ok()) << warm.status();
  EXPECT_EQ(warm->samples.front().trial, 3);
}

// The expected number is near the synchronous one: a quarter of each rung goes on.
TEST(PreviewTest, LargeSearch) {
  const auto preview =
      PreviewSearch(SearchRecipe("adaptive_asha { max_trials: 1024 max_epochs: 64 mode: \"aggressive\" }"));
  ASSERT_TRUE(preview.ok()) << preview.status();
  ASSERT_EQ(preview->brackets.size(), 1u);
  const std::vector<SearchPreview::Rung>& rungs = preview->brackets[0].rungs;
  ASSERT_EQ(rungs.size(), 4u);
  EXPECT_EQ(rungs[0].num_trials, 1024);
  EXPECT_NEAR(rungs[1].num_trials, 256, 40);
  EXPECT_NEAR(rungs[2].num_trials, 64, 20);
  EXPECT_NEAR(rungs[3].num_trials, 16, 10);
  EXPECT_EQ(preview->total_epochs_max, 1024 * 64);
}

TEST(PreviewTest, ABadRecipeIsNamed) {
  EXPECT_EQ(PreviewSearch(SearchRecipe("random {}")).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ursa
