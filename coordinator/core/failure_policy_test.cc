#include "coordinator/core/failure_policy.h"

#include <gtest/gtest.h>

#include <vector>

namespace ursa {
namespace {

using Finished = worker::v1::TaskFinished;

records::Gang Gang(const std::vector<Finished::Cause>& causes, int32_t failure_rank = 0) {
  records::Gang gang;
  for (const Finished::Cause cause : causes) gang.add_ranks()->set_cause(cause);
  gang.set_failure_rank(failure_rank);
  return gang;
}

TEST(FailurePolicyTest, EachCauseHasItsRemedy) {
  const struct {
    Finished::Cause cause;
    Remedy remedy;
  } kCases[] = {
      {Finished::CAUSE_UNSPECIFIED, Remedy::kRestart}, {Finished::CAUSE_OUT_OF_MEMORY, Remedy::kMove},
      {Finished::CAUSE_NOT_FINITE, Remedy::kEnd},      {Finished::CAUSE_BAD_DATA, Remedy::kEnd},
      {Finished::CAUSE_HARDWARE, Remedy::kMove},       {Finished::CAUSE_PEER_LOST, Remedy::kRestart},
  };
  for (const auto& c : kCases) EXPECT_EQ(RemedyFor(Gang({c.cause})), c.remedy) << Finished::Cause_Name(c.cause);
}

TEST(FailurePolicyTest, ALostWorkerIsNotTheJobs) {
  records::Gang gang = Gang({Finished::CAUSE_UNSPECIFIED, Finished::CAUSE_PEER_LOST});
  gang.set_worker_lost(true);
  EXPECT_EQ(RemedyFor(gang), Remedy::kMove);
  gang.set_uncounted(true);
  EXPECT_EQ(RemedyFor(gang), Remedy::kAgain);
  gang.set_user_error(true);
  EXPECT_EQ(RemedyFor(gang), Remedy::kEnd);
}

// Rank 0 saw its peer go before the peer's own words came.
TEST(FailurePolicyTest, TheCauseIsWhereNoPeerIsBlamed) {
  const records::Gang gang = Gang({Finished::CAUSE_PEER_LOST, Finished::CAUSE_OUT_OF_MEMORY}, /*failure_rank=*/0);
  EXPECT_EQ(FailedRank(gang), 1);
  EXPECT_EQ(RemedyFor(gang), Remedy::kMove);
  EXPECT_EQ(FailedRank(Gang({Finished::CAUSE_UNSPECIFIED, Finished::CAUSE_PEER_LOST}, 0)), 0);
}

class StrikeTest : public ::testing::Test {
 protected:
  std::string Strike(const TrialId& trial, absl::Duration at, Finished::Cause cause = Finished::CAUSE_UNSPECIFIED) {
    return AddStrike(StrikeOptions(), trial, cause, "ended by signal 9", absl::UnixEpoch() + at, &worker_);
  }
  records::WorkerRecord worker_;
};

TEST_F(StrikeTest, ThreeOfTwoTrialsInTenMinutes) {
  EXPECT_EQ(Strike({1, 1}, absl::ZeroDuration()), "");
  EXPECT_EQ(Strike({1, 1}, absl::Minutes(1)), "");
  EXPECT_EQ(Strike({2, 1}, absl::Minutes(9)), "3 failures of 2 trials within 10m, the last of t2.1: ended by signal 9");
}

TEST_F(StrikeTest, OneJobThatAlwaysFailsIsTheJobs) {
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Strike({1, 1}, absl::Seconds(i)), "");
  EXPECT_EQ(worker_.strikes_size(), 3);
}

TEST_F(StrikeTest, OldOnesNoLongerCount) {
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Strike({i + 1, 1}, i * absl::Minutes(6)), "");
}

TEST_F(StrikeTest, ABrokenDeviceIsEnough) {
  EXPECT_EQ(Strike({1, 1}, absl::ZeroDuration(), Finished::CAUSE_HARDWARE), "hardware error: ended by signal 9");
}

}  // namespace
}  // namespace ursa
