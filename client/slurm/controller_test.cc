// The edges of the controller: what the coordinator says as Plan() sees it, and Slurm by programs that stand in for its
// own. The whole is in tests/slurm.
#include "client/slurm/controller.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/file.h"
#include "client/slurm/slurm.h"

namespace ursa::slurm {
namespace {

v1::Worker MakeWorker(const std::string& id, const std::string& pool, const std::string& kind,
                      v1::Worker::State state) {
  v1::Worker worker;
  worker.set_id(id);
  worker.set_pool(pool);
  worker.set_kind(kind);
  worker.set_state(state);
  worker.set_slots(4);
  worker.set_free(3);
  worker.mutable_last_seen_time()->set_seconds(1'800'000'000);
  return worker;
}

TEST(MakeViewTest, TakesWhatIsOfThePoolAndKind) {
  v1::ListQueueResponse queue;
  const auto add = [&queue](const char* trial, const char* pool, const char* kind) {
    v1::QueueItem* item = queue.add_items();
    item->set_trial_id(trial);
    item->set_pool(pool);
    item->set_kind(kind);
    item->set_slots(8);
    item->set_reason("needs 8 slots");
  };
  add("t1.1", "gpu", "cuda");
  add("t2.1", "gpu", "cpu");
  add("t3.1", "default", "cuda");
  const std::vector<v1::Worker> workers = {MakeWorker("w1", "gpu", "cuda", v1::Worker::STATE_ALIVE),
                                           MakeWorker("w2", "gpu", "cpu", v1::Worker::STATE_ALIVE),
                                           MakeWorker("w3", "gpu", "cuda", v1::Worker::STATE_DRAINED),
                                           MakeWorker("w4", "gpu", "cuda", v1::Worker::STATE_LOST),
                                           MakeWorker("w5", "gpu", "cuda", v1::Worker::STATE_SET_ASIDE),
                                           MakeWorker("w6", "default", "cuda", v1::Worker::STATE_ALIVE)};
  Job job;
  job.id = 7;
  const View view = MakeView(queue, workers, {job}, "gpu", "cuda");
  ASSERT_EQ(view.waiting.size(), 1u);
  EXPECT_EQ(view.waiting[0].trial, "t1.1");
  EXPECT_EQ(view.waiting[0].slots, 8);
  EXPECT_EQ(view.waiting[0].reason, "needs 8 slots");
  ASSERT_EQ(view.workers.size(), 4u);
  using State = PoolWorker::State;
  const std::vector<std::pair<std::string, State>> expected = {
      {"w1", State::kAlive}, {"w3", State::kDrained}, {"w4", State::kLost}, {"w5", State::kSetAside}};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(view.workers[i].id, expected[i].first);
    EXPECT_EQ(view.workers[i].state, expected[i].second);
    EXPECT_EQ(view.workers[i].slots, 4);
    EXPECT_EQ(view.workers[i].free, 3);
    EXPECT_EQ(view.workers[i].last_seen, absl::FromUnixSeconds(1'800'000'000));
  }
  ASSERT_EQ(view.jobs.size(), 1u);
  EXPECT_EQ(view.jobs[0].id, 7);
}

// Slurm's programs as scripts that keep what they are told, in front of the others in PATH.
class SlurmTest : public ::testing::Test {
 protected:
  SlurmTest() : folder_(::testing::TempDir() + "/" + ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    ::mkdir(folder_.c_str(), 0700);
    old_path_ = std::getenv("PATH");
    ::setenv("PATH", (folder_ + ":" + old_path_).c_str(), 1);
    options_.pool = "gpu";
    options_.slots = 2;
    options_.server = "127.0.0.1:7070";
    options_.worker_program = "/bin/ursa-worker";
    options_.log_dir = folder_;
  }
  ~SlurmTest() override { ::setenv("PATH", old_path_.c_str(), 1); }

  // `body` after the program has kept its words in the file NAME.words.
  void Fake(const std::string& name, const std::string& body) {
    const std::string path = folder_ + "/" + name;
    ASSERT_TRUE(WriteFileAtomically(path, "#!/bin/sh\necho \"$@\" > " + path + ".words\n" + body + "\n", 0755).ok());
  }
  std::string Kept(const std::string& file) { return ReadFile(folder_ + "/" + file).value_or("(nothing)"); }

  std::string folder_;
  std::string old_path_;
  BatchJobOptions options_;
};

TEST_F(SlurmTest, SubmitsTheScriptAndReadsTheId) {
  Fake("sbatch", "cat > " + folder_ + "/script; echo '17;cluster'");
  const auto job = Slurm(options_).Submit();
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(*job, 17);
  EXPECT_EQ(Kept("script"), BatchScript(options_));
  EXPECT_EQ(Kept("sbatch.words").rfind("--parsable --job-name=ursa-gpu-", 0), 0u) << Kept("sbatch.words");
  Fake("sbatch", "echo Submitted");
  EXPECT_EQ(Slurm(options_).Submit().status().message(), "sbatch: should print a job's id, printed \"Submitted\n\"");
  Fake("sbatch", "echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1");
  EXPECT_EQ(Slurm(options_).Submit().status().message(),
            "sbatch: exit status 1: sbatch: error: Batch job submission failed: Invalid account");
}

TEST_F(SlurmTest, AFailedJobSaysWhatItPrintedLast) {
  Fake("squeue", "echo '7|FAILED|NonZeroExitCode|256|slots=2'; echo '8|FAILED|NonZeroExitCode|256|slots=2'");
  ASSERT_TRUE(WriteFileAtomically(OutputFile(folder_, "7"), "one\nerror: token: refused\n\n").ok());
  const auto jobs = Slurm(options_).ListJobs();
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  ASSERT_EQ(jobs->size(), 2u);
  EXPECT_EQ((*jobs)[0].detail,
            "FAILED, NonZeroExitCode, exit code 1: error: token: refused (" + OutputFile(folder_, "7") + ")");
  EXPECT_EQ((*jobs)[1].detail, "FAILED, NonZeroExitCode, exit code 1 (" + OutputFile(folder_, "8") + ")");
}

TEST_F(SlurmTest, AsksTheScriptAloneToEndAndCancelsTheWhole) {
  Fake("scancel", "");
  EXPECT_TRUE(Slurm(options_).AskToEnd(7).ok());
  EXPECT_EQ(Kept("scancel.words"), "--batch --signal=TERM 7\n");
  EXPECT_TRUE(Slurm(options_).Cancel(8).ok());
  EXPECT_EQ(Kept("scancel.words"), "8\n");
}

}  // namespace
}  // namespace ursa::slurm
