#include "coordinator/core/submission.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "google/protobuf/text_format.h"

namespace ursa {
namespace {

ResolveContext Context(int32_t cluster_slots) {
  ResolveContext context;
  context.dataset = "bears@1";
  context.num_train = 200;
  context.num_valid = 50;
  context.num_classes = 3;
  context.cluster_slots = cluster_slots;
  context.device = "cpu";
  context.simd = "avx2";
  context.version = "1";
  return context;
}

v1::ExperimentSpec Recipe(const std::string& extra = "") {
  v1::ExperimentSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      "name: 'bears' dataset: 'bears' model { architecture: 'resnet18' } "
      "data { item_transforms { resize { size: 32 } } batch_size: 4 } train { fine_tune { epochs: 2 } } "
      "hyperparameters { name: 'train.fine_tune.base_lr' log { low: 1e-4 high: 1e-2 } } "
      "searcher { random { max_trials: 8 } } resources { slots_per_trial: 2 } " +
          extra,
      &spec));
  return spec;
}

// Of the first operations: how many make a trial.
int64_t NumCreated(const Submission::Plan& plan) {
  return std::count_if(plan.operations.begin(), plan.operations.end(), [](const SearchOperation& operation) {
    return operation.kind == SearchOperation::Kind::kCreateTrial;
  });
}

TEST(SubmissionTest, WhatIsWrongWithTheRecipeNeedsNoContext) {
  EXPECT_TRUE(Submission(Recipe()).status().ok());
  EXPECT_TRUE(Submission(Recipe()).is_long());
  const absl::Status status = Submission(Recipe("execution { device: 'cpu' }")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

TEST(SubmissionTest, ThePreparedPlanIsTheOneThatIsMadeUnderTheLock) {
  Submission prepared(Recipe());
  prepared.Prepare(Context(4));
  const auto plan = prepared.Take(Context(4));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto other = Submission(Recipe()).Take(Context(4));
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(plan->resolved.SerializeAsString(), other->resolved.SerializeAsString());
  EXPECT_EQ(plan->resolved.SerializeAsString(), ValidateAndResolve(Recipe(), Context(4))->SerializeAsString());
  ASSERT_EQ(plan->operations.size(), other->operations.size());
  EXPECT_EQ(NumCreated(*plan), 2);  // as many gangs of two slots as fit
  EXPECT_EQ(plan->search.trials().size(), 2);
}

TEST(SubmissionTest, WhatHasChangedInBetweenCounts) {
  const auto take = [](int32_t slots_before, int32_t slots_now) {
    Submission submission(Recipe());
    submission.Prepare(Context(slots_before));
    return submission.Take(Context(slots_now));
  };
  EXPECT_EQ(NumCreated(*take(4, 8)), 4);
  EXPECT_EQ(take(4, 1).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(NumCreated(*take(1, 4)), 2);  // a refusal that holds no more

  ResolveContext warm = Context(4);
  warm.earlier_trials = {{{{"train.fine_tune.base_lr", "0.003"}}, {{"valid_loss", 0.1}}}};
  EXPECT_FALSE(warm == Context(4));
}

}  // namespace
}  // namespace ursa
