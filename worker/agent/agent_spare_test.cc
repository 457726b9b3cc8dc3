// The agent's spare process.
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "worker/agent/agent_testing.h"

namespace ursa {
namespace {

class AgentSpareTest : public AgentTest {
 protected:
  // The program of tasks: the usual one, but a spare does `script` first.
  void UseScript(const std::string& script) {
    options_.task_binary = dir_ + "/task.sh";
    std::ofstream(options_.task_binary) << "#!/bin/sh\ntest \"$1\" != --spare || { " << script << "; }\nexec "
                                        << std::filesystem::absolute(kTestTask).string() << " \"$@\"\n";
    std::filesystem::permissions(options_.task_binary, std::filesystem::perms::owner_all);
  }
  std::string WaitForFile(const std::string& name) const {
    return absl::StrCat("while ! test -e ", dir_, "/", name, "; do sleep 0.01; done");
  }
  std::string LogOf(const std::string& id) const {
    std::string log;
    for (const StampedEvent& event : Events(coordinator_.received(), worker::v1::TaskEvent::kLog)) {
      if (event.task_id() == id) log += event.event().log().data();
    }
    return log;
  }
  // Runs one task after the other, until one has been the spare's: its log is returned; "" if none was.
  std::string LogOfTaskThatTookTheSpare() {
    StartAgent();
    for (int i = 1; i <= 200; ++i) {
      const std::string id = absl::StrCat("t1.", i);
      DesiredState desired;
      AddOrder(&desired, id, 1, "train");
      coordinator_.SetDesired(desired);
      if (!coordinator_.WaitFor([i](const Received& r) { return NumExited(r) == i; })) return "";
      if (absl::StrContains(LogOf(id), "spare")) return LogOf(id);
    }
    return "";
  }
};

TEST_F(AgentSpareTest, ATaskTakesTheSpareWithWhatItPrintedAndTheNextSpareComes) {
  EXPECT_EQ(LogOfTaskThatTookTheSpare(), "a spare of kind cpu\nrunning train rank 0 device 0 threads 3\n");
  for (const StampedEvent& event : Events(coordinator_.received(), worker::v1::TaskEvent::kExited))
    EXPECT_EQ(event.event().exited().exit_code(), 0);
  for (const StampedEvent& event : Events(coordinator_.received(), worker::v1::TaskEvent::kFinished))
    EXPECT_EQ(event.event().finished().outcome(), TaskFinished::OUTCOME_COMPLETED);
  EXPECT_NE(NextSpare(), 0);
}

TEST_F(AgentSpareTest, ASpareThatDiesIsReplaced) {
  StartAgent();
  pid_t spare = NextSpare();
  for (int i = 0; i < 3; ++i) {
    ASSERT_NE(spare, 0);
    ::kill(spare, SIGKILL);
    spare = NextSpare(spare);
  }
  EXPECT_NE(spare, 0);
  EXPECT_EQ(coordinator_.received().events.size(), 0u) << "nothing of them is a task's";
}

TEST_F(AgentSpareTest, ASpareThatCannotStartIsTriedAgain) {
  UseScript("echo x >> " + dir_ + "/tries; exit 3");
  StartAgent();
  ASSERT_TRUE(coordinator_.WaitFor([this](const Received&) {
    return ReadFile(dir_ + "/tries").value_or("").size() >= 3 * std::string("x\n").size();
  }));
  Run("train", 2);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 2; }));
  for (const StampedEvent& event : Events(coordinator_.received(), worker::v1::TaskEvent::kExited))
    EXPECT_EQ(event.event().exited().exit_code(), 0);
}

TEST_F(AgentSpareTest, ATaskTakesASpareThatWarmsUp) {
  UseScript(WaitForFile("go"));
  StartAgent();
  ASSERT_NE(NextSpare(), 0);
  Run("train");
  ASSERT_TRUE(WaitForRunning(1));
  EXPECT_EQ(NumExited(coordinator_.received()), 0);
  std::ofstream(dir_ + "/go") << "\n";
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 1; }));
  EXPECT_EQ(LogOf("t1.1"), "a spare of kind cpu\nrunning train rank 0 device 0 threads 3\n");
}

TEST_F(AgentSpareTest, ATaskWhoseSpareFailsToWarmUpIsStartedAnew) {
  UseScript(WaitForFile("go") + "; echo no such library; exit 3");
  StartAgent();
  ASSERT_NE(NextSpare(), 0);
  Run("train");
  ASSERT_TRUE(WaitForRunning(1));
  std::ofstream(dir_ + "/go") << "\n";
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 1; }));
  const auto exited = Events(coordinator_.received(), worker::v1::TaskEvent::kExited)[0].event().exited();
  EXPECT_EQ(exited.exit_code(), 0);
  EXPECT_EQ(LogOf("t1.1"), "no such library\nrunning train rank 0 device 0 threads 3\n");
}

TEST_F(AgentSpareTest, OneThatIsKilledWhileItWarmsUpIsNotStartedAnew) {
  UseScript(WaitForFile("never"));
  StartAgent();
  ASSERT_NE(NextSpare(), 0);
  Run("train");
  ASSERT_TRUE(WaitForRunning(1));
  coordinator_.SetDesired(DesiredState());
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return NumExited(r) == 1; }));
  EXPECT_EQ(Events(coordinator_.received(), worker::v1::TaskEvent::kExited)[0].event().exited().signal(), SIGKILL);
  EXPECT_EQ(LogOf("t1.1"), "");
}

TEST_F(AgentSpareTest, AWithheldWorkerHasNoSpare) {
  StartAgent();
  const pid_t first = NextSpare();
  ASSERT_NE(first, 0);
  DesiredState desired;
  desired.set_withheld(true);
  coordinator_.SetDesired(desired);
  ASSERT_TRUE(NoneSoon(dir_));
  coordinator_.SetDesired(DesiredState());
  const pid_t second = NextSpare(first);
  ASSERT_NE(second, 0);
  coordinator_.SetAway(true);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& r) { return r.num_refused > 2; }));
  EXPECT_EQ(Spares(dir_), std::set<pid_t>{second}) << "the coordinator will be back";
}

}  // namespace
}  // namespace ursa
