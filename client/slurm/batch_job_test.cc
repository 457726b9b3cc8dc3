#include "client/slurm/batch_job.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ursa::slurm {
namespace {

BatchJobOptions Options() {
  BatchJobOptions options;
  options.pool = "gpu";
  options.kind = "cuda";
  options.slots = 4;
  options.worker_program = "/opt/ursa/bin/ursa-worker";
  options.server = "https://head:7070";
  options.token_file = "/home/ann/it's a token";
  options.ca_file = "/home/ann/ca.pem";
  options.fabric = "ib0";
  options.log_dir = "/home/ann/log";
  return options;
}

TEST(BatchJobTest, SbatchIsToldWhatAWorkerNeeds) {
  BatchJobOptions options = Options();
  const std::vector<std::string> expected = {"sbatch",
                                             "--parsable",
                                             "--job-name=ursa-gpu-" + JobName("gpu", options.server).substr(9),
                                             "--comment=slots=4",
                                             "--no-requeue",
                                             "--signal=B:TERM@150",
                                             "--nodes=1",
                                             "--ntasks=1",
                                             "--output=/home/ann/log/ursa-worker-%j.log",
                                             "--gres=gpu:4"};
  EXPECT_EQ(SbatchWords(options), expected);
  options.kind = "cpu";
  options.partition = "long";
  options.account = "lab";
  options.sbatch = {"--time=8:00:00", "--cpus-per-task=2"};
  const std::vector<std::string> words = SbatchWords(options);
  EXPECT_EQ(std::vector<std::string>(words.begin() + 9, words.end()),
            (std::vector<std::string>{"--cpus-per-task=4", "--partition=long", "--account=lab", "--time=8:00:00",
                                      "--cpus-per-task=2"}));
}

TEST(BatchJobTest, NamesTellPoolsAndClustersApart) {
  const std::string name = JobName("gpu", "https://head:7070");
  EXPECT_EQ(name.substr(0, 9), "ursa-gpu-");
  EXPECT_EQ(name.size(), 17u);
  EXPECT_NE(name, JobName("gpu", "https://other:7070"));
  EXPECT_NE(name, JobName("gpu2", "https://head:7070"));
  EXPECT_EQ(name, JobName("gpu", "https://head:7070"));
}

TEST(BatchJobTest, TheScriptRunsTheWorkerWithItsWordsQuoted) {
  const std::string script = BatchScript(Options());
  EXPECT_EQ(script.rfind("#!/bin/bash\n", 0), 0u);
  EXPECT_NE(script.find("command=('/opt/ursa/bin/ursa-worker' --dir \"$dir\" --server 'https://head:7070' "
                        "--token_file '/home/ann/it'\\''s a token' --ca_file '/home/ann/ca.pem' --slots '4' "
                        "--kind 'cuda' --fabric 'ib0' --pool 'gpu')\n"),
            std::string::npos)
      << script;
  EXPECT_NE(script.find("comment='slots=4'\n"), std::string::npos);
  BatchJobOptions plain = Options();
  plain.ca_file.clear();
  EXPECT_EQ(BatchScript(plain).find("--ca_file"), std::string::npos);
}

}  // namespace
}  // namespace ursa::slurm
