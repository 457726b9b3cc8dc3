// What a call that is sent twice gets: the first answer, a refusal included.
#include "coordinator/core/requests.h"

#include <gtest/gtest.h>

#include "coordinator/core/coordinator_testing.h"

namespace ursa {
namespace {

class RequestsTest : public ::testing::Test {
 protected:
  // A call with the id "r1" that answers `decision` if it is decided.
  absl::StatusOr<v1::Worker> Ask(const absl::StatusOr<v1::Worker>& decision) {
    return harness_.Change<v1::Worker>(
        [&](Tx&, const Caller&) {
          ++num_decisions_;
          return decision;
        },
        "r1");
  }
  static v1::Worker Named(const std::string& name) {
    v1::Worker worker;
    worker.set_name(name);
    return worker;
  }

  Harness harness_;
  int num_decisions_ = 0;
};

TEST_F(RequestsTest, ARetryGetsTheFirstAnswerAlsoAfterARestart) {
  EXPECT_EQ(Ask(Named("workers/w1"))->name(), "workers/w1");
  EXPECT_EQ(Ask(Named("workers/w2"))->name(), "workers/w1");
  harness_.Restart();
  EXPECT_EQ(Ask(absl::NotFoundError("worker w1: not found"))->name(), "workers/w1");
  EXPECT_EQ(num_decisions_, 1);
}

// An older copy of the call may be on its way still: accepted, it would surprise whoever was told "no".
TEST_F(RequestsTest, WhatWasRefusedStaysRefused) {
  const absl::Status refusal = absl::FailedPreconditionError("needs 4 slots, the cluster has 2");
  EXPECT_EQ(Ask(refusal).status(), refusal);
  harness_.Restart();
  EXPECT_EQ(Ask(Named("workers/w1")).status(), refusal);
  EXPECT_EQ(num_decisions_, 1);
}

TEST_F(RequestsTest, UnavailableIsNoAnswer) {
  EXPECT_EQ(Ask(absl::UnavailableError("later")).status(), absl::UnavailableError("later"));
  EXPECT_EQ(Ask(Named("workers/w1"))->name(), "workers/w1");
}

TEST_F(RequestsTest, AFullDiskRefusesWhatIsNewAlone) {
  EXPECT_TRUE(Ask(Named("workers/w1")).ok());
  harness_.options().free_disk_bytes = [] { return int64_t{1} << 20; };
  harness_.Restart();
  EXPECT_EQ(Ask(Named("workers/w2"))->name(), "workers/w1");
  const auto refused = harness_.Change<v1::Worker>([&](Tx&, const Caller&) { return Named("workers/w3"); }, "r2");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(RequestsTest, AnIdIsForOneRequest) {
  ASSERT_TRUE(Ask(Named("workers/w1")).ok());
  const auto other = harness_.Call<v1::Worker>([&](Done<v1::Worker> done) {
    Mutate<v1::Worker>(harness_.coordinator().env(), RequestKey{harness_.admin(), "another", "r1", ""}, std::move(done),
                       [](Tx&) { return Named("workers/w2"); });
  });
  EXPECT_EQ(other.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Ask(Named("workers/w3"))->name(), "workers/w1");  // and that refusal takes nobody's place
}

}  // namespace
}  // namespace ursa
