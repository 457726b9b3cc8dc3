// The agent, real gRPC on both sides, real processes; the coordinator is a fake behind a real server.
#include "worker/agent/agent.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "worker/agent/agent_testing.h"

namespace ursa {
namespace {

TEST_F(AgentTest, RegistersAndKeepsItsId) {
  StartAgent();
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return r.num_heartbeats >= 3; }));
  EXPECT_EQ(*ReadFile(dir_ + "/worker.id"), "w7\n");
  EXPECT_TRUE(Finish().ok());
}

TEST_F(AgentTest, TrainsUploadsReportsAndReaps) {
  Run("train");
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 1; }));
  const Received received = coordinator_.received();
  std::string story;
  for (const auto& event : received.events) {
    EXPECT_EQ(event.task_id(), "t1.1");
    EXPECT_EQ(event.epoch(), 1);
    if (!event.event().has_log()) absl::StrAppend(&story, event.event().event_case(), " ");
  }
  EXPECT_EQ(story, "4 8 9 ") << "checkpoint, finished, exited";
  const auto checkpoint = Events(received, worker::v1::TaskEvent::kCheckpoint)[0].event().checkpoint();
  EXPECT_EQ(received.blobs.at(checkpoint.model_blob()), std::string(3'000'000, 'c') + "10");
  EXPECT_TRUE(WaitForLog("running train rank 0 device 0 threads 3\n"));
  const auto exited = Events(received, worker::v1::TaskEvent::kExited)[0].event().exited();
  EXPECT_EQ(exited.exit_code(), 0);
  EXPECT_EQ(exited.signal(), 0);
  ASSERT_TRUE(WaitForRunning(0));
  const int beats = coordinator_.received().num_heartbeats;
  ASSERT_TRUE(coordinator_.WaitFor([&](const Received& r) { return r.num_heartbeats > beats + 2; }));
  EXPECT_EQ(NumExited(coordinator_.received()), 1) << "it is not started again";
}

TEST_F(AgentTest, TellsOfACrashWithItsLastWords) {
  Run("crash");
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 1; }));
  const auto exited = Events(coordinator_.received(), worker::v1::TaskEvent::kExited)[0].event().exited();
  EXPECT_EQ(exited.signal(), SIGABRT);
  EXPECT_TRUE(absl::StrContains(exited.last_words(), "about to crash")) << exited.last_words();
}

TEST_F(AgentTest, ATaskThatPrintsAsFastAsItCanIsCutAndTheCutIsCounted) {
  options_.log.bytes_per_second = size_t{256} << 10;
  options_.log.burst_bytes = size_t{512} << 10;
  Run("flood", 2);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 2; }));
  for (const int32_t rank : {0, 1}) {
    int64_t num_bytes = 0, num_left_out = 0;
    std::string text;
    for (const StampedEvent& event : Events(coordinator_.received(), worker::v1::TaskEvent::kLog)) {
      if (event.rank() != rank) continue;
      const worker::v1::LogChunk& log = event.event().log();
      EXPECT_EQ(log.offset(), num_bytes + num_left_out) << "nothing is missing that is not counted";
      num_bytes += static_cast<int64_t>(log.data().size());
      num_left_out += log.num_left_out_bytes();
      text += log.data();
    }
    EXPECT_EQ(text.substr(0, text.find('\n')),
              absl::StrCat("running flood rank ", rank, " device ", rank, " threads 3"));
    EXPECT_TRUE(absl::EndsWith(text, "\nthe flood is over\n")) << "its last words";
    EXPECT_GT(num_bytes + num_left_out, 40'000'000);
    EXPECT_GT(num_left_out, 20'000'000);
  }
}

TEST_F(AgentTest, OffersItsSlotsWhenTheTaskProgramStarts) {
  options_.task_binary = dir_ + "/task.sh";
  std::ofstream(options_.task_binary) << "#!/bin/sh\ntest -e " << dir_
                                      << "/good || { echo no such library; exit 3; }\n";
  std::filesystem::permissions(options_.task_binary, std::filesystem::perms::owner_all);
  options_.health.retry = {absl::Milliseconds(10), absl::Milliseconds(20), 2};
  StartAgent();
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return !r.hellos.empty(); }));
  const worker::v1::Hello hello = coordinator_.received().hellos[0];
  ASSERT_EQ(hello.slot_states_size(), 2);
  EXPECT_EQ(hello.slot_states(1).index(), 1);
  EXPECT_EQ(hello.slot_states(1).reason(), "ursa-task: cannot start, exit code 3: no such library");
  std::ofstream(dir_ + "/good") << "\n";
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return !r.slots.empty(); }));
  EXPECT_EQ(coordinator_.received().slots[0].slots_size(), 0);
}

TEST_F(AgentTest, ASlotIsFreeWhenItsDevicesMemoryIs) {
  std::atomic<int64_t> used_bytes = int64_t{40} << 30;
  options_.devices.resize(2);
  options_.read_machine = [&used_bytes] { return MachineReading{INT64_MAX, {GpuReading{used_bytes}, GpuReading{}}}; };
  options_.health.release_limit = absl::InfiniteDuration();
  options_.health.release_poll = absl::Milliseconds(5);
  options_.health.retry = {absl::Milliseconds(10), absl::Milliseconds(20), 2};
  StartAgent();
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return !r.hellos.empty(); }));
  EXPECT_NE(coordinator_.received().hellos[0].slot_states(0).reason(), "") << "somebody works there";
  EXPECT_EQ(coordinator_.received().hellos[0].slot_states(1).reason(), "");
  used_bytes = 0;
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return !r.slots.empty(); }));
  EXPECT_EQ(coordinator_.received().slots[0].slots(0).reason(), "");

  used_bytes = int64_t{40} << 30;
  Run("train");
  ASSERT_TRUE(
      coordinator_.WaitFor([](const Received& r) { return !Events(r, worker::v1::TaskEvent::kFinished).empty(); }));
  const int beats = coordinator_.received().num_heartbeats;
  ASSERT_TRUE(coordinator_.WaitFor([&](const Received& r) { return r.num_heartbeats > beats + 5; }));
  EXPECT_EQ(NumExited(coordinator_.received()), 0) << "it is as if the task had not ended";
  EXPECT_TRUE(WaitForRunning(1));
  used_bytes = 0;
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 1; }));
}

TEST_F(AgentTest, ProgramThatDoesNotStartIsReported) {
  options_.task_binary = "/nowhere";
  Run("train");
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 1; }));
  const auto exited = Events(coordinator_.received(), worker::v1::TaskEvent::kExited)[0].event().exited();
  EXPECT_EQ(exited.exit_code(), 127);
  EXPECT_TRUE(absl::StrContains(exited.last_words(), "/nowhere")) << exited.last_words();
}

TEST_F(AgentTest, StopsOnOrder) {
  Run("wait", 2);
  ASSERT_TRUE(WaitForRunning(2));
  DesiredState desired;
  AddOrder(&desired, "t1.1", 1, "wait", 2, true);
  coordinator_.SetDesired(desired);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 2; }));
  const auto finished = Events(coordinator_.received(), worker::v1::TaskEvent::kFinished);
  ASSERT_EQ(finished.size(), 2u);
  EXPECT_EQ(finished[0].event().finished().outcome(), TaskFinished::OUTCOME_STOPPED);
}

TEST_F(AgentTest, KillsWhatIsNotWantedAndStartsTheNextEpochAfterIt) {
  Run("deaf");
  ASSERT_TRUE(WaitForRunning(1));
  DesiredState desired;
  AddOrder(&desired, "t1.1", 2, "train");
  coordinator_.SetDesired(desired);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 2; }));
  const auto exited = Events(coordinator_.received(), worker::v1::TaskEvent::kExited);
  EXPECT_EQ(exited[0].epoch(), 1);
  EXPECT_EQ(exited[0].event().exited().signal(), SIGKILL);
  EXPECT_EQ(exited[1].epoch(), 2);
}

TEST_F(AgentTest, DeafTaskIsKilledWhenItsTimeIsOver) {
  options_.state.tasks.stop_limit = absl::Milliseconds(100);
  Run("deaf");
  ASSERT_TRUE(WaitForRunning(1));
  EXPECT_TRUE(Finish().ok());
  EXPECT_EQ(NumExited(coordinator_.received()), 1);
}

TEST_F(AgentTest, ShutdownLetsTasksCheckpointAndHandsAllOver) {
  Run("wait");
  ASSERT_TRUE(WaitForLog("running wait"));
  EXPECT_TRUE(Finish().ok());
  const Received received = coordinator_.received();
  EXPECT_EQ(Events(received, worker::v1::TaskEvent::kCheckpoint).size(), 1u);
  EXPECT_EQ(NumExited(received), 1);
}

TEST_F(AgentTest, TasksOutliveTheCoordinatorAndNoEventIsLostOrDoubled) {
  Run("count");
  ASSERT_TRUE(WaitForRunning(1));
  for (int i = 0; i < 5; ++i) {
    const Received before = coordinator_.received();
    ASSERT_TRUE(coordinator_.WaitFor([&](const Received& r) { return r.events.size() > before.events.size() + 15; }));
    if (i % 2 == 0) coordinator_.SetAcknowledging(false);
    ASSERT_TRUE(coordinator_.WaitFor([&](const Received& r) { return r.num_heartbeats > before.num_heartbeats + 1; }));
    coordinator_.SetAway(true);
    ASSERT_TRUE(coordinator_.WaitFor([&](const Received& r) { return r.num_refused > before.num_refused + 2; }));
    coordinator_.SetAcknowledging(true);
    coordinator_.SetAway(false);
  }
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return r.hellos.size() >= 6; }));
  EXPECT_TRUE(Finish().ok());
  const auto metrics = Events(coordinator_.received(), worker::v1::TaskEvent::kMetrics);
  ASSERT_GT(metrics.size(), 50u);
  for (size_t i = 0; i < metrics.size(); ++i)
    ASSERT_EQ(metrics[i].event().metrics().points(0).step(), static_cast<int64_t>(i) + 1);
  EXPECT_EQ(coordinator_.received().hellos.back().tasks_size(), 1);
}

TEST_F(AgentTest, CheckpointThatCannotBeUploadedWaitsThroughAnAbsence) {
  Run("wait");
  ASSERT_TRUE(WaitForLog("running wait"));
  coordinator_.SetBlobsAway(true);
  DesiredState desired;
  AddOrder(&desired, "t1.1", 1, "wait", 1, true);
  coordinator_.SetDesired(desired);
  ASSERT_TRUE(WaitForRunning(0));
  EXPECT_EQ(NumExited(coordinator_.received()), 0) << "its end comes after its checkpoint";
  coordinator_.SetAway(true);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return r.num_refused > 2; }));
  coordinator_.SetBlobsAway(false);
  coordinator_.SetAway(false);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 1; }));
  EXPECT_EQ(Events(coordinator_.received(), worker::v1::TaskEvent::kCheckpoint).size(), 1u);
}

TEST_F(AgentTest, RanksMeetAtTheRendezvous) {
  Run("rendezvous", 2);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 2; }));
  for (const auto& event : Events(coordinator_.received(), worker::v1::TaskEvent::kFinished))
    EXPECT_EQ(event.event().finished().reason(), event.rank() == 0 ? "" : "127.0.0.1:9");
}

TEST_F(AgentTest, AnAddWhoseAnswerIsLostCountsOnce) {
  coordinator_.LoseNextAnswer();
  Run("add", 2);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 2; }));
  std::set<std::string> sums;
  for (const auto& event : Events(coordinator_.received(), worker::v1::TaskEvent::kFinished))
    sums.insert(event.event().finished().reason());
  EXPECT_EQ(sums, (std::set<std::string>{"1", "2"}));
  EXPECT_GE(coordinator_.received().rendezvous.size(), 3u) << "the lost one was asked again";
}

TEST_F(AgentTest, BringsBlobsToTasks) {
  Run(absl::StrCat("fetch:", coordinator_.AddBlob("the bytes")));
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 1; }));
  EXPECT_EQ(Events(coordinator_.received(), worker::v1::TaskEvent::kFinished)[0].event().finished().reason(),
            "the bytes");
}

TEST_F(AgentTest, EventThatNamesAnUnknownBlobIsRefused) {
  Run("liar");
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 1; }));
  EXPECT_TRUE(absl::StrContains(
      Events(coordinator_.received(), worker::v1::TaskEvent::kFinished)[0].event().finished().reason(),
      "INVALID_ARGUMENT"));
}

TEST_F(AgentTest, PredictsThroughTheTask) {
  Run("wait");
  ASSERT_TRUE(WaitForRunning(1));
  worker::v1::ConnectResponse message;
  message.mutable_predict()->set_task_id("t1.1");
  message.mutable_predict()->set_epoch(1);
  message.mutable_predict()->mutable_input()->set_call_id(42);
  message.mutable_predict()->mutable_input()->add_pictures(std::string(5'000'000, 'p'));
  coordinator_.Push(message);
  ASSERT_TRUE(
      coordinator_.WaitFor([](const Received& r) { return !Events(r, worker::v1::TaskEvent::kPredict).empty(); }));
  const auto answer = Events(coordinator_.received(), worker::v1::TaskEvent::kPredict)[0].event().predict();
  EXPECT_EQ(answer.call_id(), 42);
  EXPECT_EQ(answer.answers(0).probabilities(0), 5'000'000);
}

TEST_F(AgentTest, WrongTokenEndsTheAgentWithTheReason) {
  std::ofstream(dir_ + "/token") << "wrong";
  StartAgent();
  thread_.join();
  EXPECT_TRUE(absl::IsUnauthenticated(result_)) << result_;
  agent_.reset();
}

// The program itself.
class WorkerProgramTest : public AgentTest {
 protected:
  pid_t StartProgram() {
    std::ofstream(dir_ + "/address") << server_->address() << "\n";
    std::filesystem::create_directory(dir_ + "/bin");
    std::error_code exists;  // the program is started twice
    std::filesystem::create_symlink(std::filesystem::absolute(kTestTask), dir_ + "/bin/ursa-task", exists);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setenv("URSA_BIN", (dir_ + "/bin").c_str(), 1);
      ::execl("worker/agent/ursa-worker", "ursa-worker", "--dir", dir_.c_str(), "--slots", "2", "--token_file",
              (dir_ + "/token").c_str(), "--pool", "lab", nullptr);
      ::_exit(127);
    }
    return pid;
  }
  int WaitForEnd(pid_t pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
  }
  void Desire(const std::string& script, int64_t epoch = 1) {
    DesiredState desired;
    AddOrder(&desired, "t1.1", epoch, script, 2);
    coordinator_.SetDesired(desired);
  }
};

TEST_F(WorkerProgramTest, TermStopsTasksAndExitsWithZero) {
  Desire("wait");
  const pid_t pid = StartProgram();
  ASSERT_TRUE(WaitForLog("running wait"));
  ASSERT_TRUE(WaitForRunning(2));
  ::kill(pid, SIGTERM);
  const int status = WaitForEnd(pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(Events(coordinator_.received(), worker::v1::TaskEvent::kCheckpoint).size(), 2u);
  EXPECT_EQ(NumExited(coordinator_.received()), 2);
  EXPECT_EQ(coordinator_.received().hellos[0].pool(), "lab");
}

TEST_F(WorkerProgramTest, SecondSignalKillsAtOnce) {
  Desire("deaf");
  const pid_t pid = StartProgram();
  ASSERT_TRUE(WaitForRunning(2));
  ::kill(pid, SIGTERM);
  ::kill(pid, SIGINT);  // another one, as two of a kind may become one
  WaitForEnd(pid);
  EXPECT_TRUE(NoneSoon(dir_));
}

TEST_F(WorkerProgramTest, KilledAgentLeavesNoOrphanAndComesBackAsTheSameWorker) {
  const pid_t first = StartProgram();
  ASSERT_NE(NextSpare(), 0);
  Desire("deaf");
  ASSERT_TRUE(WaitForRunning(2));
  EXPECT_GE(ProcessesNaming(dir_).size(), 3u);
  ::kill(first, SIGKILL);
  WaitForEnd(first);
  EXPECT_TRUE(NoneSoon(dir_));
  Desire("wait", 2);
  const pid_t second = StartProgram();
  ASSERT_TRUE(WaitForLog("running wait"));
  const auto hellos = coordinator_.received().hellos;
  ASSERT_GE(hellos.size(), 2u);
  EXPECT_EQ(hellos.back().worker_id(), "w7");
  EXPECT_NE(hellos.front().incarnation(), hellos.back().incarnation());
  ::kill(second, SIGTERM);
  EXPECT_EQ(WaitForEnd(second), 0);
}

TEST_F(WorkerProgramTest, SecondAgentOnAFolderIsRefused) {
  const pid_t first = StartProgram();
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return r.num_heartbeats > 0; }));
  const int status = WaitForEnd(StartProgram());
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
  ::kill(first, SIGTERM);
  EXPECT_EQ(WaitForEnd(first), 0);
}

}  // namespace
}  // namespace ursa
