#include "client/slurm/squeue.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/file.h"

namespace ursa::slurm {
namespace {

// What Slurm 22.05 printed for SqueueWords() on a node of four CPUs.
TEST(ParseSqueueTest, ReadsWhatSlurmPrinted) {
  const auto text = ReadFile("client/slurm/testdata/squeue_22.05.txt");
  ASSERT_TRUE(text.ok()) << text.status();
  const auto jobs = ParseSqueue(*text);
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  struct Expected {
    int64_t id;
    Job::State state;
    bool failed;
    std::string worker;
    std::string detail;
  };
  const std::vector<Expected> expected = {
      {22, Job::State::kEnded, false, "", "CANCELLED"},
      {15, Job::State::kEnded, false, "", "COMPLETED"},
      {18, Job::State::kEnding, false, "", "None"},
      {13, Job::State::kEnded, true, "", "FAILED, NonZeroExitCode, exit code 3"},
      {14, Job::State::kEnded, true, "", "FAILED, JobLaunchFailure, signal 9"},
      {16, Job::State::kEnded, true, "", "FAILED, JobLaunchFailure, status 4021"},
      {19, Job::State::kPending, false, "", "Resources"},
      {20, Job::State::kPending, false, "", "BeginTime"},
      {21, Job::State::kPending, false, "", "JobHeldUser"},
      {17, Job::State::kRunning, false, "w3", "None"},
  };
  ASSERT_EQ(jobs->size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const Job& job = (*jobs)[i];
    EXPECT_EQ(job.id, expected[i].id);
    EXPECT_EQ(job.state, expected[i].state) << job.id;
    EXPECT_EQ(job.failed, expected[i].failed) << job.id;
    EXPECT_EQ(job.worker, expected[i].worker) << job.id;
    EXPECT_EQ(job.detail, expected[i].detail) << job.id;
    EXPECT_EQ(job.slots, 2) << job.id;
  }
}

TEST(ParseSqueueTest, NothingIsNoJob) {
  const auto jobs = ParseSqueue("\n");
  ASSERT_TRUE(jobs.ok());
  EXPECT_TRUE(jobs->empty());
}

TEST(ParseSqueueTest, SaysWhatItDoesNotUnderstand) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"slurm_load_jobs error", "squeue: cannot read the line \"slurm_load_jobs error\""},
      {"x|RUNNING|None|0|slots=4", "squeue: cannot read the line \"x|RUNNING|None|0|slots=4\""},
      {"7|DREAMING|None|0|slots=4", "squeue: job 7 has the unknown state \"DREAMING\""},
      {"7|RUNNING|None|0|(null)", "squeue: job 7 has our name, and the comment \"(null)\" instead of \"slots=1\""},
      {"7|RUNNING|None|0|slots=0", "squeue: job 7 has our name, and the comment \"slots=0\" instead of \"slots=1\""},
  };
  for (const auto& [text, expected] : cases) {
    const auto jobs = ParseSqueue(text);
    EXPECT_EQ(jobs.status().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(jobs.status().message(), expected);
  }
}

TEST(ParseSqueueTest, AWorkersIdIsOneOfOurs) {
  const auto jobs = ParseSqueue("7|RUNNING|None|0|slots=4 worker=../w1\n8|RUNNING|None|0|slots=4 worker=w12\n");
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  EXPECT_EQ((*jobs)[0].worker, "");
  EXPECT_EQ((*jobs)[1].worker, "w12");
}

}  // namespace
}  // namespace ursa::slurm
